"""How large the galaxy at the centre is: right for known profiles, steady against all that surrounds them."""

import numpy as np
import pytest

from morph.sizes import FIELD
from morph.stamps.photometry import measure

GAUSSIAN = np.sqrt(2 * np.log(2))
EXPONENTIAL = 1.678  # half-light radius over scale length


def field(size: int = 160, noise: float = 1.0, sky: float = 0.0, seed: int = 3) -> np.ndarray:
    return (sky + np.random.default_rng(seed).normal(0, noise, (size, size))).astype("float32")


def add(image: np.ndarray, x0: float, y0: float, scale: float, peak: float, power: float = 2.0, ratio: float = 1.0):
    """A Gaussian (power 2) or an exponential (power 1)."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    radius = np.hypot(x - x0, (y - y0) / ratio) / scale
    image += peak * np.exp(-(radius**power) / power)
    return image


@pytest.mark.parametrize("scale", [2.0, 4.0, 8.0])
@pytest.mark.parametrize(("power", "expected"), [(2.0, GAUSSIAN), (1.0, EXPONENTIAL)])
def test_known_profiles(scale, power, expected):
    shape = measure(add(field(), 80.4, 79.2, scale, 200, power))
    assert shape.found
    # Six extents of an exponential's bright part leave a little of its light out.
    assert shape.radius == pytest.approx(expected * scale, rel=0.08)
    assert (shape.x, shape.y) == pytest.approx((80.4, 79.2), abs=0.3)


def test_brightness_sky_and_noise_do_not_change_the_size():
    reference = measure(add(field(), 80, 80, 5, 300)).radius
    for factor, sky in ((1e-4, 0.0), (1e4, 0.0), (1.0, 500.0), (1.0, -500.0)):
        image = factor * add(field(), 80, 80, 5, 300) + sky
        assert measure(image.astype("float32")).radius == pytest.approx(reference, rel=0.02)


def test_a_neighbour_does_not_change_the_size():
    alone = measure(add(field(), 80, 80, 4, 100)).radius
    image = add(add(field(), 80, 80, 4, 100), 118, 80, 6, 400)
    shape = measure(image)
    assert (shape.x, shape.y) == pytest.approx((80, 80), abs=0.5)
    assert shape.radius == pytest.approx(alone, rel=0.1)


def test_the_galaxy_at_the_given_centre_is_the_one_measured():
    image = add(add(field(), 40, 50, 3, 200), 120, 110, 6, 200)
    small, large = measure(image, (40, 50)), measure(image, (121, 109))
    assert (small.x, small.y) == pytest.approx((40, 50), abs=0.3)
    assert (large.x, large.y) == pytest.approx((120, 110), abs=0.3)
    assert large.radius == pytest.approx(2 * small.radius, rel=0.05)


def test_masked_pixels_are_ignored_like_missing_ones():
    image = add(field(), 80, 80, 5, 200)
    mask = np.zeros(image.shape, bool)
    mask[20:40, 20:140] = True
    spoilt = np.where(mask, 1e6, image)
    missing = np.where(mask, np.nan, image)
    expected = measure(image).radius
    assert measure(spoilt, mask=mask).radius == pytest.approx(expected, rel=0.03)
    assert measure(missing).radius == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "image",
    [
        np.full((60, 90), np.nan, "f4"),
        np.zeros((60, 90), "f4"),
        np.full((60, 90), 7.0, "f4"),
        np.full((60, 90), -np.inf, "f4"),
    ],
    ids=["all NaN", "zero", "flat", "infinite"],
)
def test_an_image_without_a_galaxy_gives_a_guess_that_says_so(image):
    shape = measure(image)
    assert not shape.found
    assert (shape.x, shape.y) == (44.5, 29.5)
    # The crop is then the whole height of the image.
    assert FIELD * shape.radius == 60


def test_noise_alone_is_not_a_galaxy():
    found = [measure(field(size=96, seed=seed)).found for seed in range(20)]
    assert sum(found) <= 2


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_tiny_images_raise_nothing(size):
    assert np.isfinite(measure(field(size=size)).radius)
