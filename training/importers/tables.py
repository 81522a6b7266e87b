"""Tables of labels, in any format that `morph.catalogs` reads, with their columns as votes, names and positions."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from morph.catalogs.base import is_nameless
from morph.catalogs.column_mapping import DEC_COLUMNS, RA_COLUMNS
from morph.catalogs.tables import open_tables
from morph.catalogs.values import (
    as_quantity,
    check_digits,
    degrees,
    identifiers,
    measured,
    numbers,
    texts,
    unknown_values,
)
from morph.console import counted
from morph.errors import InputError

#: Columns that hold numbers and never names or classes.
NUMBERS = re.compile(
    r"(_fraction|_debiased|_count|_weight|_total-votes|total_votes|total_classifications)$|^class\d+\.\d+$", re.I
)

#: A fraction that rounding leaves a little below 0 or above 1 is one all the same.
_ROUNDING = 1e-3


class Table:
    """Columns of text and numbers, all of one length.

    Attributes
    ----------
    source : the file's name, for messages.
    units : the columns' units, as the file writes them; roles : the columns of which the file states what they hold.
    notes : what was found impossible so far, one sentence each.
    """

    def __init__(
        self,
        table: pa.Table,
        source: str = "the table",
        units: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
    ):
        self.source, self.units, self.mapping = source, dict(units or {}), dict(roles or {})
        self._table = table
        self._unknown: Counter[str] = Counter()
        self._notes: dict[str, None] = {}

    def __len__(self) -> int:
        return self._table.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    @property
    def columns(self) -> list[str]:
        return list(self._table.column_names)

    @property
    def names(self) -> list[str]:
        """Columns that can hold identifiers or classes: text and whole numbers; those without a name come last."""
        fits = [field.name for field in self._table.schema if self._names_something(field)]
        return sorted(fits, key=is_nameless)

    @property
    def notes(self) -> list[str]:
        return [*self._notes, *(f"{unknown_values(name, count)}." for name, count in self._unknown.items() if count)]

    def _names_something(self, field: pa.Field) -> bool:
        kind = field.type
        if NUMBERS.search(field.name) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
            return False
        if pa.types.is_floating(kind):
            values = numbers(self._table[field.name])
            return bool(np.isfinite(values).any() and (np.isnan(values) | (values == np.round(values))).all())
        return not pa.types.is_nested(kind)

    def text(self, name: str) -> list[str]:
        """A column as text, trimmed; empty where there is no value."""
        return texts(self._table[name]).to_pylist()

    def identifiers(self, name: str) -> list[str]:
        """A column of names, as `text`; "12.0" is "12"."""
        return identifiers(self._table[name]).to_pylist()

    def check_digits(self, name: str) -> None:
        """Raise InputError where a column of names was kept as floats and has lost digits."""
        check_digits(self._table[name], name, self.source)

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 [rows]; NaN where there is no number."""
        return numbers(self._table[name])

    def measured(self, name: str, kind: str) -> np.ndarray:
        """A column of magnitudes or redshifts (`kind`): float64 [rows], NaN where there is none that is possible.

        InputError when its unit is not one of those.
        """
        quantity = as_quantity(name, kind, self.units.get(name), self.source)
        values, self._unknown[name] = measured(self._table[name], quantity)
        return values

    def counts(self, name: str) -> np.ndarray:
        """A column of votes: float64 [rows]; 0 where there is no number, NaN where it is below 0 or infinite."""
        values = np.nan_to_num(self.numbers(name), posinf=np.inf, neginf=-np.inf)
        bad = (values < -_ROUNDING) | ~np.isfinite(values)
        self._impossible(name, bad)
        return np.where(bad, np.nan, np.maximum(values, 0.0))

    def fractions(self, columns: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Columns of the shares of votes, all of one kind, by any names: float64 [rows] each, as `counts`.

        Where every row has one above 1, they are per cent and become shares. InputError when they are neither.
        """
        values = {name: self.counts(column) for name, column in columns.items()}
        if not values:
            return {}
        highest = np.max([np.nan_to_num(share) for share in values.values()], axis=0)
        above = highest[highest > 0] > 1 + _ROUNDING
        if above.size and above.mean() > 0.5:
            if highest.max() > 100 + 100 * _ROUNDING:
                column = columns[max(values, key=lambda name: np.nan_to_num(values[name]).max())]
                raise InputError(
                    f"Column '{column}' of '{self.source}' should hold fractions of votes, from 0 to 1 (or per cent), "
                    f"but goes up to {highest.max():g}; rename it if it holds counts."
                )
            first = next(iter(columns.values()))
            self._notes[f"Fractions of votes such as '{first}' are per cent, and were divided by 100."] = None
            return {name: share / 100 for name, share in values.items()}
        for name, column in columns.items():
            bad = values[name] > 1 + _ROUNDING
            self._impossible(column, bad)
            values[name] = np.where(bad, np.nan, values[name])
        return values

    def _impossible(self, name: str, bad: np.ndarray) -> None:
        if bad.any():
            rows = counted(int(bad.sum()), "row")
            note = f"In {rows} '{name}' holds an impossible number of votes; that question counts as not asked."
            self._notes[note] = None

    def position(self) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination, degrees, each float64 [rows]; NaN where there are none.

        InputError when a unit is not one of angles.
        """
        missing = np.full(len(self), np.nan)
        ra_name = self.mapping.get("ra") or self.find(RA_COLUMNS)
        dec_name = self.mapping.get("dec") or self.find(DEC_COLUMNS)
        if ra_name is None or dec_name is None:
            return missing, missing
        ra, dec = (
            degrees(self._table[name], as_quantity(name, kind, self.units.get(name), self.source))
            for name, kind in ((ra_name, "right ascension"), (dec_name, "declination"))
        )
        on_sphere = (np.abs(ra) <= 360) & (np.abs(dec) <= 90)
        written = np.array([bool(a or b) for a, b in zip(self.text(ra_name), self.text(dec_name), strict=True)])
        lost = int((written & ~on_sphere).sum())
        if lost:
            rows = counted(lost, "row has", "rows have")
            self._notes[f"{rows} no position on the sphere in '{ra_name}' and '{dec_name}'."] = None
        return np.where(on_sphere, np.mod(ra, 360), np.nan), np.where(on_sphere, dec, np.nan)

    def find(self, wanted: Iterable[str]) -> str | None:
        """The first of the `wanted` columns that is there, whatever its case."""
        there = {name.lower(): name for name in reversed(self.columns)}
        return next((there[name.lower()] for name in wanted if name.lower() in there), None)


def read_table(path: str | Path) -> Table:
    """The table at `path`, in any format and dialect that `morph.catalogs.tables` reads.

    InputError when the file is missing, cannot be read, or has no rows.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"No table of labels exists at '{path}'.")
    files = open_tables(path)
    if len(files) > 1:
        raise InputError(f"'{path}' holds {len(files)} tables; give one with all labels.")
    file = files[0]
    batches = [batch for batch in file.batches(file.schema.names) if len(batch)]
    if not batches:
        raise InputError(f"The table '{path}' has no rows.")
    return Table(pa.concat_tables(batches), str(path), file.units, file.mapping)
