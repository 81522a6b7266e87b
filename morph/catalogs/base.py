"""The interface of a table on disk, a stream of Arrow tables of some columns, and tables that astropy reads whole."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table
from astropy.time import Time

from morph.catalogs import base
from morph.catalogs.row_filter import Where

#: Rows that are read together: columns of eight bytes take 2 MB each.
ROWS = 1 << 18

#: What a column without a name is called, and what pandas calls one: an index that was written without its name.
NO_NAME = "(no name)"
_NAMELESS = re.compile(r"\(no name\).*|__index_level_\d+__|Unnamed: \d+")


class TableFile(Protocol):
    """One table.

    `schema` are its flat columns; `units` those of them whose unit is given in the file, as it is written there;
    `mapping` the columns of which the file states what they hold ("ra", "dec").
    """

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def units(self) -> dict[str, str]: ...

    @property
    def mapping(self) -> dict[str, str]: ...

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        """The rows for which `where` holds, some at a time."""


def is_nameless(column: str) -> bool:
    """Whether a column has no name of its own, so that it may be nothing but the rows' numbers."""
    return _NAMELESS.fullmatch(column) is not None


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def columns_read(columns: Sequence[str], where: Where | None) -> list[str]:
    """The columns to read: those asked for and those chosen by, each once."""
    return list(dict.fromkeys([*columns, *(where.columns if where else ())]))


def select(table: pa.Table, columns: Sequence[str], where: Where | None) -> pa.Table:
    """The chosen rows and columns of a table.

    Parameters
    ----------
    table : with all that is needed.
    columns : to be returned.
    where : which rows; None for all.

    Examples
    --------
    >>> select(pa.table({"a": [1, 2], "b": [3, 4]}), ["b"], None).to_pydict()
    {'b': [3, 4]}
    """
    return (table if where is None else table.filter(where.value)).select(list(columns))


@dataclass(frozen=True)
class InMemoryTable:
    """A table that is in memory."""

    path: Path
    table: pa.Table
    units: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, format: str, **options) -> "InMemoryTable":
        """The table in a file of one of astropy's formats.

        Parameters
        ----------
        path : the file.
        format : astropy's name of the format.
        options : for astropy's reader.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the readers repair
            return cls.of(path, Table.read(path, format=format, **options))

    @classmethod
    def of(cls, path: Path, table: Table) -> "InMemoryTable":
        """The flat columns of astropy's table, and the positions (ICRS) and times among its objects."""
        columns: dict[str, pa.Array] = {}
        units: dict[str, str] = {}
        mapping: dict[str, str] = {}
        for name, column in Table(table).items():
            if isinstance(column, SkyCoord):
                sky = column.icrs
                for axis in ("ra", "dec"):
                    columns[f"{name}.{axis}"] = _arrow(np.ma.asarray(getattr(sky, axis).deg))
                    units[f"{name}.{axis}"] = "deg"
                    mapping.setdefault(axis, f"{name}.{axis}")
            elif isinstance(column, Time):
                columns[name] = _arrow(np.ma.asarray(column.isot))
            elif isinstance(column, Column) and column.ndim == 1:
                columns[name] = _arrow(np.ma.asarray(column))
                if column.unit is not None:
                    units[name] = str(column.unit)
        return cls(path, pa.table(columns), units, mapping)

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self, columns: Sequence[str], where: Where | None = None) -> Iterator[pa.Table]:
        for start in range(0, len(self.table), base.ROWS):
            yield base.select(self.table.slice(start, base.ROWS), columns, where)


def _arrow(values: np.ma.MaskedArray) -> pa.Array:
    """Values as Arrow, masked ones as null."""
    if values.dtype.kind in "SUO":
        items = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist()]
        return pa.array([None if v is None else str(v) for v in items], pa.string())
    if values.dtype.kind not in "biuf":
        return pa.array([str(v) for v in values.tolist()], pa.string())
    plain = np.ascontiguousarray(values.data, dtype=values.dtype.newbyteorder("="))
    return pa.array(plain, mask=np.ma.getmaskarray(values))
