"""Tables of labels in each format, and what identifiers must survive."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.table import Table as FitsTable

from morph.errors import InputError
from training.importers.tables import read_table


def test_identifiers_keep_every_digit_and_leading_zeros(write):
    table = read_table(write("labels.csv", "objid,field", "587722981748965649,0042"))
    assert table.text("objid") == ["587722981748965649"]
    assert table.text("field") == ["0042"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_the_one_in_the_header(write, delimiter):
    table = read_table(write("labels.csv", delimiter.join(["id", "label"]), delimiter.join(["a", "ring"])))
    assert table.columns == ["id", "label"]


def test_formats_hold_the_same_table(tmp_path, write):
    lines = ["id,label,t01_a01_fraction", "1,ring,0.5", "2,,0.25"]
    csv = write("labels.csv", *lines)
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress(csv.read_bytes()))
    columns = {"id": [1, 2], "label": ["ring", ""], "t01_a01_fraction": [0.5, 0.25]}
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    FitsTable(columns).write(tmp_path / "labels.fits")
    for name in ("labels.csv", "labels.csv.gz", "labels.parquet", "labels.fits"):
        table = read_table(tmp_path / name)
        assert table.text("id") == ["1", "2"], name
        assert table.text("label") == ["ring", ""], name
        np.testing.assert_allclose(table.numbers("t01_a01_fraction"), [0.5, 0.25])


def test_columns_are_found_whatever_their_case(table):
    assert table(OBJID=["1"]).find(("dr7objid", "objid")) == "OBJID"


def test_what_is_not_a_number_is_unknown(table):
    assert np.isnan(table(redshift=["", "-", None]).numbers("redshift")).all()


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("labels.csv", ["id,label"], "no rows"),
        ("labels.csv", ["id,label,id", "1,2,3"], "two columns called 'id'"),
        ("labels.csv", ["id,label", "a,b", "a,b,c,d"], "Line 3 of .* has 4 columns where the header has 2"),
        ("labels.parquet", ["this is no parquet"], "cannot be read as a table"),
        ("labels.fits", ["this is no fits"], "cannot be read as a table"),
    ],
)
def test_a_bad_table_says_what_is_wrong(write, name, lines, said):
    with pytest.raises(InputError, match=said):
        read_table(write(name, *lines))


def test_a_missing_table_says_so(tmp_path):
    with pytest.raises(InputError, match="No table of labels exists"):
        read_table(tmp_path / "labels.csv")


@pytest.mark.parametrize("header", ["#Table1\nobjid,ra,dec", "# my notes\nobjid, ra, dec", ",objid,ra,dec"])
def test_labels_are_read_as_catalogues_are(write, header):
    index = "0," if header.startswith(",") else ""
    table = read_table(write("labels.csv", header, f"{index}0007,03:56:00,-52:48:00", f"{index}8,59.5,-53.0"))
    assert table.identifiers("objid") == ["0007", "8"]
    np.testing.assert_allclose(table.position(), [[59.0, 59.5], [-52.8, -53.0]])


def test_positions_that_are_none_are_counted_and_units_are_converted(tmp_path):
    columns = {"id": ["a", "b", "c"], "ra": [1.0, 2.0, -99.0] * units.rad, "dec": [0.1, np.nan, -99.0] * units.rad}
    FitsTable(columns).write(tmp_path / "labels.fits")
    table = read_table(tmp_path / "labels.fits")
    ra, dec = table.position()
    np.testing.assert_allclose(ra, [np.degrees(1), np.nan, np.nan])
    np.testing.assert_allclose(dec, [np.degrees(0.1), np.nan, np.nan])
    assert table.notes == ["2 rows have no position on the sphere in 'ra' and 'dec'."]


def test_impossible_counts_are_not_known_and_counted(table):
    labels = table(a_count=["3", "-1", "", "inf", "0"])
    np.testing.assert_array_equal(labels.counts("a_count"), [3, np.nan, 0, np.nan, 0])
    assert labels.notes == [
        "In 2 rows 'a_count' holds an impossible number of votes; that question counts as not asked."
    ]


def test_per_cent_become_fractions_with_a_word(table):
    labels = table(yes=[60.0, 0.5, 100.0], no=[40.0, 99.5, 0.0])
    found = labels.fractions({"yes": "yes", "no": "no"})
    np.testing.assert_allclose(found["yes"], [0.6, 0.005, 1.0])
    assert labels.notes == ["Fractions of votes such as 'yes' are per cent, and were divided by 100."]


def test_one_fraction_above_one_is_that_rows_alone(table):
    labels = table(yes=[0.6, 1.5, 1.0005], no=[0.4, 0.5, -99.0])
    found = labels.fractions({"yes": "yes", "no": "no"})
    np.testing.assert_allclose(found["yes"], [0.6, np.nan, 1.0005])
    np.testing.assert_allclose(found["no"], [0.4, 0.5, np.nan])
    assert len(labels.notes) == 2


def test_counts_called_fractions_are_refused(table):
    with pytest.raises(InputError, match=r"'no' of .* should hold fractions of votes.* goes up to 400"):
        table(yes=[30.0, 1.0], no=[400.0, 39.0]).fractions({"yes": "yes", "no": "no"})
