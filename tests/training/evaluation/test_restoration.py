"""Figures of merit of restoring: each is right about images whose answer is known."""

import numpy as np
import pytest

from training.evaluation.restoration import (
    PIXEL_SCALE,
    SIZE,
    Figures,
    aperture_flux,
    draw_truths,
    ellipticity,
    inject,
    signal_to_noise_of_peak,
)


@pytest.fixture(scope="module")
def truths():
    return draw_truths(6, seed=3)


def test_a_truth_is_sharper_at_the_target_and_has_the_same_flux(truths):
    assert (truths.sharp.max(axis=(1, 2)) > truths.blurred.max(axis=(1, 2))).all()
    np.testing.assert_allclose(aperture_flux(truths.sharp), aperture_flux(truths.blurred), rtol=0.05)
    assert (aperture_flux(truths.blurred, 1e3) <= 1.01).all()


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_an_observation_has_the_signal_to_noise_that_is_asked_for(truths, correlation):
    images, noise = truths.observed(50, 1, correlation)
    np.testing.assert_allclose(np.sqrt((truths.blurred**2).sum(axis=(1, 2))) / noise, 50)
    scatter = (images - truths.blurred).std(axis=(1, 2))
    np.testing.assert_allclose(scatter, noise, rtol=0.1)
    np.testing.assert_array_equal(images, truths.observed(50, 1, correlation)[0])


def test_the_figures_of_a_known_error(truths):
    peak = truths.blurred.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(signal_to_noise_of_peak(truths.blurred, truths.blurred + 0.01 * peak), 40)
    found = Figures.of(truths.blurred, 1.1 * truths.blurred, 0.05 * np.ones_like(truths.blurred))
    assert found.flux_bias[0] == pytest.approx(0.1)
    assert found.coverage == pytest.approx((np.abs(0.1 * truths.blurred) < 0.05).mean())
    assert np.isnan(Figures.of(truths.blurred, truths.blurred * 1.01).coverage)


def test_the_ellipticity_of_a_line_is_one():
    line = np.zeros((2, SIZE, SIZE))
    line[0, SIZE // 2 - 1 : SIZE // 2 + 1, 20:44] = 1
    line[1] = line[0].T
    found = ellipticity(line)
    np.testing.assert_allclose(found[:, 0], [0.98, -0.98], atol=0.02)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["arc", "asteroid", "satellite"])
def test_a_structure_has_its_signal_to_noise(kind):
    found = inject(kind, np.random.default_rng(1), 30.0)
    assert np.sqrt((found**2).sum()) == pytest.approx(30)
    assert found[SIZE // 2, SIZE // 2] < 0.3 * found.max()
    assert PIXEL_SCALE < 1
    with pytest.raises(ValueError, match="no structure"):
        inject("comet", np.random.default_rng(1), 1.0)
