"""Degraded galaxies are smaller and fainter on the sky, and as large in their stamps."""

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.simulation.degraded import FAINTEST, degrade, degraded_copies, how_well_seen
from morph.stamps.signal_to_noise import border
from morph.stamps.stretch import to_composite
from morph.votes import empty_votes

#: Arcsec a pixel of the stamp: a half-light radius of 3 arcsec, eleven pixels of DES.
SCALE = 0.281


def disks(path, kind: str = "flux", count: int = 60, noise: float = 0.004) -> Galaxies:
    """Disks with a half-light radius of 10.7 px on low noise."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:96, :96] - 47.5
    light = np.exp(-np.hypot(x, y / random.uniform(0.6, 1, (count, 1, 1))) / 6.9)[..., None]
    images = 50 * (light * [0.7, 1, 1.3] + random.normal(0, noise, (count, 96, 96, 3)))
    if kind == "composite":
        images = to_composite(images + 2, 120.0, 10.0)
    with GalaxiesWriter(path, kind) as writer:
        for i, image in enumerate(images):
            image = image.astype("float32") if kind == "flux" else image
            writer.add(Galaxy(f"{i}", "des", image, empty_votes(), properties={"pixel_scale": SCALE}))
    return Galaxies.open(path)


def signal(images: np.ndarray) -> np.ndarray:
    """Central brightness over noise, [n]."""
    sky, noise = border(images)
    offset = np.arange(96) - 47.5
    return (images - sky)[:, np.hypot(offset[:, None], offset) < 6].mean(axis=(1, 2)) / noise.mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory) -> Galaxies:
    return disks(tmp_path_factory.mktemp("sets") / "flux")


def test_the_signal_to_noise_spreads_from_the_galaxys_own_to_the_faintest(galaxies):
    images = degrade(galaxies, seed=1)
    found = signal(images)
    assert images.shape == galaxies.images.shape
    assert np.isfinite(images).all()
    assert found.min() < 2 * FAINTEST["flux"]
    assert found.max() < 1.3 * signal(galaxies.images).max()
    assert 8 < np.median(found) < 40
    np.testing.assert_array_equal(images, degrade(galaxies, seed=1))
    assert np.abs(images - degrade(galaxies, seed=2)).max() > 0.1


def test_the_galaxy_is_as_large_in_its_stamp_as_before(galaxies):
    offset = np.arange(96) - 47.5
    away = np.hypot(offset[:, None], offset)

    def concentration(images: np.ndarray) -> np.ndarray:
        light = (images - border(images)[0]).sum(axis=-1)
        return light[:, away < 32 / 3].sum(axis=1) / light[:, away < 30].sum(axis=1)

    images = degrade(galaxies, seed=1)
    bright = signal(images) > 30
    assert bright.sum() > 10
    assert np.median(concentration(images)[bright]) == pytest.approx(
        np.median(concentration(galaxies.images)), abs=0.08
    )


def test_noise_is_added_on_the_pixels_of_the_survey(galaxies):
    """A small galaxy's stamp is finer than the image, so that the noise of its pixels is correlated."""
    images = degrade(galaxies, seed=1)[signal(degrade(galaxies, seed=1)) < 6]
    edge = images[:, :6] - images[:, :6].mean(axis=(1, 2), keepdims=True)
    near = (edge[:, :, :-1] * edge[:, :, 1:]).mean(axis=(1, 2, 3)) / (edge**2).mean(axis=(1, 2, 3))
    assert near.max() > 0.7
    assert near.min() > 0.1


def test_a_picture_stays_a_picture_and_missing_data_stay_missing(galaxies, tmp_path):
    pictures = degrade(disks(tmp_path / "pictures", "composite", count=20), seed=1)
    assert pictures.dtype == np.uint8
    assert pictures[:, 44:52, 44:52].mean() > 1.5 * pictures[:, :8].mean()
    images = galaxies.images[:10].copy()
    images[..., 2] = np.nan
    images[5:, :30] = np.nan
    found = degrade(galaxies.select(np.arange(10)).with_columns(image=images), seed=1)
    assert np.isnan(found[..., 2]).all()
    assert np.isfinite(found[:5, ..., :2]).all()
    assert np.isnan(found[5:, 0, 40:50, :2]).all()
    assert np.isfinite(found[5:, 60, 40:50, :2]).all()


def test_a_blank_stamp_and_an_unknown_survey_are_no_obstacle(galaxies, tmp_path):
    with GalaxiesWriter(tmp_path / "blank", "flux") as writer:
        for i, value in enumerate((0.0, np.nan)):
            writer.add(Galaxy(f"{i}", "unknown", np.full((96, 96, 3), value, "float32"), empty_votes()))
        writer.add(Galaxy("2", "unknown", galaxies.images[0], empty_votes()))
    found = degrade(Galaxies.open(tmp_path / "blank"), seed=1)
    assert np.isfinite(found[[0, 2]]).all()
    assert np.isnan(found[1]).all()


def test_copies_know_how_well_they_are_seen(galaxies):
    size, snr = how_well_seen(galaxies)
    copies = degraded_copies(galaxies, seed=1)
    np.testing.assert_array_equal(copies.images, degrade(galaxies, seed=1))
    assert (copies.size <= size * 1.01).all()
    assert copies.size.min() < 0.5 * size.min()
    assert np.corrcoef(np.log(copies.snr), np.log(signal(copies.images)))[0, 1] > 0.8
    assert np.median(copies.snr) < 0.7 * np.median(snr)


def test_copies_of_pictures_are_flux(tmp_path):
    pictures = disks(tmp_path / "pictures", "composite", count=10)
    copies = degraded_copies(pictures)
    assert copies.images.dtype == np.float32
    assert np.isfinite(copies.snr).all()
