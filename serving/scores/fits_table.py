"""The catalogue as one FITS binary table, for TOPCAT and other readers of FITS; of any length, a tile at a time."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from astropy.io import fits

from morph.atomic import atomic
from serving.scores.schema import words_of
from serving.scores.score_files import ScoreFiles, when

#: FITS files come in blocks of so many bytes.
BLOCK = 2880

#: Arrow's types as NumPy's big-endian ones and as FITS letters.
NUMBERS = {pa.float32(): (">f4", "E"), pa.float64(): (">f8", "D"), pa.int32(): (">i4", "J"), pa.int64(): (">i8", "K")}

#: The value of an unknown cell in columns of whole numbers, and of yes or no. Readers take FITS's own logical NULL for
#: no, so that yes, no and unknown are 1, 0 and this.
UNKNOWN = {pa.bool_(): -1, pa.int32(): -(2**31), pa.int64(): -(2**63)}

#: Values of a provenance entry that the header lists at most; entries that name each tile have more.
MOST = 8


@dataclass(frozen=True)
class _Column:
    """A column: its name, how a cell is stored, its TFORM, and its entries in the header."""

    name: str
    stored: tuple
    form: str
    words: dict[str, str]
    unknown: int | None = None


def write_fits(scores: ScoreFiles, path: Path) -> None:
    """Write all rows into one binary table, atomically.

    A list is a vector column, and text is as wide as its longest value needs. An unknown number is NaN. Yes and no are
    1 and 0; unknown, they are the header's TNULL, as are unknown whole numbers. Units, UCDs (TUCD) and descriptions
    (TCOMM) stand in the header, the runs as its history, and every entry of the score files' provenance on a card of
    its own, in JSON where it is not a plain value.

    Raises InputError when a score file cannot be read or the table not be written.
    """
    columns = [_column(field, scores.widths) for field in scores.schema_of(scores.tabular)]
    kind = np.dtype([(column.name, *column.stored) for column in columns])
    with atomic(path) as building, building.open("wb") as file:
        file.write(_primary().tostring().encode("ascii"))
        file.write(_header(columns, kind.itemsize, scores).tostring().encode("ascii"))
        for table in scores.tables([column.name for column in columns]):
            file.write(_rows(table, columns, kind).tobytes())
        _fill(file)


def _column(field: pa.Field, widths: dict[str, int]) -> _Column:
    words = words_of(field)
    if pa.types.is_string(field.type):
        width = widths[field.name]
        return _Column(field.name, (f"S{width}",), f"{width}A", words)
    if pa.types.is_boolean(field.type):
        words["description"] = f"1 if {words.get('description', 'yes')}, else 0; -1 if not scored"
        return _Column(field.name, (">i2",), "I", words, UNKNOWN[field.type])
    if pa.types.is_fixed_size_list(field.type):
        stored, letter = NUMBERS[field.type.value_type]
        size = field.type.list_size
        return _Column(field.name, (stored, (size,)), f"{size}{letter}", words)
    stored, letter = NUMBERS[field.type]
    return _Column(field.name, (stored,), letter, words, UNKNOWN.get(field.type))


def _primary() -> fits.Header:
    header = fits.PrimaryHDU().header
    header["EXTEND"] = True
    return header


def _header(columns: list[_Column], width: int, scores: ScoreFiles) -> fits.Header:
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table")
    header["BITPIX"], header["NAXIS"] = 8, 2
    header["NAXIS1"], header["NAXIS2"] = (width, "bytes a row"), (scores.galaxies, "rows")
    header["PCOUNT"], header["GCOUNT"], header["TFIELDS"] = 0, 1, len(columns)
    header["EXTNAME"] = "SCORES_FORMAT"
    for number, column in enumerate(columns, 1):
        header[f"TTYPE{number}"] = column.name
        header[f"TFORM{number}"] = column.form
        for key, word in (("TUNIT", "unit"), ("TUCD", "ucd"), ("TCOMM", "description")):
            if word in column.words:
                header[f"{key}{number}"] = _short(column.words[word])
        if column.unknown is not None:
            header[f"TNULL{number}"] = column.unknown
    for name, values in scores.provenance.items():
        if 0 < len(values) <= MOST:
            header[_keyword(name, header)] = (_card(values), name)
    for run in scores.runs:
        header["HISTORY"] = f"{run.get('software')}: {run['galaxies']} galaxies of {run['tiles']} tiles"
        header["HISTORY"] = f"by model {run.get('model')} {run.get('model_version')}, {when(run)}"
    if scores.simulated:
        header["HISTORY"] = "Some of the tiles are simulated."
    return header


def _keyword(name: str, header: fits.Header) -> str:
    """A provenance entry's keyword: its name as far as a keyword goes, numbered where another has the same."""
    short = re.sub(r"[^A-Z0-9]", "", name.upper())[:8]
    numbered = (f"{short[: 8 - len(str(k))]}{k}" for k in range(2, 100))
    return short if short not in header else next(keyword for keyword in numbered if keyword not in header)


def _card(values: Sequence[Any]) -> str | bool | int | float:
    """The values that an entry has in the score files, as one."""
    value = values[0] if len(values) == 1 else list(values)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    # FITS headers are ASCII, without control characters.
    plain = text.encode("ascii", "replace").decode() if isinstance(value, str) else text
    return value if isinstance(value, (bool, int, float)) else re.sub(r"[^ -~]", "?", plain)


def _short(text: str) -> str:
    """As much of a text as stands on one card."""
    return text if len(text) <= 67 else text[:64] + "..."


def _rows(table: pa.Table, columns: list[_Column], kind: np.dtype) -> np.ndarray:
    rows = np.zeros(len(table), dtype=kind)
    for column in columns:
        values = table[column.name].combine_chunks()
        if pa.types.is_string(values.type):
            rows[column.name] = np.char.encode(values.fill_null("").to_numpy(False).astype(str), "ascii", "replace")
        elif pa.types.is_boolean(values.type):
            rows[column.name] = values.cast(pa.int16()).fill_null(column.unknown).to_numpy(False)
        elif pa.types.is_integer(values.type):
            rows[column.name] = values.fill_null(column.unknown).to_numpy(False)
        elif pa.types.is_fixed_size_list(values.type):
            cells = values.flatten().to_numpy(zero_copy_only=False)
            rows[column.name] = cells.reshape(len(table), values.type.list_size)
        else:
            rows[column.name] = values.to_numpy(zero_copy_only=False)
    return rows


def _fill(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % BLOCK))
