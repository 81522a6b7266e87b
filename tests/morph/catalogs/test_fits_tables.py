"""FITS tables of both kinds, and columns that are astropy's objects."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from morph.catalogs.catalog import NO_POSITION, read_catalog


def test_a_null_stands_before_scaling(tmp_path):
    columns = [
        fits.Column("ID", "J", array=[1, 2, 3]),
        fits.Column("RA", "J", array=np.array([590000000, 590010000, -(2**31)])),
        fits.Column("DEC", "J", array=np.array([-528000000, -528010000, -528020000])),
        fits.Column("MAG_AUTO_R", "I", array=np.array([18000, -32768, 19000], "i2")),
        fits.Column("MAG_AUTO_G", "I", bzero=2**15, array=np.array([18, 19, 20], "u2")),
        fits.Column("Z_SPEC", "E", array=np.array([0.5, -1.0, 0.25], "f4")),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[1].header.update(TSCAL2=1e-7, TNULL2=-(2**31), TSCAL3=1e-7, TSCAL4=1e-3, TNULL4=-32768)
        hdus[1].header.update(TNULL5=19 - 2**15, TSCAL6=0.5, TZERO6=0.125, TNULL6=-1)
    found = read_catalog(tmp_path / "a.fits")
    np.testing.assert_allclose(found["ra"], [59.0, 59.001])
    assert found.meta["left_out"].counts == {NO_POSITION: 1}
    np.testing.assert_allclose(found["mag_r"], [18.0, np.nan])
    np.testing.assert_allclose(found["mag_g"], [18.0, np.nan])
    np.testing.assert_allclose(found["redshift"], [0.375, np.nan])
    assert read_catalog(tmp_path / "a.fits", where="isnan(MAG_AUTO_R)")["id"].tolist() == ["2"]


def test_ascii_tables_are_read(tmp_path):
    columns = [
        fits.Column("ID", "A6", array=["0007", "b", "c"]),
        fits.Column("RA", "F12.6", array=[59.0, 59.001, 59.002]),
        fits.Column("DEC", "D25.17", array=[-52.8, -52.801, -52.802]),
        fits.Column("NUMBER", "I12", array=np.array([1, 2, 3])),
        fits.Column("MAG_R", "I6", array=np.array([20, -99, 21]), null="-99"),
        fits.Column("RADIUS", "F8.3", array=[2.0, 3.0, 4.0], unit="arcsec"),
    ]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    raw = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(raw.replace(b"   4.000", b"        "))
    found = read_catalog(tmp_path / "a.fits")
    assert found["id"].tolist() == ["0007", "b", "c"]
    assert found["ra"].tolist() == [59.0, 59.001, 59.002]
    assert found["dec"].tolist() == [-52.8, -52.801, -52.802]
    np.testing.assert_array_equal(found["mag_r"], [20, np.nan, 21])
    np.testing.assert_array_equal(found["radius"], [2, 3, np.nan])
    assert read_catalog(tmp_path / "a.fits", where="NUMBER >= 2 and ra < 59.0015")["id"].tolist() == ["b"]


def test_columns_of_other_kinds_are_no_hindrance(tmp_path):
    columns = [
        fits.Column("ID", "J", array=[1, 2]),
        fits.Column("RA", "D", array=[1.0, 2.0]),
        fits.Column("DEC", "D", array=[1.0, 2.0]),
        fits.Column("FLAGS", "3X", array=np.ones((2, 3), bool)),
        fits.Column("PHASE", "C", array=np.ones(2, "c8")),
        fits.Column("APER", "3E", array=np.ones((2, 3))),
        fits.Column("LIST", "PJ()", array=np.array([[1, 2], [3]], dtype=object)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert read_catalog(tmp_path / "a.fits")["id"].tolist() == ["1", "2"]


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk4"])
@pytest.mark.parametrize("name", ["a.ecsv", "a.fits", "a.parquet"])
def test_positions_that_are_objects_are_read_in_any_frame(tmp_path, frame, name):
    sky = SkyCoord([59, 59.001], [-52.8, -52.801], unit="deg")
    table = QTable({"id": ["a", "b"], "place": sky.transform_to(frame), "r50": [2 / 60, 3 / 60] * units.arcmin})
    if name != "a.fits":
        table["seen"] = Time(["2020-01-01", "2021-01-01"])
    table.write(tmp_path / name)
    found = read_catalog(tmp_path / name)
    np.testing.assert_allclose(found["ra"], sky.ra.deg, atol=1e-9)
    np.testing.assert_allclose(found["dec"], sky.dec.deg, atol=1e-9)
    np.testing.assert_allclose(found["radius"], [2, 3])


def test_masked_values_are_missing_in_every_format(tmp_path):
    table = Table({"id": ["a", "b"], "ra": [1.0, 2.0], "dec": [1.0, 2.0]})
    table["z_spec"] = MaskedColumn([0.5, 0.25], mask=[True, False])
    table["mag_r"] = MaskedColumn([20, 21], mask=[False, True])
    for name, format in (
        ("a.ecsv", None),
        ("a.vot", "votable"),
        ("a.fits", None),
        ("a.csv", None),
        ("a.parquet", None),
    ):
        table.write(tmp_path / name, format=format)
        found = read_catalog(tmp_path / name)
        np.testing.assert_array_equal(found["redshift"], [np.nan, 0.25], err_msg=name)
        np.testing.assert_array_equal(found["mag_r"], [20, np.nan], err_msg=name)
