"""The magnitude of one count: known by a card, a unit or an option, or asked for."""

import numpy as np
import pytest
from astropy.io import fits

from morph.catalogs.detection import detect
from morph.errors import InputError
from morph.fits.zero_points import Calibration, magnitude_of_unit
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import GALAXIES, SCALE, write_band, write_tile

STERADIAN = np.radians(SCALE / 3600) ** 2


@pytest.mark.parametrize(
    ("unit", "magnitude"),
    [
        *((unit, 22.5) for unit in ("nanomaggy", "nanomaggies", "NANOMAGGIES", "10^-9 maggies", "10**-9 maggies")),
        *((unit, 31.4) for unit in ("nJy", "nJy/pixel", "nJy / pix", "nanojansky", "10^-9 Jy")),
        *((unit, 23.9) for unit in ("uJy", "microJy", "µJy", "uJy.pix-1")),
        ("mJy", 16.4),
        ("MJy", -6.1),
        ("10*nanoJansky", 28.9),
        ("maggy", 0.0),
        ("erg/s/cm2/Hz", -48.6),
        *((unit, None) for unit in ("adu", "electrons", "counts/s", "Jy/beam", "njy", "", "none", "1")),
        *((unit, None) for unit in ("MJy/sr", "uJy/arcsec2")),
    ],
)
def test_units_are_astropys_and_their_case_matters(unit, magnitude):
    found = magnitude_of_unit(unit)
    assert found is None if magnitude is None else found == pytest.approx(magnitude, abs=2e-3)


@pytest.mark.parametrize(
    ("unit", "magnitude"),
    [
        ("MJy/sr", -6.1 - 2.5 * np.log10(STERADIAN)),
        ("MJy sr-1", -6.1 - 2.5 * np.log10(STERADIAN)),
        ("uJy/arcsec2", 23.9 - 2.5 * np.log10(SCALE**2)),
        ("nmgy/arcsec^2", 22.5 - 2.5 * np.log10(SCALE**2)),
    ],
)
def test_surface_brightness_becomes_flux_by_the_area_of_a_pixel(tmp_path, unit, magnitude):
    assert magnitude_of_unit(unit, STERADIAN) == pytest.approx(magnitude, abs=2e-3)
    tile = Tile.open(write_band(tmp_path, "r", name="field", MAGZERO=None, BUNIT=unit))
    assert tile.zero_points["r"].magnitude == pytest.approx(magnitude, abs=2e-3)
    assert tile.zero_points["r"].source == f"header BUNIT {unit}"


@pytest.mark.parametrize("header", [{"BUNIT": "adu", "EXPTIME": 90.0}, {"BUNIT": "njy"}, {}, {"MAGZERO": 0.0}])
@pytest.mark.parametrize("survey", [None, "des", "sdss"])
def test_an_unknown_zero_point_is_asked_for_whatever_the_survey(tmp_path, header, survey):
    path = write_band(tmp_path, "r", name="field", **{"MAGZERO": None, "TILENAME": None, **header})
    with pytest.raises(InputError, match=r"zero point of '.*field_r\.fits' is not known.*--zero-point MAG.*--unit"):
        Tile.open(path, survey)
    with Tile.open(path, survey, calibration=Calibration.parse("25")) as tile:
        assert (tile.zero_points["r"].magnitude, tile.zero_points["r"].source) == (25.0, "option --zero-point")
    with Tile.open(path, survey, calibration=Calibration.parse(unit="nJy")) as tile:
        assert tile.zero_points["r"].source == "option --unit nJy"


def test_without_a_zero_point_there_are_galaxies_and_no_magnitudes(tmp_path):
    paths = write_tile(tmp_path, name="field", MAGZERO=None)
    with Tile.open(paths, calibration=Calibration.parse("none")) as tile:
        found = detect(tile)
    assert len(found)
    assert np.isnan(found["mag_r"]).all()
    assert np.isfinite(found["radius"]).all()


def test_a_survey_known_by_its_files_has_a_rule(tmp_path):
    with Tile.open(write_band(tmp_path, "r", MAGZERO=None)) as tile:
        assert (tile.zero_points["r"].magnitude, tile.zero_points["r"].source) == (30.0, "rule of des's files")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"MAGZERO": 30.0, "BUNIT": "nJy"}, r"contradicts itself.*30\.000 by MAGZERO and 31\.400 by its unit"),
        ({"MAGZERO": 25.0, "MAGSYS": "Vega"}, "is a Vega magnitude"),
        ({"MAGZERO": None, "BUNIT": "mag/arcsec2"}, "are magnitudes"),
    ],
)
def test_headers_that_cannot_be_believed_are_refused(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        Tile.open(write_band(tmp_path, "r", name="field", **header))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("25", "nJy"), "not both"),
        (("bright", None), "AB magnitude of one count, or none"),
        ((None, "adu"), "not a unit of flux"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Calibration.parse(*options)


def test_magnitudes_do_not_depend_on_the_unit(tmp_path):
    """The same sky in two units, one of them of surface brightness."""
    found = []
    for unit, factor in (("nmgy", 1.0), ("MJy/sr", 3.631e-6 * 1e-6 / STERADIAN)):
        folder = tmp_path / unit.replace("/", "-")
        folder.mkdir()
        paths = write_tile(folder, name="field", MAGZERO=None, BUNIT=unit, SATURATE=None)
        for path in paths:
            with fits.open(path, mode="update") as hdus:
                hdus[0].data *= factor / 1000.0
                hdus[2].data *= (factor / 1000.0) ** -2
        with Tile.open(paths) as tile:
            found.append(detect(tile))
    np.testing.assert_allclose(found[0]["mag_r"], found[1]["mag_r"], atol=2e-3)
    assert found[0]["mag_r"][0] == pytest.approx(22.5 - 2.5 * np.log10(max(flux for *_, flux in GALAXIES)), abs=0.05)
