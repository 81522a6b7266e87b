"""Total fluxes of galaxies and of point sources that the bands' seeing blurs differently."""

import numpy as np
import pytest

from morph.stamps.photometry import GRADIENT, WAVELENGTHS, total_fluxes

POINTS = np.array([2.7, 2.4, 2.1])
BANDS = ("g", "r", "i")
TRUE = np.array([[30.0, 60.0, 80.0]])


def moffat_within(radius: float, half_light: np.ndarray) -> np.ndarray:
    """The part of a Moffat profile's light (beta = 3) in a circle."""
    return 1 - (1 + (np.sqrt(2) - 1) * (radius / half_light) ** 2) ** -2


@pytest.mark.parametrize("intrinsic", [0.0, 2.0, 8.0])
def test_bands_of_any_seeing_have_their_total_fluxes(intrinsic):
    own = intrinsic * (np.array([WAVELENGTHS[band] for band in BANDS]) / WAVELENGTHS["r"]) ** GRADIENT
    half_light = np.hypot(own, POINTS)
    within = TRUE * moffat_within(half_light[1], half_light)
    found = total_fluxes(within, half_light[[1]], POINTS, BANDS, channel=1)
    np.testing.assert_allclose(found, TRUE, rtol=1e-6)
    # One factor for all bands is 15 % wrong for a point source.
    assert abs(2 * within / TRUE - 1).max() > (0.1 if intrinsic == 0 else 0.01)


def test_a_radius_of_the_mean_of_the_bands_is_not_one_bands():
    radius = np.array([np.sqrt((TRUE / TRUE.sum() @ np.square(POINTS)).item())])
    within = TRUE * moffat_within(radius[0], POINTS)
    np.testing.assert_allclose(total_fluxes(within, radius, POINTS, BANDS), TRUE, rtol=0.02)


def test_without_point_sources_a_circle_holds_half_in_all_bands():
    np.testing.assert_allclose(total_fluxes(TRUE / 2, np.array([4.0]), np.full(3, np.nan), BANDS), TRUE)


def test_what_is_not_measured_stays_so():
    found = total_fluxes(np.array([[np.nan, 30.0, -1.0]]), np.array([4.0]), POINTS, BANDS)
    assert np.isnan(found[0, 0])
    assert found[0, 1] > 0 > found[0, 2]
