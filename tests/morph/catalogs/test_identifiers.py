"""Identifiers keep every digit, whatever a format and a program made of them."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from morph.catalogs.catalog import read_catalog
from morph.errors import InputError

PLACES = {"ra": [1.0, 2.0, 3.0], "dec": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([11.0, 12.0, None]), ["11", "12", "J001200.00+030000.0"]),
        (pa.array([11.0, 12.0, 13.0], pa.float32()), ["11", "12", "13"]),
        (pa.array([b"11", b"0012 ", b"c"]), ["11", "0012", "c"]),
        (pa.array([b"\xe9", b"b", b"c"]), ["é", "b", "c"]),
        (pa.array([b"ab", b"cd", b"ef"], pa.binary(2)), ["ab", "cd", "ef"]),
        (pa.array(["a", "0007", "c"]).dictionary_encode(), ["a", "0007", "c"]),
        (pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
        (pa.array(["a", "b", "c"], pa.string_view()), ["a", "b", "c"]),
        (pa.array([2**64 - 1, 1, 2], pa.uint64()), ["18446744073709551615", "1", "2"]),
        (
            pa.array([Decimal(10**19 + 1), Decimal(2), Decimal(3)], pa.decimal128(20)),
            ["10000000000000000001", "2", "3"],
        ),
        (pa.array(["11.0", "12.0", ""]), ["11", "12", "J001200.00+030000.0"]),
        (pa.array(["1.5", "12.0", "2"]), ["1.5", "12.0", "2"]),
    ],
)
def test_identifiers_of_every_kind_in_parquet(tmp_path, ids, expected):
    pq.write_table(pa.table({"objid": ids, **PLACES}), tmp_path / "a.parquet")
    assert read_catalog(tmp_path / "a.parquet")["id"].tolist() == expected


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1.2376487206937559e18, 1.2, 3.0]).cast(pa.float64()),
        pa.array([2.0**24, 1.0, 2.0], pa.float32()),
        pa.array(["1.23765E+18", "1.23766E+18", "1.23765E+18"]),
    ],
)
def test_identifiers_that_have_lost_digits_are_refused(tmp_path, ids):
    pq.write_table(pa.table({"objid": ids, **PLACES}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"'objid' of .* have lost digits"):
        read_catalog(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.RangeIndex(11, 14, name="objid"), ["11", "12", "13"]),
        (pd.RangeIndex(20, 14, -2, name="objid"), ["20", "18", "16"]),
        (pd.Index([11, 12, 13], name="objid"), ["11", "12", "13"]),
        (pd.Index(["a", "b", "c"]), ["a", "b", "c"]),
        (pd.RangeIndex(3), ["J000400.00+010000.0", "J000800.00+020000.0", "J001200.00+030000.0"]),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_index_of_pandas_is_a_column(tmp_path, index, expected, suffix):
    frame, path = pd.DataFrame(PLACES, index=index), tmp_path / f"a.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path)
    assert read_catalog(path)["id"].tolist() == expected
    assert read_catalog(path, where="ra > 1.5")["id"].tolist() == expected[1:]


def test_an_index_goes_on_in_each_file_of_a_folder(tmp_path):
    for start in (5, 8):
        frame = pd.DataFrame({"ra": np.arange(3.0) + start, "dec": [0.0] * 3}, index=pd.RangeIndex(start, start + 3))
        frame.rename_axis("objid").to_parquet(tmp_path / f"{start}.parquet")
    assert read_catalog(tmp_path)["id"].tolist() == [str(number) for number in range(5, 11)]


def test_identifiers_in_fits(tmp_path):
    columns = [
        fits.Column("ID", "20A", array=["0007", "12345678901234567890", "c"]),
        *(fits.Column(name.upper(), "D", array=values) for name, values in PLACES.items()),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    assert read_catalog(tmp_path / "a.fits")["id"].tolist() == ["0007", "12345678901234567890", "c"]
    columns[0] = fits.Column("ID", "K", bzero=2**63, array=np.array([2**64 - 1, 1, 2], "uint64"))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "b.fits")
    assert read_catalog(tmp_path / "b.fits")["id"].tolist() == ["18446744073709551615", "1", "2"]
