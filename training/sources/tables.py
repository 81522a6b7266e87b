"""Tables of labels and catalogues: CSV, Parquet or FITS, one interface."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from morph.catalogues.columns import DEC_COLUMNS, RA_COLUMNS
from morph.errors import BadInput

#: Columns that hold numbers and nothing else. All others are read as text, since an identifier of 18 digits
#: does not survive as a float, nor a leading zero as an integer.
NUMBERS = re.compile(
    r"(_fraction|_debiased|_count|_weight|_total-votes|total_votes|total_classifications)$|^class\d+\.\d+$", re.I
)


class Table:
    """Columns of text and numbers, all of one length."""

    def __init__(self, table: pa.Table, source: str = "the table"):
        self.source = source
        self._table = table

    def __len__(self) -> int:
        return self._table.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    @property
    def columns(self) -> list[str]:
        return list(self._table.column_names)

    @property
    def names(self) -> list[str]:
        """Columns that can hold identifiers or classes: text and whole numbers."""
        fits = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_dictionary)
        return [field.name for field in self._table.schema if any(test(field.type) for test in fits)]

    def text(self, name: str) -> list[str]:
        """A column as text, trimmed; empty where there is no value."""
        return ["" if value is None else str(value).strip() for value in self._table[name].to_pylist()]

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 [rows]; NaN where there is no number."""
        return np.array([_number(value) for value in self._table[name].to_pylist()], dtype=float)

    def position(self) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination, degrees, each float64 [rows]; NaN where there are none."""
        ra, dec = self.find(RA_COLUMNS), self.find(DEC_COLUMNS)
        if ra is None or dec is None:
            return np.full(len(self), np.nan), np.full(len(self), np.nan)
        return self.numbers(ra), self.numbers(dec)

    def find(self, wanted: Iterable[str]) -> str | None:
        """The first of the `wanted` columns that is there, whatever its case."""
        there = {name.lower(): name for name in reversed(self.columns)}
        return next((there[name.lower()] for name in wanted if name.lower() in there), None)


def _number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def read_table(path: str | Path) -> Table:
    """The table at `path`, by its suffix: .parquet, .fits, or else text with commas, semicolons or tabs.

    BadInput when the file is missing, cannot be read, or has no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no table of labels at '{path}'.")
    try:
        table = _READERS.get(_suffix(path), _read_text)(path)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"'{path}' cannot be read as a table ({first_line}); use CSV with one header line, or Parquet."
        ) from None
    if not table.num_rows:
        raise BadInput(f"The table '{path}' has no rows.")
    twice = [name for name in set(table.column_names) if table.column_names.count(name) > 1]
    if twice:
        raise BadInput(f"The table '{path}' has two columns called '{min(twice)}'; rename one of them.")
    return Table(table, str(path))


def _suffix(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() != ".gz" else Path(path.stem).suffix.lower()


def _read_text(path: Path) -> pa.Table:
    with pa.input_stream(str(path)) as stream:
        head = stream.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()
    if not head:
        raise BadInput(f"The table '{path}' is empty.")
    delimiter = max(",;\t", key=head[0].count)
    names = [name.strip().strip('"') for name in head[0].split(delimiter)]
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.float64() if NUMBERS.search(name) else pa.string() for name in names}
        ),
    )


def _read_fits(path: Path) -> pa.Table:
    from astropy.table import Table as FitsTable

    table = FitsTable.read(path, format="fits", unit_parse_strict="silent")
    table.convert_bytestring_to_unicode()
    flat = [name for name in table.colnames if table[name].ndim == 1]
    return pa.table({name: table[name].tolist() for name in flat})


_READERS = {".parquet": pq.read_table, ".fits": _read_fits, ".fit": _read_fits}
