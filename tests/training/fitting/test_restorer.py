"""The restorer's training: pairs that are consistent, a fit that learns, and uncertainties that hold."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from morph.errors import InputError
from morph.model.restorer import Restorer
from morph.model.store import SHIPPED_RESTORER
from morph.sizes import NARROWEST_PSF
from training.fitting.checkpoint import BestEpoch, EpochLines
from training.fitting.restorer import SIZE, PairLoss, Pairs, calibrate, fit_restorer, pair, scene_library


@pytest.fixture(scope="module")
def library():
    return scene_library(5, 12, processes=1)


def test_scenes_have_unit_flux_and_a_seed_always_gives_the_same(library):
    np.testing.assert_allclose(np.abs(library[:, 0, 0]), 1, rtol=1e-5)
    np.testing.assert_array_equal(library[3:5], scene_library(5, 5, processes=1)[3:5])


def test_a_pair_is_an_image_with_unit_noise_and_its_truth(library):
    random = np.random.default_rng(0)
    left, sharpened = [], 0
    for _ in range(60):
        made = pair(library, random, transfers=True)
        fwhm, relative = made["widths"]
        if relative < 1:
            assert relative * fwhm >= NARROWEST_PSF - 1e-3
            sharpened += 1
            blurred = np.fft.ifft2(np.fft.fft2(made["truth"]) * made["psf"] / np.maximum(made["target"], 1e-9)).real
            same = made["target"] > 0.2
            residual = np.fft.fft2(np.where(made["valid"] > 0, made["data"] - blurred, 0))[same] / SIZE
            left.append(np.sqrt((np.abs(residual) ** 2).mean()))
        else:
            np.testing.assert_array_equal(made["gentle"], made["data"])
            left.append((made["data"] - made["truth"])[made["valid"] > 0].std())
    assert 15 < sharpened < 50
    assert np.median(left) == pytest.approx(1, abs=0.12)


def test_a_fit_learns_and_fits_its_uncertainties():
    restorer = Restorer()
    (held_out, _) = Pairs(scene_library(1, 6, processes=1), 9, 1)[0]
    before = float(np.mean(ops.convert_to_numpy(PairLoss(restorer)(held_out))))
    losses = fit_restorer(restorer, epochs=3, batches=6, scenes=(16, 6), processes=1)
    after = float(np.mean(ops.convert_to_numpy(PairLoss(restorer)(held_out))))
    assert len(losses) == 3
    assert after < before
    assert restorer.fitted
    assert (ops.convert_to_numpy(restorer.calibration) > 0).all()
    assert ops.convert_to_numpy(restorer.error_spectrum)[0] > 1


def test_an_interrupted_fit_goes_on_and_ends_as_one_that_was_not(tmp_path, monkeypatch, capsys):
    def fitted(folder: Path) -> tuple[Restorer, list[float]]:
        keras.utils.set_random_seed(3)
        restorer = Restorer()
        return restorer, fit_restorer(restorer, 3, 2, 2, (8, 6), processes=1, checkpoint=folder)

    def stopped(self, epoch, logs=None):
        raise KeyboardInterrupt

    whole, losses = fitted(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(EpochLines, "on_epoch_end", stopped)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / "stopped")
    capsys.readouterr()
    resumed, again = fitted(tmp_path / "stopped")
    said = capsys.readouterr().err
    assert ("epoch 1 of 2" in said, "epoch 2 of 2" in said) == (False, True)
    np.testing.assert_allclose(again, losses, rtol=1e-3)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_uncertainties_hold_after_calibration(library):
    restorer = Restorer()
    restorer.read(SHIPPED_RESTORER)
    shipped = ops.convert_to_numpy(restorer.calibration).copy()
    restorer.calibration.assign(3 * shipped)
    calibrate(restorer, library, seed=1, batches=3)
    np.testing.assert_allclose(ops.convert_to_numpy(restorer.calibration), shipped, rtol=0.2)


def test_nothing_of_an_epoch_whose_loss_is_not_finite_is_kept(tmp_path, monkeypatch):
    loss = PairLoss.call
    monkeypatch.setattr(PairLoss, "call", lambda self, given, training=False: loss(self, given) * np.nan)
    with pytest.raises(InputError, match="not finite"):
        fit_restorer(Restorer(), 3, 1, 1, (4, 2), processes=1, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_is_refused_in_a_sentence(tmp_path):
    best = BestEpoch(tmp_path)
    (tmp_path / "losses.json").write_text("[1.0, ")
    best.restore(0)
    with pytest.raises(InputError, match="is damaged; remove the folder"):
        best.restore(1)
