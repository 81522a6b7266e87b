"""Tables that astropy reads whole: VOTable, columns that are objects (SkyCoord, Time), rarer text formats."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table
from astropy.time import Time

from morph.catalogs import base
from morph.catalogs.row_filter import Where


@dataclass(frozen=True)
class WholeTable:
    """A table that is in memory."""

    path: Path
    table: pa.Table
    units: dict[str, str] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, format: str, **options) -> "WholeTable":
        """The table in a file of one of astropy's formats."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the readers repair
            return cls.of(path, Table.read(path, format=format, **options))

    @classmethod
    def of(cls, path: Path, table: Table) -> "WholeTable":
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
