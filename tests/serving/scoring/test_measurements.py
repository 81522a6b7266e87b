"""Fluxes and their errors on a tile with bands of different seeing and correlated noise, against the truth."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from morph.simulation.coadd_files import Tilename, write_band
from morph.stamps.photometry import MOFFAT_HALF_LIGHT
from morph.stamps.signal_to_noise import signal_to_noise
from morph.stamps.stamp_stream import stream_stamps
from morph.surveys import get_survey
from morph.tiles.tile import Tile
from serving.scoring.measurements import Photometry, masked_part

SIZE, STEP = 720, 60
DES, NAME = get_survey("des"), Tilename("DES0356-5248")
FWHM = {"g": 4.6, "r": 3.8, "i": 3.2}
COLOUR = {"g": 0.5, "r": 1.0, "i": 1.4}
STARS, GALAXIES = 10, 134


def moffat(dx: np.ndarray, dy: np.ndarray, half_light: float) -> np.ndarray:
    """A profile of beta = 3 whose sum over pixels is 1."""
    alpha = half_light / np.sqrt(np.sqrt(2) - 1)
    return 2 / (np.pi * alpha**2) * (1 + (dx**2 + dy**2) / alpha**2) ** -3


@pytest.fixture(scope="module")
def sources() -> Table:
    """Bright stars and then faint galaxies, one in the middle of each square; sizes without the seeing, pixels."""
    rng = np.random.default_rng(3)
    count = STARS + GALAXIES
    x, y = np.meshgrid(*2 * [np.arange(STEP / 2, SIZE, STEP)])
    shift = rng.uniform(-3, 3, (2, count))
    table = Table({"x": x.ravel()[:count] + shift[0], "y": y.ravel()[:count] + shift[1]})
    galaxy = np.arange(count) >= STARS
    table["size"] = np.where(galaxy, rng.uniform(1.5, 4.5, count), 0)
    table["flux"] = np.where(galaxy, rng.uniform(0.5, 2.5, count), 40)
    return table


def image_of(band: str, sources: Table) -> np.ndarray:
    """The sources and the sky's noise, nanomaggies per pixel."""
    image = gaussian_filter(np.random.default_rng(ord(band)).normal(0, 1, (SIZE, SIZE)), 0.5)
    image *= DES.noise()["gri".index(band)] / image.std()
    for row in sources:
        # All are farther from the edge than this reaches.
        box = np.ix_(*(np.arange(-26, 27) + round(row[name]) for name in ("y", "x")))
        half_light = np.hypot(row["size"], MOFFAT_HALF_LIGHT * FWHM[band])
        image[box] += COLOUR[band] * row["flux"] * moffat(box[1] - row["x"], box[0] - row["y"], half_light)
    return image


def light_of(folder, sources: Table, weighted: bool = True, detected: bool = False) -> dict[str, np.ndarray]:
    """The columns that are measured of the sources on a tile."""
    wcs, mask = NAME.wcs(SIZE, DES.pixel_scale), np.zeros((SIZE, SIZE), "int32")
    for k, band in enumerate("gri"):
        path = folder / f"{NAME.name}_r1p01_{band}.fits.fz"
        write_band(path, image_of(band, sources).astype("float32"), mask, DES, k, NAME, wcs)
        if not weighted:
            with fits.open(path, mode="update") as hdus:
                del hdus["WGT"]
    with Tile.open(folder, "des") as tile:
        table = sources.copy()
        radius = np.hypot(table["size"], MOFFAT_HALF_LIGHT * FWHM["r"])
        table["radius"] = radius * tile.pixel_scale
        light, signal = Photometry(tile, table, detected), np.empty(len(table))
        for cut in stream_stamps(tile, table["x"], table["y"], radius, look=light.observe):
            signal[cut.rows] = signal_to_noise(cut.stamps, cut.radius)
            light.add(cut, signal[cut.rows])
        return light.columns(signal)


@pytest.mark.parametrize("weighted", [True, False])
def test_errors_are_those_of_the_fluxes(tmp_path, sources, weighted):
    columns = light_of(tmp_path, sources, weighted)
    for band in "gri":
        true = COLOUR[band] * np.asarray(sources["flux"])
        pulls = ((columns[f"flux_{band}"] - true) / columns[f"flux_err_{band}"])[STARS:]
        assert 0.7 < 1.4826 * np.median(np.abs(pulls - np.median(pulls))) < 1.3
        assert abs(np.median(pulls)) < 0.4
        share = columns[f"flux_err_{band}"] / columns[f"flux_{band}"]
        known = columns[f"flux_{band}"] > 0
        np.testing.assert_allclose(columns[f"mag_err_{band}"][known], 1.0857 * share[known], rtol=1e-3)


def test_bands_of_different_seeing_have_the_right_colours(tmp_path, sources):
    columns = light_of(tmp_path, sources)
    for band in "gri":
        offset = -2.5 * np.log10(columns[f"flux_{band}"] / (COLOUR[band] * np.asarray(sources["flux"])))
        assert abs(np.nanmedian(offset[STARS:])) < 0.05
        assert np.abs(offset[:STARS]).max() < 0.05
        # A catalogue's magnitudes stay.
        assert f"mag_{band}" not in columns


def test_magnitudes_of_detected_sources_are_their_fluxes(tmp_path, sources):
    columns = light_of(tmp_path, sources, detected=True)
    for band in "gri":
        np.testing.assert_allclose(columns[f"mag_{band}"], 22.5 - 2.5 * np.log10(columns[f"flux_{band}"]))


def test_the_worst_of_the_bands_that_are_there_says_how_much_is_masked():
    stamps = np.zeros((4, 10, 10, 3), "float32")
    stamps[1, :5, :, 1] = np.nan
    stamps[2, ..., 2] = np.nan
    stamps[3] = np.nan
    np.testing.assert_array_equal(masked_part(stamps), np.array([0, 0.5, 0, 1], "float32"))
