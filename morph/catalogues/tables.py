"""Tables on disk, whatever their format, as a stream of Arrow tables: only the columns asked for, some rows at a time.

FITS (SExtractor's FITS_LDAC too), Parquet (a file, a folder, a HATS catalogue), CSV, VOTable, ECSV, SExtractor's
ASCII_HEAD and text with blanks between its columns. FITS, Parquet and CSV of any length are read in bounded memory;
the others are read whole.
"""

import glob
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset
from astropy.io import fits
from astropy.table import Table

from morph.catalogues.selection import Where
from morph.catalogues.values import blank_is_null, numbers
from morph.errors import BadInput
from morph.images.planes import is_fits, split_name

#: Rows that are read together: columns of eight bytes take 2 MB each.
ROWS = 1 << 18

#: What the files of a HATS catalogue are called: the catalogue itself, and a collection of it and its indexes.
HATS, HATS_COLLECTION = "hats.properties", "collection.properties"

#: Endings of a table's name, and the format that they stand for.
ENDINGS = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".fits": "fits",
    ".fit": "fits",
    ".ldac": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ecsv",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".cat": "text",
}


class TableFile(Protocol):
    """One table.

    `schema` are its flat columns; `units` those of them whose unit the file says; `roles` the columns of which it
    says itself what they hold ("ra", "dec").
    """

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def units(self) -> dict[str, str]: ...

    @property
    def roles(self) -> dict[str, str]: ...

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        """The rows for which `where` holds, some at a time."""


def open_tables(path: str | Path) -> list[TableFile]:
    """The table that a file or a HATS catalogue is, or the tables in a folder or of a glob, sorted by name.

    Raises BadInput when there is none, when a folder holds tables of several formats, or when one cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return [_open(path)]
    if path.is_dir():
        if (path / HATS).is_file() or (path / HATS_COLLECTION).is_file():
            return [_hats(path)]
        files = [file for file in sorted(path.rglob("*")) if is_table(file) and not _hidden(file, path)]
        formats = sorted({_format(file) for file in files})
        if len(formats) > 1:
            raise BadInput(
                f"'{path}' holds tables in {' and '.join(formats)}; name those you mean by a glob in quotes."
            )
        if formats == ["parquet"]:
            return [_parquet(path, files)]
        if not files:
            raise BadInput(f"The folder '{path}' holds no catalogue; give FITS, Parquet, CSV, VOTable or ECSV.")
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in files if file.is_file()]
        if not files:
            raise BadInput(f"There is no catalogue at '{path}'.")
    return [_open(file) for file in files]


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name; a band's image is none."""
    return path.is_file() and _format(path) != "" and not (is_fits(path) and split_name(path)[1])


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz").removesuffix(".fz")
    return ENDINGS.get(Path(name).suffix, "")


def _open(path: Path) -> TableFile:
    kind = _format(path) or "text"
    with _said(path):
        if kind == "parquet":
            return _parquet(path, [path])
        if kind == "fits":
            return _FitsTable.open(path)
        if kind == "votable":
            return _WholeTable.of(path, Table.read(path, format="votable"))
        if kind == "ecsv":
            return _WholeTable.of(path, Table.read(path, format="ascii.ecsv"))
        return _text(path)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Whatever a format's own reader raises about a file, as BadInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units and headers that the readers repair
            yield
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise BadInput(
            f"'{path}' cannot be read as a catalogue ({first[:160]}); use FITS, Parquet, CSV, VOTable or ECSV."
        ) from None


# --- Parquet and HATS ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ArrowTable:
    """Parquet files with one schema; what `where` needs of them is read first, and row groups without it are not."""

    path: Path
    dataset: pyarrow.dataset.Dataset
    schema: pa.Schema
    units: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        with _said(self.path):
            # What the defaults read ahead is several times all that is kept of a large catalogue.
            found = self.dataset.to_batches(
                columns=list(columns),
                filter=where and where.value,
                batch_size=ROWS,
                batch_readahead=1,
                fragment_readahead=1,
                fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False),
                use_threads=False,
            )
            for batch in found:
                yield pa.Table.from_batches([batch])


def _parquet(path: Path, files: list[Path], roles: dict[str, str] | None = None) -> TableFile:
    with _said(path):
        dataset = pyarrow.dataset.dataset([str(file) for file in files], format="parquet")
        units = {f.name: f.metadata[b"unit"].decode() for f in dataset.schema if b"unit" in (f.metadata or {})}
        return _ArrowTable(path, dataset, _flat(dataset.schema), units, roles or {})


def _hats(folder: Path) -> TableFile:
    """The catalogue of a HATS folder (https://hats.readthedocs.io), or the first one of a HATS collection."""
    if (folder / HATS_COLLECTION).is_file():
        folder = folder / _properties(folder / HATS_COLLECTION).get("hats_primary_table_url", "")
    if not (folder / HATS).is_file():
        raise BadInput(f"The HATS collection names '{folder}', where no HATS catalogue is.")
    properties = _properties(folder / HATS)
    roles = {role: properties[key] for role in ("ra", "dec") if (key := f"hats_col_{role}") in properties}
    files = sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*.parquet"))
    # A pixel may be a folder of files.
    files += sorted((folder / "dataset").glob("Norder=*/Dir=*/Npix=*/*.parquet"))
    if not files:
        raise BadInput(f"The HATS catalogue '{folder}' has no data in 'dataset/Norder=*/'.")
    return _parquet(folder, files, roles)


def _properties(path: Path) -> dict[str, str]:
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in lines if value}


def _flat(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.remove_metadata() for f in schema if not pa.types.is_nested(f.type)])


# --- FITS ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _FitsTable:
    """The table of a FITS file, mapped into memory."""

    path: Path
    hdu: int
    schema: pa.Schema
    units: dict[str, str]
    roles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "_FitsTable":
        with fits.open(path, memmap=True) as hdus:
            tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))]
            # In SExtractor's FITS_LDAC a table with the image's header comes first.
            named = [i for i in tables if hdus[i].name == "LDAC_OBJECTS"]
            if not tables:
                raise BadInput(f"'{path}' holds no table; give a FITS file with one, or another format.")
            number = (named or tables)[0]
            hdu = hdus[number]
            if hdu.header.get("ZTABLE"):
                raise BadInput(f"The table in '{path}' is compressed; unpack it with funpack first.")
            columns = [column for column in hdu.columns if not column.dim and _is_scalar(hdu, column.name)]
            empty = hdu.data[:0]
            schema = pa.schema([(c.name, _fits_column(empty, c).type) for c in columns])
            return cls(path, number, schema, {c.name: c.unit for c in columns if c.unit})

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        with _said(self.path), fits.open(self.path, memmap=True) as hdus:
            data, known = hdus[self.hdu].data, hdus[self.hdu].columns
            for start in range(0, len(data), ROWS):
                rows = data[start : start + ROWS]
                wanted = _with(columns, where)
                table = pa.table({name: _fits_column(rows, known[name]) for name in wanted})
                yield _select(table, columns, where)


def _is_scalar(hdu: fits.BinTableHDU, name: str) -> bool:
    return hdu.data.dtype[name].shape == () and hdu.columns[name].format[0] not in "PQ"


def _fits_column(rows: fits.FITS_rec, column: fits.Column) -> pa.Array:
    """A column of some rows, scaled as its header says, null where it holds the header's TNULL."""
    values = np.asarray(rows.field(column.name))
    if values.dtype.kind in "SU":
        text = pa.array(values.astype("S")).cast(pa.string(), safe=False)
        return pc.utf8_trim_whitespace(text)
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    missing = None
    if isinstance(column.null, int) and values.dtype.kind in "iu":
        missing = values == column.null
    return pa.array(values, mask=missing)


# --- Text and whole tables -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TextTable:
    """Text with a header line. Every column is read as text, for an id of 20 digits is not a number.

    `schema` says what the columns' beginnings look like; `where` sees them as that.
    """

    path: Path
    delimiter: str
    schema: pa.Schema
    units: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        with _said(self.path):
            for table in _read_csv(self.path, self.delimiter, self.schema.names, _with(columns, where)):
                if where is not None:
                    seen = {name: _as(table[name], self.schema.field(name).type) for name in where.columns}
                    seen[" row"] = pa.array(np.arange(len(table)))
                    table = table.take(pa.table(seen).filter(where.value)[" row"])
                yield table.select(list(columns))


#: What astropy calls text with blanks between its columns, by whether its first line begins with a mark.
_BLANKS = {True: "commented_header", False: "basic"}


def _text(path: Path) -> TableFile:
    with pa.input_stream(str(path)) as stream:
        head = stream.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()
    first = next((line for line in head if line.strip()), "")
    if not first:
        raise BadInput(f"The catalogue '{path}' is empty.")
    # SExtractor's ASCII_HEAD numbers its columns: "#   1 NUMBER  Running object number".
    if first.startswith("#") and first[1:].split()[:1] == ["1"]:
        return _WholeTable.of(path, Table.read(path, format="ascii.sextractor"))
    delimiter = max(",;\t", key=first.count)
    # As TOPCAT and NumPy write it, with a mark before the names or without.
    if delimiter not in first and len(first.split()) > 1:
        return _WholeTable.of(path, Table.read(path, format=f"ascii.{_BLANKS[first.startswith('#')]}"))
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    beginning = next(_read_csv(path, delimiter, names, names), None)
    if beginning is None:
        return _TextTable(path, delimiter, pa.schema([(name, pa.string()) for name in names]))
    schema = pa.schema([(name, _looks_like(beginning[name])) for name in beginning.column_names])
    return _TextTable(path, delimiter, schema)


def _read_csv(path: Path, delimiter: str, names: list[str], wanted: list[str]) -> Iterator[pa.Table]:
    reader = pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=1 << 24),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=wanted
        ),
    )
    with reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _looks_like(column: pa.ChunkedArray) -> pa.DataType:
    for kind in (pa.int64(), pa.float64()):
        try:
            blank_is_null(column).cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.string()


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Text as `kind`; null where it is none. Whole numbers become floats where a later row has one."""
    if pa.types.is_string(kind):
        return column
    for wanted in dict.fromkeys((kind, pa.float64())):
        try:
            return blank_is_null(column).cast(wanted)
        except pa.ArrowInvalid:
            continue
    return pa.chunked_array([pa.array(numbers(column))])


@dataclass(frozen=True)
class _WholeTable:
    """A table that is in memory."""

    path: Path
    table: pa.Table
    units: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, table: Table) -> "_WholeTable":
        flat = [name for name in table.colnames if table[name].ndim == 1]
        units = {name: str(table[name].unit) for name in flat if table[name].unit is not None}
        return cls(path, pa.table({name: _arrow(table[name]) for name in flat}), units)

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        for start in range(0, len(self.table), ROWS):
            yield _select(self.table.slice(start, ROWS), columns, where)


def _arrow(column) -> pa.Array:
    """A column of astropy's as Arrow, masked values as null."""
    values = np.ma.asarray(column)
    if values.dtype.kind in "SUO":
        items = [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]
        return pa.array([None if v is None else str(v) for v in items], pa.string())
    plain = np.ascontiguousarray(values.data, dtype=values.dtype.newbyteorder("="))
    return pa.array(plain, mask=np.ma.getmaskarray(values))


# --- Shared ----------------------------------------------------------------------------------------------


def _with(columns: Sequence[str], where: Where | None) -> list[str]:
    """The columns to read: those asked for and those chosen by, each once."""
    return list(dict.fromkeys([*columns, *(where.columns if where else ())]))


def _select(table: pa.Table, columns: Sequence[str], where: Where | None) -> pa.Table:
    return (table if where is None else table.filter(where.value)).select(list(columns))
