"""Units of a catalogue's columns, and sexagesimal positions: converted, or refused with what to do."""

import numpy as np
import pytest
from astropy import units
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.table import Table

from morph.catalogs.catalog import read_catalog
from morph.errors import InputError


def written(path, **columns):
    """A FITS table of one row; a column is a value, or a value and its unit."""
    cards = []
    for name, column in {"ID": "a", "RA": 59.0, "DEC": -52.8, **columns}.items():
        value, unit = column if isinstance(column, tuple) else (column, None)
        kind = f"{len(value)}A" if isinstance(value, str) else "D"
        cards.append(fits.Column(name, kind, unit=unit, array=[value]))
    fits.BinTableHDU.from_columns(cards).writeto(path)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {"RA": (59.0, "deg"), "DEC": (-52.8, "degrees")},
        {"RA": (59.0, "DEG"), "DEC": (-52.8, "Degree")},
        {"RA": (59 / 15, "h"), "DEC": (-52.8, "[deg]")},
        {"RA": (59 / 15, "hours")},
        {"RA": (59 / 15, "hourangle")},
        {"RA": (np.radians(59), "rad"), "DEC": (np.radians(-52.8), "radians")},
        {"DEC": (-52.8 * 60, "arcmin")},
        {"RA": "03:56:00", "DEC": "-52:48:00"},
        {"RA": "03 56 00.0", "DEC": "-52 48 00"},
        {"RA": "3h56m0.0s", "DEC": "-52d48m00s"},
        {"RA": "59d00m00s", "DEC": "-52.8"},
        {"RA": ("59:00:00", "deg"), "DEC": ("-52:48:00", "deg")},
        {"RA": ("03:56:00", '"h:m:s"'), "DEC": ("-52:48:00", '"d:m:s"')},
    ],
)
def test_positions_come_in_degrees(tmp_path, columns):
    row = read_catalog(written(tmp_path / "a.fits", **columns))[0]
    assert (row["ra"], row["dec"]) == pytest.approx((59.0, -52.8), abs=1e-9)


@pytest.mark.parametrize(
    ("column", "arcsec"),
    [
        ((2.0, "arcsec"), 2.0),
        ((2.0, None), 2.0),
        ((2 / 60, "arcmins"), 2.0),
        ((2 / 3600, "deg"), 2.0),
        ((2000.0, "mas"), 2.0),
        ((4.0, "pixels"), 4 * 0.263),
        ((4.0, "pix"), 4 * 0.263),
        ((6.0, "kpc"), 6 * Planck18.arcsec_per_kpc_proper(0.2).value),
        ((0.006, "Mpc"), 6 * Planck18.arcsec_per_kpc_proper(0.2).value),
    ],
)
def test_sizes_come_in_arcsec(tmp_path, column, arcsec):
    found = read_catalog(written(tmp_path / "a.fits", R50=column, Z_SPEC=0.2), "des")
    np.testing.assert_allclose(found["radius"], [arcsec], rtol=1e-6)


def test_sizes_in_kpc_need_redshifts_and_say_so(tmp_path):
    with_redshifts = read_catalog(written(tmp_path / "a.fits", R50=(6.0, "kpc"), Z_SPEC=-1.0))
    without = read_catalog(written(tmp_path / "b.fits", R50=(6.0, "kpc")))
    assert np.isnan(with_redshifts["radius"]).all()
    assert np.isnan(without["radius"]).all()
    assert "by the redshifts in 'Z_SPEC' and Planck18." in with_redshifts.meta["left_out"].lines()[-1]
    assert without.meta["left_out"].lines() == [
        "The sizes in 'R50' (kpc) are not used: there are no redshifts to convert them by."
    ]
    assert without.meta["radius_column"] == ""


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"RA": (59.0, "furlong")}, "Column 'RA' of .* has the unit 'furlong', which is not a unit that is known"),
        ({"RA": (59.0, "kpc")}, "'kpc', which is not a unit of a right ascension; .*deg, hourangle or rad"),
        ({"DEC": (-3.5, "h")}, "'h', which is not a unit of a declination"),
        ({"R50": (2.0, "mag")}, "'mag', which is not a unit of a radius; .*arcsec, arcmin, pix or kpc"),
        ({"R50": (2.0, "Arcsecs of arc")}, "not a unit that is known"),
        ({"MAG_AUTO_R": (2.0, "ct")}, "not a unit of a magnitude"),
        ({"Z_SPEC": (3000.0, "km/s")}, "not a unit of a redshift"),
        ({"RA": "59:00:00"}, "'59:00:00', which is beyond 24 hours; .*unit deg"),
    ],
)
def test_a_unit_that_is_not_one_of_the_column_is_refused(tmp_path, columns, said):
    with pytest.raises(InputError, match=said):
        read_catalog(written(tmp_path / "a.fits", **columns))


@pytest.mark.parametrize("unit", ["mag", "mag(AB)", "AB mag", "ABmag", "Magnitude", "", "---"])
def test_magnitudes_are_magnitudes(tmp_path, unit):
    assert read_catalog(written(tmp_path / "a.fits", MAG_R=(20.0, unit)))["mag_r"].tolist() == [20.0]


def test_units_are_read_in_every_format(tmp_path):
    table = Table({"id": ["a"], "ra": [59 / 15] * units.hourangle, "dec": [-52.8] * units.deg})
    table["r50"] = [2 / 60] * units.arcmin
    for name in ("a.ecsv", "a.vot", "a.parquet"):
        format = "votable" if name == "a.vot" else None
        table.write(tmp_path / name, format=format)
        row = read_catalog(tmp_path / name)[0]
        assert (row["ra"], row["dec"], row["radius"]) == pytest.approx((59.0, -52.8, 2.0)), name
    table.write(tmp_path / "b.parquet", format="parquet.votable", metadata={n: {"unit": ""} for n in table.colnames})
    assert read_catalog(tmp_path / "b.parquet")["ra"][0] == pytest.approx(59.0)


@pytest.mark.parametrize("value", [-1.0, -9.0, -9.999, -99.0, -9999.0, 9.999, 99.0, np.inf])
def test_marks_for_missing_redshifts_are_not_redshifts_and_are_counted(tmp_path, value):
    table = Table({"id": ["a", "b", "c"], "ra": [1.0, 2, 3], "dec": [1.0, 2, 3], "z_spec": [0.1, value, -0.001]})
    table["mag_r"] = [20.0, 99.0, -9.999]
    table.write(tmp_path / "a.csv")
    found = read_catalog(tmp_path / "a.csv")
    np.testing.assert_array_equal(found["redshift"], [0.1, np.nan, -0.001])
    np.testing.assert_array_equal(found["mag_r"], [20.0, np.nan, np.nan])
    assert [line.split(" count")[0] for line in found.meta["left_out"].lines()] == [
        "1 value of 'z_spec'",
        "2 values of 'mag_r'",
    ]
