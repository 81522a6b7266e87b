"""Signal to noise as a stamp shows it is that of the galaxy in its image, however large the stamp's pixels are."""

import numpy as np
import pytest

from morph.fits.resampling import resample
from morph.stamps.signal_to_noise import signal_to_noise
from tests.morph.drawn_tiles import COUNTS, HALF_LIGHT, NOISE, counts_of

#: Sixteen places on a drawn tile, far from each other.
PLACES = [(30.3 + 60 * column, 29.8 + 60 * row) for row in range(4) for column in range(4)]


def seen(radius: float, snr: float, seeds: int = 1) -> np.ndarray:
    """Stamps of galaxies whose flux in r within the half-light radius (pixels) is so many times its noise."""
    flux = 2 * snr * NOISE["r"] * np.sqrt(np.pi) * radius / COUNTS
    drawn = [(x, y, radius / HALF_LIGHT, flux) for x, y in PLACES]
    images = [np.stack([counts_of(band, drawn, seed) for band in "gri"], axis=-1) for seed in range(seeds)]
    return np.stack([resample(image, x, y, 6 * radius, 64) for image in images for x, y in PLACES])


@pytest.mark.parametrize("radius", [1.5, 4.0, 9.0])
@pytest.mark.parametrize("snr", [0, 10, 60])
def test_it_is_that_of_the_flux_and_noise_of_the_image(radius, snr):
    found = signal_to_noise(seen(radius, snr, seeds=4), np.full(4 * len(PLACES), radius))
    assert np.median(found) == pytest.approx(snr, rel=0.15, abs=0.4)
    # The sky is known from the border alone, and a small stamp's has few pixels of the image to know its noise from.
    assert np.std(found) < 1.4 + 0.25 * snr


def test_it_is_so_where_the_stamp_is_coarser_than_the_image():
    random, radius, noise, snr = np.random.default_rng(0), 25.0, 3.0, 40.0
    y, x = np.mgrid[:170, :170]
    stamps = []
    for centre in random.uniform(84, 86, (16, 2)):
        within = np.hypot(x - centre[0], y - centre[1]) < radius
        light = within * snr * noise / np.sqrt(within.sum())
        stamps.append(resample(light[..., None] + random.normal(0, noise, (170, 170, 3)), *centre, 6 * radius, 64))
    assert np.median(signal_to_noise(np.stack(stamps), np.full(16, radius))) == pytest.approx(snr, rel=0.15)


def test_neither_unit_nor_sky_matters():
    stamps, radius = seen(4.0, 30), np.full(len(PLACES), 4.0)
    np.testing.assert_allclose(
        signal_to_noise(1000 * (stamps + 2), radius), signal_to_noise(stamps, radius), rtol=1e-2
    )


def test_without_r_it_is_the_better_band():
    stamps, radius = seen(4.0, 30), np.full(len(PLACES), 4.0)
    lacking = stamps.copy()
    lacking[:5, ..., 1] = np.nan
    found = signal_to_noise(lacking, radius)
    np.testing.assert_array_equal(found[5:], signal_to_noise(stamps, radius)[5:])
    for row in range(5):
        alone = [np.repeat(stamps[row : row + 1, ..., band : band + 1], 3, axis=-1) for band in (0, 2)]
        assert found[row] == max(signal_to_noise(each, radius[:1])[0] for each in alone)


def test_missing_pixels_are_left_out_and_what_cannot_be_measured_is_unknown():
    stamps, radius = seen(4.0, 30), np.full(len(PLACES), 4.0)
    scratched = stamps.copy()
    scratched[:, 20:24] = np.nan
    assert np.median(signal_to_noise(scratched, radius)) == pytest.approx(30, rel=0.2)
    nothing = np.stack([np.full_like(stamps[0], np.nan), np.ones_like(stamps[0])])
    assert np.isnan(signal_to_noise(nothing, radius[:2])).all()
    assert np.isnan(signal_to_noise(stamps[:1], np.array([np.nan]))).all()
    assert signal_to_noise(stamps[:0], radius[:0]).shape == (0,)
