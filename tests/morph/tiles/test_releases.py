"""Releases of today's surveys: which files are a tile, the magnitude of a source, and which pixels are bad."""

import bz2
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.fits.headers import band_called, band_of
from morph.fits.zero_points import Calibration
from morph.stamps.cutout_files import read_cutouts
from morph.tiles.discovery import bands_left_out, find_tiles, survey_of, tile_name
from morph.tiles.layouts import parse_name
from morph.tiles.layouts.layout import Content
from morph.tiles.tile import Tile
from tests.morph.tiles.release_files import (
    INTERPOLATED,
    MAGNITUDE,
    NO_DATA,
    NOISE,
    PLACE,
    SATURATED,
    SIGMA,
    sky,
    source,
    write_cfhtls,
    write_dp1,
    write_dp2_renamed,
    write_euclid,
    write_hsc,
    write_hubble,
    write_kids,
    write_lsst,
    write_panstarrs,
    write_webb,
)


def magnitude_in(tile: Tile, band: str) -> float:
    plane = np.nan_to_num(tile.plane(band))
    rows, columns = np.indices(plane.shape)
    inside = np.hypot(columns - PLACE[0], rows - PLACE[1]) < 5 * SIGMA
    return float(22.5 - 2.5 * np.log10(plane[inside].sum()))


#: Of each release: what writes it, the tile's name, its survey, its bands, which pixels are bad, whether the saturated
#: one is known, and whether the noise is.
RELEASES = {
    "hsc": (write_hsc, "9813-4,4", "hsc", ("g", "r", "i"), [NO_DATA], True, True),
    "dp1": (write_dp1, "deep_coadd_10463_52", "lsst", ("g", "r", "i"), [NO_DATA], True, True),
    "dp1-filter": (
        *(lambda folder: write_dp1(folder, True), "deep_coadd_10463_52", "lsst", ("g", "r", "i")),
        *([NO_DATA], True, True),
    ),
    "dp2-renamed": (write_dp2_renamed, "first", "lsst", ("g", "r", "i"), [NO_DATA], True, True),
    "euclid": (write_euclid, "102018211", "euclid", ("g", "VIS", "i"), [NO_DATA], True, True),
    "panstarrs": (
        *(write_panstarrs, "rings.v3.skycell.1495.042", "panstarrs", ("g", "r", "i"), [NO_DATA], True, True),
    ),
    "panstarrs-renamed": (
        *(lambda folder: write_panstarrs(folder, True), "skycell.1495.042", "panstarrs", ("g", "r", "i")),
        *([], False, False),
    ),
    "kids": (write_kids, "KIDS_150.1_2.2", "kids", ("g", "r", "i"), [NO_DATA], False, True),
    "cfhtls": (write_cfhtls, "CFHTLS_W_100024+021200_T0007_MEDIAN", None, ("g", "r", "i"), [], False, False),
}


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_read_as_it_is_meant(tmp_path, release):
    write, name, survey, bands, bad, saturated, weights = RELEASES[release]
    write(tmp_path)
    (paths,) = find_tiles(tmp_path)
    assert (tile_name(paths), survey_of([paths])) == (name, survey)
    band = bands[1]
    with Tile.open(paths, survey or "des") as tile:
        assert tile.bands == bands
        for each in bands:
            assert magnitude_in(tile, each) == pytest.approx(MAGNITUDE, abs=0.02)
        assert [tuple(place) for place in np.argwhere(tile.mask(band))] == bad
        assert bool(tile.saturated()[SATURATED]) == saturated
        assert not tile.saturated()[INTERPOLATED]
        if weights:
            flux = 10 ** ((22.5 - MAGNITUDE) / 2.5)
            assert tile.weight(band)[0, 0] == pytest.approx((NOISE * flux) ** -2, rel=0.01)


@pytest.mark.parametrize("release", ["hsc", "dp1", "euclid", "panstarrs", "kids"])
def test_a_cutout_of_a_release_is_read_as_a_tile_of_it(tmp_path, release):
    write, name, survey, bands, *_ = RELEASES[release]
    write(tmp_path)
    (paths,) = find_tiles(tmp_path)
    (cutout,) = read_cutouts(paths, survey)
    with Tile.open(paths, survey) as tile:
        for channel, band in enumerate(bands):
            np.testing.assert_array_equal(cutout.image[..., channel], tile.plane(band))
    assert cutout.id == name


def test_one_file_of_a_release_brings_the_others(tmp_path):
    write_panstarrs(tmp_path)
    (whole,) = find_tiles(tmp_path)
    assert len(whole) == 9
    for path in (whole[0], whole[-1]):
        assert find_tiles(path) == [whole]
    with pytest.raises(InputError, match="not one of the survey's images"):
        find_tiles(tmp_path / "rings.v3.skycell.1495.042.stk.r.unconv.num.fits")


def test_two_runs_and_two_kinds_of_coadd_are_tiles_of_their_own(tmp_path):
    for kind in (
        "deep_coadd_10463_52_r_skymap_runA",
        "deep_coadd_10463_52_r_skymap_runB",
        "template_coadd_10463_52_r",
    ):
        write_lsst(tmp_path / f"{kind}.fits", 31.4, 0.2, {}, "nJy")
    names = [tile_name(paths) for paths in find_tiles(tmp_path)]
    assert names == ["deep_coadd_10463_52", "deep_coadd_10463_52", "template_coadd_10463_52"]


def test_infrared_bands_are_named_that_are_left_out(tmp_path):
    write_euclid(tmp_path)
    assert bands_left_out(find_tiles(tmp_path)) == ["NIR_Y"]


def test_euclid_alone_is_scored_from_vis(tmp_path):
    write_euclid(tmp_path)
    for path in tmp_path.glob("*MOSAIC-[ND]*"):
        path.unlink()
    (paths,) = find_tiles(tmp_path)
    with Tile.open(paths, survey_of([paths])) as tile:
        assert tile.bands == ("VIS",)
        assert tile.pixel_scale == pytest.approx(0.1)


def test_webb_is_calibrated_by_the_area_of_its_pixels_and_its_bands_are_not_taken_for_others(tmp_path):
    path = tmp_path / "jw01727-o043_t048_nircam_clear-f150w_i2d.fits"
    write_webb(path)
    assert parse_name(path)[1].band == "F150W"
    with pytest.raises(InputError, match=r"F150W, .* end its name in _r\.fits"):
        Tile.open(path, "sdss")
    # The advice is followed.
    for ending, survey, band in (("_r", "sdss", "r"), ("_VIS", "euclid", "VIS")):
        again = shutil.copy(path, tmp_path / f"field{ending}.fits")
        with Tile.open(again, survey) as tile:
            assert tile.bands == (band,)
            assert magnitude_in(tile, band) == pytest.approx(MAGNITUDE, abs=0.02)
            assert [tuple(place) for place in np.argwhere(tile.mask(band))] == [NO_DATA]
            flux = 10 ** ((22.5 - MAGNITUDE) / 2.5)
            assert tile.weight(band)[0, 0] == pytest.approx((NOISE * flux) ** -2, rel=0.01)
        Path(again).unlink()


@pytest.mark.parametrize("unit", ["ELECTRONS/S", "ELECTRONS"])
def test_hubbles_counts_are_calibrated_by_its_sensitivity(tmp_path, unit):
    write_hubble(tmp_path / "acs_i.fits", unit)
    with Tile.open(tmp_path, "sdss") as tile:
        assert magnitude_in(tile, "i") == pytest.approx(MAGNITUDE, abs=0.02)


def test_a_band_may_stand_anywhere_in_a_name(tmp_path):
    header = sky(0.2)
    header["MAGZERO"] = 25.0
    for band in "gri":
        fits.PrimaryHDU(source(25.0)[0], header).writeto(tmp_path / f"field-{band}-coadd_v2.fits")
        fits.PrimaryHDU(np.ones((64, 64), "f4"), header).writeto(tmp_path / f"field-{band}-coadd_v2.weight.fits")
        fits.PrimaryHDU(np.ones((64, 64), "f4"), header).writeto(tmp_path / f"field-{band}-coadd_v2.seg.fits")
    (paths,) = find_tiles(tmp_path)
    assert (tile_name(paths), len(paths)) == ("field-coadd_v2", 6)
    with Tile.open(paths, "sdss") as tile:
        assert tile.bands == ("g", "r", "i")
        assert tile.weight("r")[0, 0] > 0


@pytest.mark.parametrize(
    ("name", "tile", "band", "content"),
    [
        ("NGC1365_g.fits", "NGC1365", "g", Content.IMAGE),
        ("g.fits", "", "g", Content.IMAGE),
        ("m51_f606w_drz_sci.fits", "m51_drz", "F606W", Content.IMAGE),
        ("m51_f606w_drz_wht.fits", "m51_drz", "F606W", Content.WEIGHTS),
        ("field_r_rms.fits", "field", "r", Content.ERRORS),
        ("field_r_cat.fits", "field", None, Content.OTHER),
        ("g_and_r_together.fits", "g_and_r_together", None, Content.IMAGE),
        ("NGC_6946_R.fits", "NGC_6946_R", None, Content.IMAGE),
    ],
)
def test_names_of_no_survey(name, tile, band, content):
    said = parse_name(Path(name))[1]
    assert (said.tile, said.band, said.content) == (tile, band, content)


def test_a_name_and_a_header_that_disagree_are_not_believed(tmp_path):
    header = sky(0.2)
    header.update({"MAGZERO": 25.0, "FILTER": "g DECam SDSS c0001 4720.0 1520.0"})
    fits.PrimaryHDU(source(25.0)[0], header).writeto(tmp_path / "field_r.fits")
    with pytest.raises(InputError, match="band r by its name and band g by its header"):
        Tile.open(tmp_path, "sdss")


@pytest.mark.parametrize(
    ("version", "bad", "saturated"),
    [("V4.8.2a", [1, 2, 5, 6, 8], [3, 4]), ("V3.2.1", [1, 2, 3, 4, 5, 6, 7, 8], [2, 3, 6, 7])],
)
def test_masks_of_single_decam_exposures_hold_numbers(tmp_path, version, bad, saturated):
    header = sky(0.262) + fits.Header({"INSTRUME": "DECam", "PROCTYPE": "InstCal", "PLVER": version})
    header["FILTER"] = "r DECam SDSS c0002 6415.0 1480.0"
    flux = source(25.0)[0]
    mask = np.zeros(flux.shape, dtype="int32")
    mask[2, :9] = np.arange(9)
    planes = {"SCI": flux, "MSK": mask, "WGT": np.ones_like(flux)}
    extensions = [fits.ImageHDU(data, sky(0.262), name=name) for name, data in planes.items()]
    fits.HDUList([fits.PrimaryHDU(header=header), *extensions]).writeto(tmp_path / "c4d_150329_083320_r_N11.fits")
    cutout = read_cutouts(tmp_path, "decals", calibration=Calibration.parse("none", None))[0]
    assert np.flatnonzero(np.isnan(cutout.image[2, :, 1])).tolist() == bad
    assert np.flatnonzero(cutout.saturated[2]).tolist() == saturated


def test_files_without_a_band_in_their_names_are_together_by_their_headers(tmp_path):
    header = sky(0.2)
    header["MAGZERO"] = 25.0
    for name, band in {"one": "g", "two": "r", "three": "i"}.items():
        header["FILTER"] = f"SDSS_{band}"
        fits.PrimaryHDU(source(25.0)[0], header).writeto(tmp_path / f"{name}.fits")
    header["CRVAL1"] = 151.0
    fits.PrimaryHDU(source(25.0)[0], header).writeto(tmp_path / "elsewhere.fits")
    assert [len(paths) for paths in find_tiles(tmp_path)] == [1, 3]
    packed = tmp_path / "two.fits"
    (tmp_path / "two.fits.bz2").write_bytes(bz2.compress(packed.read_bytes()))
    packed.unlink()
    assert [len(paths) for paths in find_tiles(tmp_path)] == [1, 3]


@pytest.mark.parametrize(
    ("card", "band"),
    [
        ({"FILTER": "HSC-R2"}, "r"),
        ({"FILTER": "r_57"}, "r"),
        ({"FILTER": "i.MP9702"}, "i"),
        ({"FILT_ID": "OCAM_i_SDSS"}, "i"),
        ({"HIERARCH FPA.FILTER": "y.00000"}, "Y"),
        ({"FILTER": "DECAM_z"}, "z"),
        ({"FILTER": "NIR_J"}, "NIR_J"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W"),
        ({"FILTER": "F150W2", "PUPIL": "F162M"}, "F162M"),
        ({"FILTER": "R"}, None),
        ({"FILTER": "CLEAR"}, None),
        ({}, None),
    ],
)
def test_bands_in_headers(card, band):
    assert band_of(fits.Header(card)) == band


def test_a_letter_within_a_word_is_not_a_band():
    assert [band_called(text) for text in ("red", "gri", "Ha", "izzard", "unknown")] == [None] * 5


@pytest.mark.real
def test_real_files_of_other_surveys_have_their_depth(real_data):
    """The zero points of KiDS and CFHTLS: five sigma in 2 arcsec is what the surveys publish."""
    folder = real_data / "other-survey-fits" / "images"
    for name, scale, published in (("KiDS-test", 0.2, 25.02), ("CFHTLS-test", 0.186, 24.8)):
        with Tile.open(folder / f"{name}_r.fits", "des") as tile:
            plane = tile.plane("r")
            noise = 1.4826 * np.nanmedian(np.abs(plane - np.nanmedian(plane)))
            limit = 22.5 - 2.5 * np.log10(5 * noise * np.sqrt(np.pi) / scale)
            assert limit == pytest.approx(published, abs=0.7)
