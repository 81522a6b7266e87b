"""FITS tables, binary and ASCII, mapped into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from morph.catalogs import base
from morph.catalogs.base import InMemoryTable
from morph.catalogs.row_filter import Where
from morph.errors import InputError

#: With which comment astropy begins the description of columns that are objects.
_OBJECTS = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"

#: Digits that a 64-bit integer always holds; longer ones of an ASCII table stay text.
LONGEST = 18


@dataclass(frozen=True)
class FitsTable:
    """The table of a FITS file. `nulls` are the columns' TNULL, which stands before scaling."""

    path: Path
    hdu: int
    schema: pa.Schema
    units: dict[str, str]
    nulls: dict[str, int | float | str]
    mapping: dict[str, str] = field(default_factory=dict)

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        wanted = base.columns_read(columns, where)
        with fits.open(self.path, memmap=True) as hdus:
            data = hdus[self.hdu].data
            for start in range(0, len(data), base.ROWS):
                rows = data[start : start + base.ROWS]
                table = pa.table({name: self._column(rows, name) for name in wanted})
                yield base.select(table, columns, where)

    def _column(self, rows: fits.FITS_rec, name: str) -> pa.Array:
        """A column of some rows, scaled by its header, null where it holds the header's TNULL."""
        stored = np.recarray.field(rows, name)
        kind = self.schema.field(name).type
        if pa.types.is_string(kind):
            text = pc.utf8_trim_whitespace(_decoded(stored))
            return text if name not in self.nulls else _without(text, str(self.nulls[name]))
        if stored.dtype.kind == "S":  # numbers of an ASCII table, where a blank field is empty
            text = np.char.strip(stored)
            missing = (text == b"") | (text == str(self.nulls.get(name, "")).strip().encode())
        elif pa.types.is_boolean(kind):
            missing = stored == 0
        else:
            null = self.nulls.get(name)
            missing = None if null is None or isinstance(null, str) else np.equal(stored, null)
        values = np.asarray(rows.field(name))
        values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
        return pa.array(values, mask=missing).cast(kind)


def open_fits(path: Path) -> FitsTable | InMemoryTable:
    """The first table of a FITS file; in SExtractor's FITS_LDAC the one behind the image's header."""
    with fits.open(path, memmap=True) as hdus:
        tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU))]
        named = [i for i in tables if hdus[i].name == "LDAC_OBJECTS"]
        if not tables:
            raise InputError(f"'{path}' holds no table; give a FITS file with one, or another format.")
        number = (named or tables)[0]
        hdu = hdus[number]
        if hdu.header.get("ZTABLE"):
            raise InputError(f"The table in '{path}' is compressed; unpack it with funpack first.")
        if _OBJECTS in [str(line).strip() for line in hdu.header.get("COMMENT", ())]:
            return InMemoryTable.read(path, "fits", hdu=number, unit_parse_strict="silent")
        types = {column.name: _type(hdu, column) for column in hdu.columns}
        nulls = {
            column.name: hdu.header[f"TNULL{place}"]
            for place, column in enumerate(hdu.columns, 1)
            if isinstance(hdu.header.get(f"TNULL{place}"), (int, float, str))
        }
        units = {column.name: column.unit for column in hdu.columns if column.unit}
        schema = pa.schema([(name, kind) for name, kind in types.items() if kind is not None])
        return FitsTable(path, number, schema, units, nulls)


def _without(text: pa.Array, null: str) -> pa.Array:
    return pc.if_else(pc.equal(text, null.strip()), pa.scalar(None, pa.string()), text)


def _type(hdu: fits.BinTableHDU | fits.TableHDU, column: fits.Column) -> pa.DataType | None:
    """What a column's values are once they are scaled; None where they are not single numbers or text."""
    if isinstance(hdu, fits.TableHDU):
        letter, width = column.format[0], int(column.format[1:].split(".")[0])
        if letter == "A" or (letter == "I" and width > LONGEST):
            return pa.string()
        scaled = column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0)
        return pa.int64() if letter == "I" and not scaled else pa.float64()
    if hdu.data.dtype[column.name].shape or column.dim or column.format[0] in "PQ":
        return None
    values = hdu.data[:0].field(column.name).dtype
    if values.kind == "U" or values.kind == "S":
        return pa.string()
    return pa.from_numpy_dtype(values.newbyteorder("=")) if values.kind in "biuf" else None


def _decoded(values: np.ndarray) -> pa.Array:
    """Bytes as text: UTF-8, or Latin-1 where they are not that."""
    try:
        return pa.array(np.ascontiguousarray(values)).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([value.decode("latin-1") for value in values.tolist()])
