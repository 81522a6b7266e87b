"""Posteriors of redshifts in the format of RAIL, against RAIL's own figures."""

import numpy as np
import pytest
import qp
from rail.evaluation.metrics.cdeloss import CDELoss
from rail.evaluation.metrics.pointestimates import PointBias, PointOutlierRate, PointSigmaMAD

from morph.errors import InputError
from training.metrics import photoz
from training.metrics.densities import modes
from training.prediction.qp_output import check_qp, write_qp


@pytest.fixture(scope="module")
def posteriors():
    """Two hundred calibrated posteriors, a tenth of them with two peaks, and the true redshifts."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.5, 200)
    draws = np.abs((truth + 0.03 * rng.standard_normal(200))[:, None] + 0.03 * rng.standard_normal((200, 500)))
    draws[:20, :150] += 0.3
    return truth, draws.astype("float32")


def test_a_qp_ensemble_holds_posteriors_and_points(posteriors, tmp_path):
    truth, draws = posteriors
    write_qp(np.arange(200).astype(str), draws, tmp_path / "photoz.hdf5")
    assert qp.is_qp_file(str(tmp_path / "photoz.hdf5"))
    ensemble = qp.read(str(tmp_path / "photoz.hdf5"))
    assert ensemble.npdf == 200
    np.testing.assert_allclose(ensemble.median().ravel(), np.median(draws, axis=1), atol=0.005)
    below = np.array([float(ensemble[row].cdf(truth[row])) for row in range(200)])
    np.testing.assert_allclose(below, photoz.pit(draws, truth), atol=0.03)
    grid = np.linspace(0, 1.2, 4001)
    np.testing.assert_allclose(np.trapezoid(ensemble.pdf(grid), grid, axis=1), 1, atol=1e-3)
    names = ensemble.ancil
    assert names["id"][:2].astype(str).tolist() == ["0", "1"]
    np.testing.assert_allclose(names["morph_z_mean"], draws.mean(axis=1), rtol=1e-6)
    # Two peaks: the mode is the higher one's, and the mean lies between.
    assert np.all(np.abs(names["morph_z_mode"][:20] - np.median(draws[:20, 150:], axis=1)) < 0.03)
    assert np.all(names["morph_z_mean"][:20] - names["morph_z_mode"][:20] > 0.04)


def test_rail_finds_the_same_figures(posteriors, tmp_path):
    truth, draws = posteriors
    median = np.median(draws, axis=1).astype(float)
    ours = photoz.measure(draws, truth)
    assert ours["sigma-mad"].value == pytest.approx(PointSigmaMAD(median, truth).evaluate(), abs=1e-6)
    assert ours["bias"].value == pytest.approx(PointBias(median, truth).evaluate(), abs=1e-6)
    for scale in (1, 5):
        wrong = truth + scale * (median - truth)
        found = photoz.rail_outliers(photoz.deltas(wrong, truth))
        assert found == pytest.approx(PointOutlierRate(wrong, truth).evaluate(), abs=1e-6)
        assert found > 0
    # RAIL takes the density at the grid's next redshift, and we between two.
    write_qp(np.arange(200).astype(str), draws, tmp_path / "photoz.hdf5")
    ensemble = qp.read(str(tmp_path / "photoz.hdf5"))
    rails = CDELoss(ensemble, ensemble.metadata["xvals"].ravel(), truth).evaluate().statistic
    assert ours["cde-loss"].value == pytest.approx(rails, rel=1e-3)


def test_equal_draws_have_a_density():
    assert modes(np.full((2, 50), 0.25)).tolist() == [0.25, 0.25]


@pytest.mark.parametrize(("name", "said"), [("photoz.csv", "ending in .hdf5"), ("none/photoz.hdf5", "does not exist")])
def test_a_wrong_name_is_one_sentence(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        check_qp(tmp_path / name)
