"""Artifacts of exposures are read by their masks and put on galaxies in units of the noise."""

import numpy as np
import pytest
from astropy.io import fits

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.surveys import get_survey
from morph.votes import empty_votes
from training.evaluation.anomalies import auroc
from training.evaluation.real_artifacts import KINDS, read_artifacts, transplant

#: Counts of the noise, of the sky and of the trail on the exposures.
NOISE, SKY, TRAIL = 5.0, 300.0, 1000.0


def write_exposure(folder, name: str, light: float) -> None:
    """An exposure with a trail of masked pixels along its middle column."""
    science = np.random.default_rng(0).normal(SKY, NOISE, (60, 60)).astype("float32")
    mask = np.zeros((60, 60), dtype="int16")
    mask[:, 29:32] = 4
    science[:, 29:32] += light
    weight = np.full((60, 60), NOISE**-2.0, dtype="float32")
    units = [fits.ImageHDU(each, name=plane) for each, plane in ((science, "SCI"), (mask, "MSK"), (weight, "WGT"))]
    units[0].header["CD1_1"], units[0].header["CD1_2"] = 0.0, 0.263 / 3600
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(folder / f"{name}.fits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("exposures")
    for band in ("g", "r", "z"):
        write_exposure(path, f"star_c4d_1_2_{band}_N4", TRAIL)
    write_exposure(path, "column_c4d_1_2_z_S1", 0.0)
    write_exposure(path, "star_c4d_1_3_r_S9", TRAIL)
    return path


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "empty"
    with GalaxiesWriter(path, "flux", size=64) as writer:
        for n in range(8):
            properties = {"pixel_scale": 0.1315}
            writer.add(Galaxy(f"g{n}", "des", np.zeros((64, 64, 3)), empty_votes(), properties=properties))
    return Galaxies.open(path)


def test_exposures_of_one_chip_are_the_bands_of_an_artifact(folder):
    found = read_artifacts(folder)
    # The pipeline has filled the bad column, so that it is no artifact any more.
    assert [(each.name, each.bands) for each in found] == [("star N4", [0, 1, 2]), ("star S9", [1])]
    assert found[0].pixel_scale == pytest.approx(0.263)
    assert np.median(found[0].light[found[0].masked]) == pytest.approx(TRAIL / NOISE, rel=0.02)


def test_an_artifact_is_as_many_times_the_noise_on_a_galaxy_as_on_its_exposure(folder, galaxies):
    images, which = transplant(galaxies, read_artifacts(folder)[:1], KINDS[0])
    assert which.tolist() == [0] * 8
    # A stamp's pixels are half as wide as the survey's and hold a quarter of the light.
    level = TRAIL / NOISE * get_survey("des").noise() / 4
    np.testing.assert_allclose(images.max(axis=(1, 2)), np.tile(level, (8, 1)), rtol=0.3)
    # The trail crosses what the network sees, in any direction.
    lit = images[..., 1] > level[1] / 2
    assert ((lit.any(axis=1).sum(axis=1) == 64) | (lit.any(axis=2).sum(axis=1) == 64)).mean() > 0.7


def test_an_artifact_is_in_one_band_or_masked_where_that_is_wanted(folder, galaxies):
    found = read_artifacts(folder)
    images, which = transplant(galaxies, found, KINDS[1], seed=1)
    assert which.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    lit = np.abs(images).max(axis=(1, 2)) > 0
    assert lit.sum(axis=1).tolist() == [1] * 8
    masked, _ = transplant(galaxies, found[:1], KINDS[2], seed=1)
    lost = np.isnan(masked).mean(axis=(1, 2, 3))
    assert (lost.max() > 0.05) & (lost.max() < 0.3)
    empty, _ = transplant(galaxies, found[:1], KINDS[3], seed=1)
    assert np.isnan(empty).any()
    assert np.nanmax(np.abs(empty)) == 0
    assert np.nanmax(masked) < TRAIL / NOISE * get_survey("des").noise()[2] / 8


def test_a_folder_without_artifacts_is_refused(tmp_path):
    write_exposure(tmp_path, "column_c4d_1_2_z_S1", 0.0)
    with pytest.raises(InputError, match=r"No exposure in .* has masked pixels with light"):
        read_artifacts(tmp_path)


def test_few_artifacts_in_many_galaxies_have_a_wide_interval():
    random = np.random.default_rng(0)
    normal, groups = random.normal(0, 1, 500), np.arange(200) % 2
    anomalous = random.normal(0, 0.1, 200) + np.where(groups == 1, 3, 0)
    alone, together = auroc(normal, anomalous), auroc(normal, anomalous, groups=groups)
    assert together.value == alone.value
    assert together.n == 2
    assert together.high - together.low > 3 * (alone.high - alone.low)
