"""What is measured on stamps: the light of drawn galaxies, however they lie."""

import numpy as np
import pytest

from morph.fits.resampling import resample
from morph.stamps.measurements import full_widths, measure, position_angle

SIGMA, FLUX, NOISE = 5.0, 60.0, 0.003


def drawn(ratio: float, angle: float, noise: float = NOISE) -> np.ndarray:
    """A Gaussian galaxy with an axis ratio and the angle of its major axis from x to y: [128, 128, 3]."""
    y, x = np.mgrid[:128, :128] - 64.0
    major, minor = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b = SIGMA / np.sqrt(ratio), SIGMA * np.sqrt(ratio)
    profile = np.exp(-(major**2 / a**2 + minor**2 / b**2) / 2) / (2 * np.pi * a * b)
    light = np.stack([0.5 * profile, profile, 1.4 * profile], axis=-1) * FLUX
    return light + np.random.default_rng(1).normal(0.1, noise, light.shape)


def stamped(ratio: float, angle: float = 0.4, size: int = 64, radius: float = SIGMA * 1.1774):
    image = resample(drawn(ratio, angle), 64, 64, 6 * radius * size / 64, size)
    return image[None], np.array([radius])


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize(("ratio", "angle"), [(1.0, 0.0), (0.7, 0.4), (0.4, -1.2)])
def test_a_gaussian_has_its_own_shape(size, ratio, angle):
    found = measure(*stamped(ratio, angle, size))
    assert found.size[0] == pytest.approx(SIGMA, rel=0.03)
    assert found.ellipticity[0] == pytest.approx(1 - ratio, abs=0.03)
    if ratio < 1:
        assert (found.angle[0] - angle + np.pi / 2) % np.pi - np.pi / 2 == pytest.approx(0, abs=0.03)
    else:
        # Within three half-light radii a Gaussian's r80 / r20 is (ln 5 / ln 1.25)^(1/2).
        assert found.concentration[0] == pytest.approx(2.5 * np.log10(np.log(5) / np.log(1.25)), abs=0.1)
        np.testing.assert_allclose(full_widths(*stamped(ratio, angle, size))[0], 2.3548 * SIGMA, rtol=0.02)


def test_flux_is_twice_that_within_the_half_light_radius_with_the_noise_of_its_sum():
    found = measure(*stamped(1.0))
    np.testing.assert_allclose(found.flux[0], np.array([0.5, 1, 1.4]) * FLUX, rtol=0.03)
    expected = 2 * NOISE * np.sqrt(np.pi) * SIGMA * 1.1774
    np.testing.assert_allclose(found.flux_err[0], expected, rtol=0.3)
    np.testing.assert_allclose(found.mag_err[0], 1.0857 * found.flux_err[0] / found.flux[0], rtol=1e-3)


def test_what_is_not_seen_is_not_a_number():
    stamps, radius = stamped(0.7)
    whole = measure(stamps, radius)
    lacking = stamps.copy()
    lacking[..., 0] = np.nan
    some = measure(lacking, radius)
    assert np.isnan(some.flux[0]).tolist() == [True, False, False]
    assert some.ellipticity[0] == pytest.approx(whole.ellipticity[0], abs=0.01)
    none = measure(np.full_like(stamps, np.nan), radius)
    for values in (none.flux, none.flux_err, none.mag_err, none.size, none.ellipticity, none.concentration):
        assert np.isnan(values).all()


def test_position_angles_are_east_of_north():
    """On an image with north up, east is on the left."""
    east, north = np.array([[-1.0, 0.0]] * 3), np.array([[0.0, 1.0]] * 3)
    angles = position_angle(np.array([np.pi / 2, 0, 3 * np.pi / 4]), east, north)
    np.testing.assert_allclose(angles, [0, 90, 45], atol=1e-9)
