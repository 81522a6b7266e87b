"""Stacks of the Dark Energy Camera's Community Pipeline and images of SkyMapper, with their names and headers."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morph.stamps.photometry import magnitudes
from morph.tiles.discovery import find_tiles, survey_of, tile_name
from morph.tiles.tile import Tile

SIZE, SIGMA = 160, 4.0


def header_of(scale, size=SIZE, turned=0.0, projection="TAN"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval, wcs.wcs.crpix = [30.0, -20.0], [(size + 1) / 2] * 2
    angle = np.radians(turned)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = np.diag([-scale / 3600, scale / 3600]) @ turn
    header = wcs.to_header()
    if projection == "TPV":
        header.update({"PV1_1": 1.0, "PV1_7": 0.1, "PV2_1": 1.0, "PV2_7": 0.1})
    return header


def galaxy(zero_point, magnitude, size=SIZE):
    """A galaxy of a magnitude in the middle, in counts."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    profile = np.exp(-(x**2 + y**2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    return profile * 10 ** (0.4 * (zero_point - magnitude)) + np.random.default_rng(size).normal(0, 1, x.shape)


def write_stack(folder, band, time, size=SIZE, zero_point=29.0, version="v1"):
    """A stack with one number a pixel in its mask; the image with its WCS is in the first extension."""
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "DECam", "PROCTYPE": "Stacked", "TELESCOP": "CTIO 4.0-m telescope"})
    primary.header.update({"FILTER": f"{band} DECam SDSS c0001 4720.0 1520.0", "MAGZERO": zero_point})
    mask = np.zeros((size, size), "i2")
    mask[10, 10], mask[20, 20], mask[30, 30], mask[40, 40], mask[50, 50] = 1, 2, 3, 4, 5
    kinds = {"i": galaxy(zero_point, 18.0, size).astype("f4"), "d": mask, "w": np.full((size, size), 1.0, "f4")}
    for letter, pixels in kinds.items():
        header = header_of(0.27, size)
        header["BUNIT"] = "adu"
        packed = {} if letter == "d" else {"quantize_level": -1e-3}
        hdu = fits.CompImageHDU(pixels, header, compression_type="RICE_1", **packed)
        name = f"c4d_{time}_os{letter}_{band}_{version}.fits.fz"
        fits.HDUList([primary.copy(), hdu]).writeto(folder / name)


def magnitude(tile, band):
    x, y = (np.atleast_1d(place) for place in tile.pixels(30.0, -20.0))
    radius = np.array([np.sqrt(2 * np.log(2)) * SIGMA * tile.pixel_scale0 / tile.pixel_scale])
    return magnitudes(tile.plane(band), *tile.places(band, x, y), radius)[0]


@pytest.fixture
def stacks(tmp_path):
    write_stack(tmp_path, "g", "170122_041235")
    write_stack(tmp_path, "r", "170122_050102", size=200, zero_point=29.5)
    (tmp_path / "c4d_170122_041235_ose_g_v1.fits.fz").write_bytes(b"")
    return tmp_path


def test_stacks_of_a_field_are_one_tile_whatever_their_times(stacks):
    (group,) = find_tiles(stacks)
    assert tile_name(group) == "c4d_170122_041235"
    assert survey_of([group]) is None
    (again,) = find_tiles(
        [stacks / "c4d_170122_041235_osi_g_v1.fits.fz", stacks / "c4d_170122_050102_osi_r_v1.fits.fz"]
    )
    assert again == group
    with Tile.open(group) as tile:
        tile.pixel_scale0 = 0.27
        assert tile.bands == ("g", "r")
        assert tile.zero_points["r"].source == "header MAGZERO"
        assert [magnitude(tile, band) for band in "gr"] == pytest.approx([18.0, 18.0], abs=0.02)


def test_numbers_of_a_mask_are_no_bits(stacks):
    with Tile.open(find_tiles(stacks / "c4d_170122_041235_osi_g_v1.fits.fz")[0]) as tile:
        places = np.array([10, 20, 30, 40, 50])
        assert tile.mask("g")[places, places].tolist() == [True, True, False, False, False]
        assert tile.saturated()[places, places].tolist() == [False, False, True, True, False]
        assert tile.stored("g").weights is not None


def test_two_stacks_of_one_band_are_two_tiles(stacks):
    write_stack(stacks, "g", "180101_010101")
    assert len(find_tiles(stacks)) == 3


def test_skymapper_images_are_known_by_their_headers(tmp_path):
    for band, turned, size in (("g", 0.0, SIZE), ("r", 180.0, SIZE + 1), ("i", 90.2, SIZE + 4)):
        header = header_of(0.497, size, turned, "TPV")
        header.update({"ZPAPPROX": 28.75, "ZPTERR": 0.01, "FILTNAME": band, "EXPTIME": 100.0, "QAFWHM": 2.1})
        fits.PrimaryHDU(galaxy(28.75, 16.0, size).astype("f4"), header).writeto(tmp_path / f"field_{band}.fits")
    (group,) = find_tiles(tmp_path)
    assert survey_of([group]) is None
    with Tile.open(group) as tile:
        tile.pixel_scale0 = 0.497
        assert {band: point.source for band, point in tile.zero_points.items()} == dict.fromkeys(
            "gri", "header ZPAPPROX"
        )
        assert set(tile.resampled_bands) == {"r", "i"}
        assert [magnitude(tile, band) for band in "gri"] == pytest.approx([16.0] * 3, abs=0.02)
    (tmp_path / "field_g.fits").rename(tmp_path / "20160417083802-17.fits")
    with Tile.open(tmp_path / "20160417083802-17.fits") as tile:
        assert tile.bands == ("g",)
