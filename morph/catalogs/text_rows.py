"""The rows of a text table: by Arrow's reader, or by Python's where Arrow does not know the dialect."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from morph.catalogs import base
from morph.errors import InputError

#: What stands for one or more blanks between columns.
BLANKS = " "

#: Rows by which a column is judged to be numbers or text.
JUDGED = 10_000

#: Bytes that are read together.
BLOCK = 1 << 24

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Dialect:
    """How a file's rows are written.

    Attributes
    ----------
    names : the columns, each once.
    start : the line, counted from 0, with which the rows begin.
    extra : whether every row ends with a delimiter that its header lacks.
    plain : whether Arrow's reader knows it.
    """

    names: tuple[str, ...]
    delimiter: str
    start: int
    encoding: str
    extra: bool = False
    plain: bool = True


def stream(path: Path) -> pa.NativeFile:
    """The bytes of a file, unpacked if they are compressed, whatever the file is called."""
    with path.open("rb") as file:
        head = file.read(4)
    packed = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    return pa.input_stream(str(path), compression=packed)


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def options(delimiter: str) -> dict:
    return {"delimiter": delimiter, "skipinitialspace": True, "strict": True}


def parsed(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """The rows in some lines, without comments and empty ones; the last may lack its end."""
    wanted = (line for line in lines if line.strip() and not is_comment(line))
    try:
        yield from csv.reader(map(_even, wanted) if delimiter == BLANKS else wanted, **options(delimiter))
    except csv.Error:
        return


def _even(line: str) -> str:
    """A line with blanks between its columns, without blanks around them and without tabs."""
    return (line if '"' in line else line.replace("\t", " ")).strip() + "\n"


def beginning(lines: list[str], dialect: Dialect) -> list[list[str]]:
    """The columns of the first rows that are whole."""
    rows = parsed(islice(lines, dialect.start, None), dialect.delimiter)
    width = len(dialect.names)
    whole = (row for row in rows if len(row) == width + dialect.extra)
    columns = list(zip(*islice(whole, JUDGED), strict=True))[:width]
    return [list(column) for column in columns] or [[] for _ in dialect.names]


def read_plain(path: Path, dialect: Dialect, wanted: list[str]) -> Iterator[pa.Table]:
    """The rows by Arrow's reader.

    Parameters
    ----------
    path, dialect : the file, and how it is written.
    wanted : columns.

    Yields
    ------
    pyarrow.Table : some rows, all text.

    Raises
    ------
    InputError : a line has the wrong number of columns.
    """
    names = [*dialect.names, *([" extra"] if dialect.extra else [])]
    file = _Quotes(stream(path))
    try:
        reader = pyarrow.csv.open_csv(
            pa.PythonFile(file, mode="r"),
            read_options=pyarrow.csv.ReadOptions(
                block_size=BLOCK, skip_rows=dialect.start, column_names=names, encoding=dialect.encoding
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=_no_row
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=wanted
            ),
        )
        with reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        _name_bad_line(path, dialect)
        raise
    if file.count % 2:
        _name_bad_line(path, dialect)


def _no_row(row: pyarrow.csv.InvalidRow) -> str:
    return "skip" if not row.text.strip() or is_comment(row.text) else "error"


class _Quotes(io.RawIOBase):
    """A file that counts its quotation marks: an odd number may mean that one swallowed all rows behind it."""

    def __init__(self, file: pa.NativeFile):
        self.file, self.count = file, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(None if size < 0 else size)
        self.count += data.count(b'"')
        return data

    def close(self) -> None:
        self.file.close()
        super().close()


def read_other(path: Path, dialect: Dialect, wanted: list[str]) -> Iterator[pa.Table]:
    """The rows by Python's reader, for dialects that Arrow's does not know.

    Parameters
    ----------
    path, dialect, wanted : as for `read_plain`.

    Yields
    ------
    pyarrow.Table : some rows, all text.
    """
    places = [dialect.names.index(name) for name in wanted]
    rows = _rows(path, dialect)
    while some := list(islice(rows, base.ROWS)):
        yield pa.table({name: pa.array([row[i] for row in some]) for name, i in zip(wanted, places, strict=True)})


def _rows(path: Path, dialect: Dialect) -> Iterator[list[str]]:
    """Every row. Raises InputError at the first that has another number of columns than the header."""
    count = len(dialect.names)
    with io.TextIOWrapper(stream(path), encoding=dialect.encoding, newline="", errors="replace") as file:
        for _ in range(dialect.start):
            next(file, None)
        lines = _Lines(file, dialect)
        try:
            for row in csv.reader(lines, **options(dialect.delimiter)):
                if len(row) != count + dialect.extra:
                    raise InputError(
                        f"Line {lines.first:,} of '{path}' has {len(row)} columns where the header has {count}: "
                        f"'{lines.text.strip()[:60]}'; correct that line."
                    )
                yield row
                lines.first = 0
        except csv.Error as error:
            raise InputError(
                f"Line {lines.first:,} of '{path}' cannot be read ({error}); correct that line."
            ) from None


class _Lines:
    """The lines of the rows, without comments; `first` is the number of the line with which a row began."""

    def __init__(self, file: io.TextIOBase, dialect: Dialect):
        self.file, self.number, self.blanks = file, dialect.start, dialect.delimiter == BLANKS
        self.first, self.text = 0, ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        for line in self.file:
            self.number += 1
            if self.first or (line.strip() and not is_comment(line)):
                if not self.first:
                    self.first, self.text = self.number, line
                return _even(line) if self.blanks else line
        raise StopIteration


def _name_bad_line(path: Path, dialect: Dialect) -> None:
    """Raise InputError with the number of the line that is not a row, if there is one."""
    for _ in _rows(path, dialect):
        pass
