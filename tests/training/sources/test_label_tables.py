"""Tables of labels in each format, and what identifiers must survive."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as FitsTable

from morph.errors import BadInput
from training.sources.tables import read_table


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


def test_what_is_no_number_is_unknown(table):
    assert np.isnan(table(redshift=["", "-", None]).numbers("redshift")).all()


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("labels.csv", ["id,label"], "no rows"),
        ("labels.csv", ["id,label,id", "1,2,3"], "two columns called 'id'"),
        ("labels.csv", ["id,label", "a,b,c,d"], "cannot be read as a table"),
        ("labels.parquet", ["this is no parquet"], "cannot be read as a table"),
        ("labels.fits", ["this is no fits"], "cannot be read as a table"),
    ],
)
def test_a_bad_table_says_what_is_wrong(write, name, lines, said):
    with pytest.raises(BadInput, match=said):
        read_table(write(name, *lines))


def test_a_missing_table_says_so(tmp_path):
    with pytest.raises(BadInput, match="no table of labels"):
        read_table(tmp_path / "labels.csv")
