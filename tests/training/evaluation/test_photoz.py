"""Photo-z figures on cases whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter
from training.evaluation import diagnostic_plots as plots
from training.evaluation.photoz import evaluate_photoz
from training.metrics import photoz as metrics


@pytest.fixture
def z_spec() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.02, 0.4, 500)


@pytest.fixture
def world():
    """Galaxies with true posteriors: a function of the posteriors' width and shift, (draws [n, 300], z_spec [n])."""

    def make(width: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(1)
        centre = random.uniform(0.1, 0.3, 1500)
        truth = random.normal(centre, 0.02)
        draws = random.normal(centre[:, None] + shift, 0.02 * width, (1500, 300))
        return draws, truth

    return make


def test_perfect_redshifts_have_no_scatter_bias_or_outliers(z_spec):
    figures = metrics.measure_points(z_spec, z_spec)
    assert {name: (f.value, f.low, f.high) for name, f in figures.items()} == dict.fromkeys(figures, (0, 0, 0))


def test_a_bias_is_not_scatter(z_spec):
    figures = metrics.measure_points(z_spec + 0.03 * (1 + z_spec), z_spec)
    assert figures["bias"].value == pytest.approx(0.03)
    assert figures["sigma-mad"].value == pytest.approx(0, abs=1e-9)
    assert figures["outliers-low"].value == 0


def test_outliers_count_on_both_sides_and_by_both_cuts(z_spec):
    sign = np.where(np.arange(len(z_spec)) % 2, 1, -1)
    figures = metrics.measure_points(z_spec + 0.2 * sign * (1 + z_spec), z_spec)
    assert figures["outliers"].value == figures["outliers-low"].value == 1
    figures = metrics.measure_points(z_spec + 0.1 * sign * (1 + z_spec), z_spec)
    assert (figures["outliers"].value, figures["outliers-low"].value) == (0, 1)


def test_scatter_is_a_gaussians_sigma_and_blind_to_a_few_catastrophes(z_spec):
    random = np.random.default_rng(2)
    z_spec = np.tile(z_spec, 8)
    z_phot = z_spec + random.normal(0, 0.02, len(z_spec)) * (1 + z_spec)
    z_phot[::50] += 1
    figure = metrics.measure_points(z_phot, z_spec)["sigma-mad"]
    assert figure.low < 0.02 < figure.high
    assert figure.value == pytest.approx(0.02, rel=0.06)


def test_true_posteriors_have_a_flat_pit_and_cover_what_they_say(world):
    draws, truth = world()
    figures = metrics.measure(draws, truth)
    assert figures["pit-ks"].value < metrics.flat_enough(len(truth))
    assert figures["coverage-68"].low < 0.68 < figures["coverage-68"].high
    assert figures["coverage-95"].low < 0.95 < figures["coverage-95"].high


@pytest.mark.parametrize(("width", "shift"), [(0.5, 0), (2, 0), (1, 0.01)], ids=["narrow", "wide", "shifted"])
def test_wrong_posteriors_have_no_flat_pit(world, width, shift):
    draws, truth = world(width, shift)
    figures = metrics.measure(draws, truth)
    assert figures["pit-ks"].value > metrics.flat_enough(len(truth))
    right = metrics.measure(*world())
    assert figures["crps"].value > right["crps"].high


def test_pit_of_draws_that_equal_the_truth_is_spread_between_them():
    """A posterior of a few values would otherwise pile up at either end of its step."""
    random = np.random.default_rng(3)
    draws, truth = random.integers(0, 4, (4000, 50)).astype(float), random.integers(0, 4, 4000).astype(float)
    assert metrics.kolmogorov(metrics.pit(draws, truth)) < metrics.flat_enough(4000)


def test_cde_loss_of_gaussians_is_its_closed_form():
    """Of N(0, s): minus the integral of the density squared, on average over truths that it describes."""
    random = np.random.default_rng(0)
    draws, truth = random.normal(0.3, 0.02, (1, 4000)), random.normal(0.3, 0.02, 2000)
    expected = -1 / (2 * 0.02 * np.sqrt(np.pi))
    found = metrics.cde_loss(np.repeat(draws, 200, axis=0), truth[:200]).mean()
    assert found == pytest.approx(expected, rel=0.06)
    wide = metrics.cde_loss(np.repeat(random.normal(0.3, 0.05, (1, 4000)), 200, axis=0), truth[:200]).mean()
    assert wide > 0.7 * expected


def test_crps_of_a_gaussian_is_its_closed_form():
    """At its centre, sigma (sqrt(2) - 1) / sqrt(pi) (Gneiting & Raftery 2007, eq. 5)."""
    draws = np.random.default_rng(4).normal(0, 0.1, (1, 200_000))
    assert metrics.crps(draws, np.zeros(1))[0] == pytest.approx(0.1 * (np.sqrt(2) - 1) / np.sqrt(np.pi), rel=0.01)


def test_a_ratio_is_paired(z_spec):
    """What is hard for both cancels: twice the same errors are twice the scatter in every resample."""
    noise = np.random.default_rng(5).normal(0, 0.02, len(z_spec))
    figure = metrics.ratio(z_spec + 2 * noise, z_spec + noise, z_spec)
    assert (figure.value, figure.low, figure.high) == pytest.approx((2, 2, 2))


def test_without_redshifts_there_is_not_a_photo_z(classifier, sample):
    assert evaluate_photoz(classifier, sample) is None


def test_without_magnitudes_the_image_alone_is_measured(classifier, sample, tmp_path):
    with GalaxiesWriter(tmp_path / "far", "composite") as writer:
        for i, galaxy in enumerate(sample.select(np.arange(8))):
            writer.add(replace(galaxy, properties={"redshift": 0.05 + i / 50}))
    measured = evaluate_photoz(classifier, Galaxies.open(tmp_path / "far"), resamples=20)
    assert measured is not None
    assert set(measured.flat()) == {f"photo-z/image/{name}" for name in measured.figures["image"]}
    assert measured.figures["image"]["sigma-mad"].n == 8
    assert "images alone" in measured.lines()[-1]


def test_plots_have_a_panel_a_way(world, tmp_path):
    draws, truth = world()
    both = {"from image": draws, "from magnitudes": draws + 0.01}
    assert len(plots.redshifts(both, truth, "mine").axes) == 4
    figure = plots.pit_histograms(both, truth)
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "pit.png")
