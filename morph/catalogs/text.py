"""Tables that are text: CSV of every dialect, ECSV, VizieR's, and text with blanks between its columns.

The header is found here, the rows are read by `morph.catalogs.text_rows`. Every column is read as text, for an
identifier of 20 digits is not a number, and one with leading zeros neither.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.table.meta import get_header_from_yaml

from morph.catalogs import base
from morph.catalogs.base import InMemoryTable
from morph.catalogs.column_mapping import KNOWN_COLUMNS
from morph.catalogs.row_filter import Where
from morph.catalogs.text_rows import (
    BLANKS,
    Dialect,
    beginning,
    is_comment,
    options,
    parsed,
    read_other,
    read_plain,
    stream,
)
from morph.catalogs.values import blank_is_null, numbers
from morph.errors import InputError

#: Bytes in which the header and some rows are found: the headers of ECSV are long.
HEAD = 1 << 20

_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class TextTable:
    """Text with a header. `schema` holds what the columns' beginnings look like; `where` sees them as that."""

    path: Path
    dialect: Dialect
    schema: pa.Schema
    units: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        read = read_plain if self.dialect.plain else read_other
        for table in read(self.path, self.dialect, base.columns_read(columns, where)):
            if where is not None:
                seen = {name: _as(table[name], self.schema.field(name).type) for name in where.columns}
                seen[" row"] = pa.array(np.arange(len(table)))
                table = table.take(pa.table(seen).filter(where.value)[" row"])
            yield table.select(list(columns))


def open_text(path: Path) -> TextTable | InMemoryTable:
    """The table in a text file, by its beginning. Raises InputError when it has no header, or no table is there."""
    with stream(path) as file:
        raw = file.read(HEAD)
    encoding, text = _decode(raw)
    lines = list(io.StringIO(text, newline=""))
    if len(raw) == HEAD:
        del lines[-1:]  # which may have been cut
    first = next((line.strip() for line in lines if line.strip()), "")
    if not first:
        raise InputError(f"The table '{path}' is empty.")
    if "\0" in text:
        raise InputError(f"'{path}' cannot be read as a table (it is not text); use FITS, Parquet, CSV or VOTable.")
    if (format := _astropys(first, lines)) is not None:
        return InMemoryTable.read(path, format)
    comments = _comments(lines)
    if first.startswith("# %ECSV"):
        header = get_header_from_yaml(line.lstrip("#").removeprefix(" ").rstrip() for line in comments[1:])
        if "__serialized_columns__" in str(header.get("meta")):
            return InMemoryTable.read(path, "ascii.ecsv")
        units = {column["name"]: str(column["unit"]) for column in header["datatype"] if "unit" in column}
        dialect = _dialect(lines, len(comments), header.get("delimiter", BLANKS), encoding)
    else:
        dialect, units = _find_header(path, lines, comments, encoding)
    kinds = [_looks_like(pa.array(column, pa.string())) for column in beginning(lines, dialect)]
    schema = pa.schema(list(zip(dialect.names, kinds, strict=True)))
    return TextTable(path, dialect, schema, units)


def _decode(raw: bytes) -> tuple[str, str]:
    """The encoding of a file, and its beginning as text."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", codecs.getincrementaldecoder("utf-16")().decode(raw)
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8-sig")().decode(raw)
    except UnicodeDecodeError:
        return "latin-1", raw.decode("latin-1")


def _astropys(first: str, lines: list[str]) -> str | None:
    """The name that astropy has for a format of which the first line, or any near it, leaves no doubt."""
    # SExtractor's ASCII_HEAD numbers its columns: "#   1 NUMBER  Running object number".
    if first.startswith("#") and first[1:].split()[:1] == ["1"]:
        return "ascii.sextractor"
    if first.startswith("\\") or (first.startswith("|") and first.endswith("|")):
        return "ascii.ipac"
    if any(line.startswith("Byte-by-byte Description of file") for line in lines[:200]):
        return "ascii.cds"
    return None


def _comments(lines: list[str]) -> list[str]:
    """The lines before the first that is neither empty nor a comment."""
    count = next((i for i, line in enumerate(lines) if line.strip() and not is_comment(line)), len(lines))
    return lines[:count]


def _find_header(path: Path, lines: list[str], comments: list[str], encoding: str) -> tuple[Dialect, dict[str, str]]:
    """The dialect and the units of a table whose header is the first line, or the comment before it."""
    start = len(comments)
    named = next((line.strip().lstrip("#").strip() for line in reversed(comments) if line.strip()), "")
    line = lines[start] if start < len(lines) else named
    unquoted = re.sub(r'"[^"]*"', '""', line.strip(" \r\n"))
    delimiter = max(_DELIMITERS, key=unquoted.count)
    if delimiter not in unquoted and len(line.split()) > 1:
        delimiter = BLANKS
    fields = _fields(line, delimiter)
    if start == len(lines):
        raise InputError(f"The table '{path}' has no rows.")
    commented = _fields(named, delimiter)
    if len(commented) == len(fields) and _is_header(commented, fields):
        return _dialect([named, *lines[start:]], 0, delimiter, encoding, before=start - 1), {}
    if all(map(_is_number, fields)):
        raise InputError(
            f"The table '{path}' has no header: its first line is '{line.strip()[:60]}'; "
            "put a line with the columns' names before it."
        )
    skip, units = _below_names(lines[start : start + 3], delimiter)
    return _dialect(lines, start, delimiter, encoding, skip=skip), units


def _is_header(commented: list[str], fields: list[str]) -> bool:
    """Whether a comment holds the columns' names, and the line behind it the first row."""
    if any(map(_is_number, commented)):
        return False
    known = [sum(name.lower() in KNOWN_COLUMNS for name in names) for names in (commented, fields)]
    return any(map(_is_number, fields)) or known[0] > known[1]


def _below_names(lines: list[str], delimiter: str) -> tuple[int, dict[str, str]]:
    """How many lines below the names are not rows, and the units there: VizieR writes units above a line of dashes."""
    parts = [_fields(line, delimiter) for line in lines]
    dashes = [bool(part) and all(re.fullmatch("-+", one) for one in part) for part in parts]
    if dashes[1:2] == [True]:
        return 1, {}
    if dashes[2:3] == [True]:
        return 2, {name: unit for name, unit in zip(parts[0], parts[1], strict=False) if unit}
    return 0, {}


def _dialect(lines: list[str], place: int, delimiter: str, encoding: str, skip: int = 0, before: int = 0) -> Dialect:
    """The dialect of a table whose header is the line at `place` of `lines`; its rows begin `skip` lines later.

    `before` are lines of the file that are not among `lines`.
    """
    reader = csv.reader(lines[place:], **options(delimiter))
    names = [name.strip() for name in next(reader, [])]
    start = place + reader.line_num + skip
    rows = [row for row in islice(parsed(lines[start:], delimiter), 100) if len(row) > 1]
    extra = False
    if rows and all(len(row) == len(names) + 1 and not row[-1].strip() for row in rows):
        extra = True
    elif rows and names[-1:] == [""] and all(len(row) == len(names) - 1 for row in rows):
        names.pop()
    # Arrow takes a quote for one only where it follows the delimiter at once.
    loose = re.compile(re.escape(delimiter) + r'[ \t]+"')
    plain = delimiter != BLANKS and not any(loose.search(line) for line in lines[start:])
    return Dialect(_unique(names), delimiter, before + start, encoding, extra, plain)


def _unique(names: list[str]) -> tuple[str, ...]:
    """The names, those that are empty replaced."""
    count, unique = 0, []
    for name in names:
        if not name:
            count += 1
            name = base.NO_NAME if count == 1 else f"{base.NO_NAME} {count}"
        unique.append(name)
    return tuple(unique)


def _fields(line: str, delimiter: str) -> list[str]:
    reader = csv.reader([line], **{**options(delimiter), "strict": False})
    return [part.strip() for part in next(reader, [])]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _looks_like(column: pa.Array) -> pa.DataType:
    if not len(column):
        return pa.string()
    for kind in (pa.int64(), pa.float64()):
        try:
            blank_is_null(column).cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.string()


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Text as `kind`; null where it is not one. Whole numbers become floats where a later row has one."""
    if pa.types.is_string(kind):
        return column
    for wanted in dict.fromkeys((kind, pa.float64())):
        try:
            return blank_is_null(column).cast(wanted)
        except pa.ArrowInvalid:
            continue
    return pa.chunked_array([pa.array(numbers(column))])
