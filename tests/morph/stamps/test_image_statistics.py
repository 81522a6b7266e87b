"""Each statistic moves with what it is called after, and with nothing else that a survey may do."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from morph.stamps.image_statistics import NAMES, measure
from morph.stamps.stretch import BAND_WEIGHTS, to_composite, white_level


@pytest.fixture(scope="module")
def stamps() -> np.ndarray:
    """Twenty inclined exponential disks on noisy sky: float32 [20, 64, 64, 3]."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    angle, ratio = random.uniform(0, np.pi, (20, 1, 1)), random.uniform(0.3, 0.8, (20, 1, 1))
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    light = np.exp(-np.hypot(along, across) / 6)[..., None] * np.array([0.6, 1.0, 1.3])
    return (light + random.normal(0, 0.02, light.shape)).astype("float32")


def medians(images: np.ndarray, **options) -> dict[str, float]:
    return dict(zip(NAMES, np.median(measure(images, **options), axis=0), strict=True))


def blurred(images):
    return np.stack([gaussian_filter(image, (2, 2, 0)) for image in images])


def noisy(images):
    return images + np.random.default_rng(1).normal(0, 0.06, images.shape).astype("float32")


def doubled(images):
    """A neighbour in the corner."""
    return np.maximum(images, 0.7 * np.roll(images, (26, 26), axis=(1, 2)))


@pytest.mark.parametrize(
    ("change", "name", "least"),
    [
        (blurred, "sharpness", 0.2),
        (blurred, "grain", 0.3),
        (noisy, "noise", 0.3),
        (lambda images: images * np.array([0.8, 1, 1]), "g-r", 0.2),
        (lambda images: images * np.array([1, 1, 1.25]), "r-i", 0.2),
        (lambda images: np.kron(images[:, 16:48, 16:48], np.ones((1, 2, 2, 1))), "extent", 0.4),
        (lambda images: np.concatenate([images[:, :32] * 2, images[:, 32:]], axis=1), "asymmetry", 0.2),
        (doubled, "crowding", 0.02),
    ],
)
def test_a_statistic_grows_with_what_it_is_called_after(stamps, change, name, least):
    assert medians(change(stamps))[name] - medians(stamps)[name] > least


def test_neither_zero_point_nor_sky_moves_a_statistic(stamps):
    np.testing.assert_allclose(measure(300 * stamps + 70), measure(stamps), atol=2e-3)


def test_noise_hardly_passes_for_sharpness(stamps):
    assert medians(noisy(stamps))["sharpness"] == pytest.approx(medians(stamps)["sharpness"], abs=0.15)


def test_the_axis_ratio_is_that_of_the_light():
    y, x = np.mgrid[:64, :64] - 31.5
    image = np.exp(-0.5 * (x**2 + (y / 0.5) ** 2) / 36)[..., None] * np.ones(3)
    assert measure(image[None])[0, NAMES.index("elongation")] == pytest.approx(0.5, abs=0.05)


def test_colour_pictures_keep_the_order_of_the_bands(stamps):
    pictures = np.stack([to_composite(image, white_level(image), softening=3.0) for image in stamps * BAND_WEIGHTS])
    assert medians(pictures)["g-r"] == pytest.approx(medians(stamps)["g-r"], abs=0.15)


def test_what_cannot_be_measured_is_unknown_and_raises_nothing(stamps):
    images = stamps[:4].copy()
    images[0] = np.nan
    images[1, ..., 2] = np.nan
    images[2, :30] = np.nan
    images[3] = -np.abs(images[3])
    found = measure(images, pixel_scale=np.array([0.2, 0.2, np.nan, -1]))
    assert np.isnan(found[0, :-1]).all()
    assert found[0, -1] == pytest.approx(np.log2(0.2))
    assert np.isnan(found[1, NAMES.index("r-i")])
    assert np.isfinite(found[1, NAMES.index("g-r")])
    assert np.isfinite(found[2, :-1]).any()
    assert np.isnan(found[2:, -1]).all()
    assert measure(images[:0]).shape == (0, len(NAMES))


@pytest.mark.filterwarnings("error")
def test_a_wild_pixel_overflows_nothing(stamps):
    wild = stamps.copy()
    wild[:, 30, 30, 0] = np.inf
    # What it says of such stamps means little, and of some it says nothing.
    assert np.isfinite(measure(wild)[:, NAMES.index("sharpness")]).any()
