"""Tables put together at random from what the standards allow: read as astropy wrote them.

MORPH_EXAMPLES=1000 makes as many of each kind by hand.
"""

import csv
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morph.catalogs.catalog import read_catalog
from training.importers.tables import read_table

MANY = settings(
    max_examples=int(os.environ.get("MORPH_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

IDS = st.one_of(
    st.integers(1, 10**20).map(str),
    st.integers(0, 9999).map("{:06d}".format),
    st.from_regex(r"\A[A-Za-z][A-Za-z0-9_+.]{3,12}\Z").filter(
        lambda name: name.lower() not in ("none", "null", "true")
    ),
)
NOTES = st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters="\\"), max_size=8)
RA_UNITS = st.sampled_from(
    [("deg", units.deg), ("degrees", units.deg), ("radians", units.rad), ("h", units.hourangle)]
)
DEC_UNITS = st.sampled_from([("deg", units.deg), ("Degree", units.deg), ("rad", units.rad), ("arcmins", units.arcmin)])


@st.composite
def galaxies(draw):
    """One to six galaxies: ids, positions in degrees, redshifts, which redshifts are missing, remarks."""
    ids = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    n = len(ids)

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    return {
        "objid": ids,
        "ra": np.array(column(st.floats(0, 359.9))),
        "dec": np.array(column(st.floats(-89.9, 89.9))),
        "z_spec": np.array(column(st.floats(0, 5))),
        "missing": np.array(column(st.booleans())),
        "note": column(NOTES),
    }


def check(path, expected, atol: float = 1e-10) -> None:
    """Both readers find these galaxies."""
    found, labels = read_catalog(path), read_table(path)
    assert found["id"].tolist() == expected["objid"]
    assert labels.identifiers("objid") == expected["objid"]
    for ra, dec in ((found["ra"], found["dec"]), labels.position()):
        np.testing.assert_allclose(ra, expected["ra"], rtol=0, atol=atol)
        np.testing.assert_allclose(dec, expected["dec"], rtol=0, atol=atol)
    shown = np.where(expected["missing"], np.nan, expected["z_spec"])
    np.testing.assert_allclose(found["redshift"], shown, rtol=0, atol=atol)
    np.testing.assert_allclose(labels.measured("z_spec", "redshift"), shown, rtol=0, atol=atol)


@MANY
@given(data=st.data(), rows=galaxies())
def test_text(tmp_path, data, rows):
    delimiter = data.draw(st.sampled_from(",;\t| "))
    # Blanks as delimiters cannot hold empty fields without quotes; astropy misses them, too.
    quotings = [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, *([csv.QUOTE_MINIMAL] if delimiter != " " else [])]
    quoting = data.draw(st.sampled_from(quotings))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    before = data.draw(st.sampled_from(["", "#Table1\n", "# made, by hand\n\n"]))
    index = data.draw(st.booleans())
    with open(
        tmp_path / "a.csv", "w", newline="", encoding=data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))
    ) as file:
        file.write(before.replace("\n", end))
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
        writer.writerow([*([""] if index else []), "objid", "ra", "dec", "z_spec", "note, or so"])
        redshifts = ["" if gone else z for z, gone in zip(rows["z_spec"].tolist(), rows["missing"], strict=True)]
        columns = (rows["objid"], rows["ra"].tolist(), rows["dec"].tolist(), redshifts, rows["note"])
        for i, row in enumerate(zip(*columns, strict=True)):
            writer.writerow([*([i] if index else []), *row])
    check(tmp_path / "a.csv", rows)


@MANY
@given(data=st.data(), rows=galaxies(), ra_unit=RA_UNITS, dec_unit=DEC_UNITS)
def test_fits(tmp_path, data, rows, ra_unit, dec_unit):
    ascii_table = data.draw(st.booleans())
    null = data.draw(st.sampled_from([-(2**31), -99, 2**31 - 1]))
    stored = np.where(rows["missing"], null, np.round(rows["z_spec"] * 1e6)).astype("int64")
    angles = ((rows["ra"] * units.deg).to_value(ra_unit[1]), (rows["dec"] * units.deg).to_value(dec_unit[1]))
    real, whole = ("D25.17", "I12") if ascii_table else ("D", "J")
    columns = [
        fits.Column("OBJID", "A24" if ascii_table else "24A", array=np.array(rows["objid"])),
        fits.Column("RA", real, unit=ra_unit[0], array=angles[0]),
        fits.Column("DEC", real, unit=dec_unit[0], array=angles[1]),
        fits.Column("z_spec", whole, array=stored),
    ]
    kind = fits.TableHDU if ascii_table else fits.BinTableHDU
    kind.from_columns(columns).writeto(tmp_path / "a.fits", overwrite=True)
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as hdus:
        hdus[1].header.update(TSCAL4=1e-6, TNULL4=str(null) if ascii_table else null)
    found, labels = read_catalog(tmp_path / "a.fits"), read_table(tmp_path / "a.fits")
    shown = np.where(rows["missing"], np.nan, rows["z_spec"])
    for ids in (found["id"].tolist(), labels.identifiers("OBJID")):
        assert ids == rows["objid"]
    for ra, dec in ((found["ra"], found["dec"]), labels.position()):
        np.testing.assert_allclose(ra, rows["ra"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(dec, rows["dec"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["redshift"], shown, rtol=0, atol=1e-6)


@MANY
@given(rows=galaxies(), kind=st.sampled_from([pa.string(), pa.large_string(), pa.binary(), "dictionary", "pandas"]))
def test_parquet(tmp_path, rows, kind):
    ids = pa.array(rows["objid"])
    ids = ids.dictionary_encode() if kind == "dictionary" else ids if kind == "pandas" else ids.cast(kind)
    columns = {"ra": rows["ra"], "dec": rows["dec"], "z_spec": pa.array(rows["z_spec"], mask=rows["missing"])}
    table = pa.table({"objid": ids, **columns})
    if kind == "pandas":
        table = pa.Table.from_pandas(table.to_pandas().set_index("objid"))
    pq.write_table(table, tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", rows)


@MANY
@given(rows=galaxies(), name=st.sampled_from(["a.ecsv", "a.vot", "b.csv"]), delimiter=st.sampled_from([" ", ","]))
def test_ecsv_and_votable(tmp_path, rows, name, delimiter):
    table = Table({name: rows[name] for name in ("objid", "ra", "dec", "note")})
    table["ra"].unit, table["dec"].unit = units.deg, units.deg
    table["z_spec"] = MaskedColumn(rows["z_spec"], mask=rows["missing"])
    if name == "a.vot":
        table.write(tmp_path / name, format="votable", overwrite=True)
    else:
        table.write(tmp_path / name, format="ascii.ecsv", delimiter=delimiter, overwrite=True)
    check(tmp_path / name, rows)


@MANY
@given(
    rows=galaxies(), frame=st.sampled_from(["icrs", "galactic", "fk5"]), name=st.sampled_from(["a.ecsv", "a.parquet"])
)
def test_sky_coordinates(tmp_path, rows, frame, name):
    sky = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    table = QTable({"objid": rows["objid"], "place": sky.transform_to(frame)})
    table["z_spec"] = MaskedColumn(rows["z_spec"], mask=rows["missing"])
    table.write(tmp_path / name, overwrite=True)
    found, labels = read_catalog(tmp_path / name), read_table(tmp_path / name)
    for ra, dec in ((found["ra"], found["dec"]), labels.position()):
        apart = sky.separation(SkyCoord(ra, dec, unit="deg"))
        assert apart.arcsec.max() < 1e-6
