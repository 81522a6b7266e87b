"""Tables: every format as the same stream, folders and HATS catalogues too, and only what was asked for."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from morph.catalogs import base
from morph.catalogs.catalog import DUPLICATE, NO_POSITION, NOT_PRIMARY, OFF_SPHERE, read_catalog
from morph.errors import InputError

GALAXIES = {"objid": [1, 2, 3], "ra": [10.0, 11.0, 12.0], "dec": [1.0, 2.0, 3.0], "mag": [20.0, 21.0, 22.0]}

ASCII_HEAD = """#   1 NUMBER                 Running object number
#   2 X_IMAGE                Object position along x                    [pixel]
#   3 Y_IMAGE                Object position along y                    [pixel]
#   4 ALPHA_J2000            Right ascension of barycenter (J2000)      [deg]
#   5 DELTA_J2000            Declination of barycenter (J2000)          [deg]
#   6 FLUX_RADIUS            Fraction-of-light radii                    [pixel]
         1     12.5     20.0   10.0  1.0   4.0
         2    100.0     33.0   11.0  2.0   5.0
"""


def hats(folder, **names):
    """The galaxies as a HATS catalogue of two pixels."""
    for pixel, rows in ((4, slice(0, 2)), (7, slice(2, 3))):
        path = folder / "dataset" / "Norder=1" / "Dir=0" / f"Npix={pixel}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({names.get(name, name): values[rows] for name, values in GALAXIES.items()}), path)
    (folder / "hats.properties").write_text("obs_collection=x\nhats_col_ra=where_ra\nhats_col_dec=where_dec\n")
    (folder / "dataset" / "_metadata").write_bytes(b"not a table")
    return folder


def test_a_hats_catalogue_says_itself_where_its_positions_are(tmp_path):
    found = read_catalog(hats(tmp_path, ra="where_ra", dec="where_dec"))
    assert found["ra"].tolist() == GALAXIES["ra"]
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "collection.properties").write_text("hats_primary_table_url=main\n")
    hats(tmp_path / "all" / "main", ra="where_ra", dec="where_dec")
    assert len(read_catalog(tmp_path / "all", where="mag > 20.5")) == 2


@pytest.mark.parametrize("suffix", ["csv", "fits", "parquet"])
def test_a_folder_or_a_glob_of_tables_is_one_catalogue(tmp_path, suffix):
    for number in range(3):
        rows = Table({name: [values[number]] for name, values in GALAXIES.items()})
        if suffix == "parquet":
            pq.write_table(
                pa.table({name: rows[name].tolist() for name in rows.colnames}), tmp_path / f"{number}.parquet"
            )
        else:
            rows.write(tmp_path / f"{number}.{suffix}")
    (tmp_path / "README.md").write_text("no table")
    for path in (tmp_path, tmp_path / f"*.{suffix}"):
        assert read_catalog(path)["id"].tolist() == ["1", "2", "3"]
    (tmp_path / "more.ecsv").write_text("")
    with pytest.raises(InputError, match=r"ecsv and|and ecsv"):
        read_catalog(tmp_path)


def test_sextractors_own_formats_are_read(tmp_path):
    (tmp_path / "a.cat").write_text(ASCII_HEAD)
    text = read_catalog(tmp_path / "a.cat", "des")
    table = Table(
        {"NUMBER": [1, 2], "ALPHA_J2000": [10.0, 11.0], "DELTA_J2000": [1.0, 2.0], "FLUX_RADIUS": [4.0, 5.0]}
    )
    head = fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE"]}), name="LDAC_IMHEAD")
    fits.HDUList([fits.PrimaryHDU(), head, fits.BinTableHDU(table, name="LDAC_OBJECTS")]).writeto(tmp_path / "b.ldac")
    ldac = read_catalog(tmp_path / "b.ldac", "des")
    for found in (text, ldac):
        assert found["id"].tolist() == ["1", "2"]
        assert found["ra"].tolist() == [10.0, 11.0]
        np.testing.assert_allclose(found["radius"], [4 * 0.263, 5 * 0.263])


def test_a_fits_column_is_scaled_and_its_gaps_are_gaps(tmp_path):
    columns = [
        fits.Column("ID", "K", array=[2**62, 2**62 + 1]),
        fits.Column("RA", "D", array=[10.0, 20.0], bscale=0.5, bzero=1.0),
        fits.Column("DEC", "E", array=[1.0, 2.0]),
        fits.Column("REDSHIFT", "I", array=[-99, 1], null=-99),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    found = read_catalog(tmp_path / "a.fits")
    assert found["id"].tolist() == [str(2**62), str(2**62 + 1)]
    assert found["ra"].tolist() == [10.0, 20.0]
    np.testing.assert_array_equal(found["redshift"], [np.nan, 1.0])


@pytest.mark.parametrize("suffix", ["csv", "fits", "parquet", "ecsv"])
def test_few_rows_at_a_time_are_the_same_catalogue(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table(GALAXIES), path)
    else:
        Table(GALAXIES).write(path)
    whole = read_catalog(path, where="mag < 21.5 or mag == 22")
    monkeypatch.setattr(base, "ROWS", 2)
    parts = read_catalog(path, where="mag < 21.5 or mag == 22")
    assert parts["id"].tolist() == whole["id"].tolist() == ["1", "2", "3"]
    assert parts.meta["digest"] == whole.meta["digest"]


def test_rows_that_cannot_be_used_are_left_out_with_their_reason(tmp_path):
    (tmp_path / "a.csv").write_text(
        "id,ra,dec,tile\na,1,2,\nb,,3,\na,1,4,\nc,1,95,\nd,nowhere,3,DES0001-0541\n,4,5,\ne,-10,5,\n"
    )
    found = read_catalog(tmp_path / "a.csv")
    # One that names its tile gets its place in that tile's file; one without an id gets a name.
    assert found["id"].tolist() == ["a", "d", "J001600.00+050000.0", "e"]
    assert found["ra"][3] == 350
    left = found.meta["left_out"]
    assert left.counts == {NO_POSITION: 1, DUPLICATE: 1, OFF_SPHERE: 1}
    assert left.table().to_pylist()[0]["id"] == "b"
    assert any("1 row of the catalogue left out: a row before it has its id." in line for line in left.lines())


def test_a_tractor_catalogue_is_understood(tmp_path):
    rows = Table(
        {
            "brickname": ["0001m002"] * 3,
            "objid": [0, 1, 2],
            "brick_primary": [True, True, False],
            "ra": [0.1, 0.2, 0.3],
            "dec": [-0.2, -0.2, -0.2],
            "type": ["PSF", "EXP", "SER"],
            "shape_r": [0.0, 2.0, 1.0],
            "flux_g": [1.0, 10.0, 1.0],
            "flux_z": [100.0, -1.0, 1.0],
        }
    )
    rows.write(tmp_path / "tractor-0001m002.fits")
    found = read_catalog(tmp_path / "tractor-0001m002.fits", "decals")
    assert found["id"].tolist() == ["0001m002-0", "0001m002-1"]
    assert found.meta["left_out"].counts == {NOT_PRIMARY: 1}
    np.testing.assert_allclose(found["mag_g"], [22.5, 20.0])
    np.testing.assert_allclose(found["mag_i"], [17.5, np.nan])  # the survey's third band is z
    assert set(found["tilename"]) == {"0001m002"}


def test_what_is_chosen_from_a_catalogue_may_not_be_nothing(tmp_path):
    Table(GALAXIES).write(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"No row of .* is chosen by --where 'mag > 30'"):
        read_catalog(tmp_path / "a.csv", where="mag > 30")


def test_long_numbers_in_text_are_compared_exactly(tmp_path):
    (tmp_path / "a.csv").write_text("objid,ra,dec\n1237648720693755918,1,2\n1237648720693755919,1,3\n")
    assert read_catalog(tmp_path / "a.csv", where="objid == 1237648720693755919")["dec"].tolist() == [3.0]
