"""The rows that a census reads, some at a time: answers, and what galaxies are divided and weighted by.

`morph score`'s files are read, and any other table that `morph.catalogs.tables` reads and that has a column for every
answer.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.catalogs.base import TableFile
from morph.catalogs.row_filter import Selection, Where
from morph.catalogs.tables import open_tables
from morph.catalogs.values import numbers
from morph.decision_tree import ANSWER_COLUMNS, tree_probabilities
from morph.errors import InputError
from morph.stamps.flags import is_clean
from morph.surveys import SURVEYS

#: What a quantity may be called, beside its own column's name.
ALIASES = {"magnitude": "mag_r", "mag": "mag_r", "z": "redshift", "size": "radius"}

#: Columns that say how well a galaxy is seen.
RADIUS, SNR, SEEING = "radius", "snr", "psf_fwhm"

#: Entries of the score files' provenance that a census keeps.
KEPT = ("survey", "model", "model_version", "model_survey", "weights", "run", "selection", "simulated")


@dataclass(frozen=True)
class Rows:
    """Some galaxies of the scores.

    Attributes
    ----------
    tree : tree fractions of the answers, float32 [n, answers].
    values : {column: float [n]}, NaN where it is not known.
    clean : whether nothing is wrong with the stamp and the model answered, bool [n].
    """

    tree: np.ndarray
    values: dict[str, np.ndarray]
    clean: np.ndarray

    def __len__(self) -> int:
        return len(self.tree)


@dataclass(frozen=True)
class Scores:
    """The scores of a survey: tables of one schema, read in bounded memory.

    Attributes
    ----------
    path : as it was given.
    tables : the tables.
    where : which rows, in the language of ``--where``; all when empty.
    about : provenance: survey, model and the like (`KEPT`), each with every distinct value that occurs; empty where
        the files say nothing.
    tiles : how many score files there are.
    """

    path: Path
    tables: list[TableFile]
    where: str
    about: dict[str, list[Any]]
    tiles: int
    digest: str
    _conditions: list[Where | None] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path, where: str = "") -> "Scores":
        """Open scores: a folder of `morph score`, or a table.

        InputError when there are none, a column of an answer is missing, or `where` cannot be understood.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"There are no scores at '{path}'; make some with `morph score TILE --out {path}`.")
        files = (
            sorted(file for file in path.glob("*.parquet") if file.name[0] not in "._") if path.is_dir() else [path]
        )
        if not files:
            raise InputError(f"There are no scores in '{path}'; make some with `morph score TILE --out {path}`.")
        # Beside the score files a folder holds what was made of them, in folders of its own.
        tables = [table for file in files for table in open_tables(file)]
        for table in tables:
            _check_answers(table)
        conditions = [Selection(where).of(table.schema, "the scores") if where else None for table in tables]
        return cls(path, tables, where, _provenance(files), len(files), _digest(files), conditions)

    @cached_property
    def columns(self) -> set[str]:
        """The columns that every table has."""
        return set.intersection(*({*table.schema.names} for table in self.tables))

    @property
    def surveys(self) -> list[str]:
        """The surveys of the scores, as far as their files state them."""
        return [str(name) for name in self.about.get("survey", []) if name]

    @property
    def simulated(self) -> bool:
        return any(self.about.get("simulated", []))

    def column_of(self, quantity: str) -> str:
        """The column of a quantity. InputError where the scores have none."""
        name = ALIASES.get(quantity, quantity)
        if name in self.columns:
            return name
        if name == "redshift":
            raise InputError(
                f"The scores in '{self.path}' have no column 'redshift'; give --redshifts TABLE with the columns id "
                "and redshift, or leave redshift out of --by."
            )
        have = ", ".join(sorted(each for each in self.columns if each in (*ALIASES.values(), RADIUS, SNR)))
        raise InputError(f"The scores in '{self.path}' have no column '{name}'; they have {have or 'answers only'}.")

    def part(self, number: int) -> "Scores":
        """One of the tables alone."""
        return Scores(
            self.path, [self.tables[number]], self.where, self.about, 1, self.digest, [self._conditions[number]]
        )

    def batches(self, columns: Sequence[str], text: Sequence[str] = ()) -> Iterator[tuple[Rows, pa.Table]]:
        """The chosen rows, some at a time, with the table they come from.

        Parameters
        ----------
        columns : of numbers, which are read where they are there; NaN elsewhere.
        text : further columns, left in the table.
        """
        for table, where in zip(self.tables, self._conditions, strict=True):
            there = {*table.schema.names, *getattr(table, "vectors", ())}
            answers, multiplied = _answers_of(there)
            flags = ["flags"] if "flags" in there else []
            extra = [name for name in (*columns, *text) if name in there]
            for rows in table.batches(list(dict.fromkeys([*answers, *flags, *extra])), where):
                if not len(rows):
                    continue
                tree = _matrix(rows, answers)
                if not multiplied:
                    tree = tree_probabilities(tree).astype("float32")
                unknown = np.full(len(rows), np.nan)
                values = {name: numbers(rows[name]) if name in there else unknown for name in columns}
                clean = np.isfinite(tree).all(axis=1)
                if flags:
                    clean &= is_clean(numbers(rows["flags"]).astype(int))
                yield Rows(tree, values, clean), rows


def seeing_of(scores: Scores) -> float:
    """The usual seeing of the scores' survey, full width at half maximum in arcsec; NaN where it is not known."""
    known = {float(np.mean(SURVEYS[name].seeing)) for name in scores.surveys if name in SURVEYS}
    return known.pop() if len(known) == 1 else float("nan")


def _answers_of(there: set[str]) -> tuple[list[str], bool]:
    """The columns of the answers, and whether they are multiplied down the tree already."""
    tree = [f"{name}_tree" for name in ANSWER_COLUMNS]
    return (tree, True) if there.issuperset(tree) else (list(ANSWER_COLUMNS), False)


def _check_answers(table: TableFile) -> None:
    missing = [name for name in _answers_of({*table.schema.names})[0] if name not in table.schema.names]
    if missing:
        raise InputError(
            f"'{table.path}' has no column '{missing[0]}': these are not scores of morph. Give the folder that "
            "`morph score --out` wrote, or a table with a column for every answer."
        )


def _matrix(rows: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Columns side by side, float32 [n, columns], null as NaN."""
    values = np.empty((len(names), len(rows)), dtype="float32")
    for row, name in zip(values, names, strict=True):
        row[:] = rows[name].to_numpy()
    return values.T


def _provenance(files: Sequence[Path]) -> dict[str, list[Any]]:
    """Every distinct value of the entries `KEPT` of the score files' headers."""
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            metadata = pq.read_schema(file).metadata or {}
            about = json.loads(metadata.get(b"morph", b"{}"))
        except (pa.ArrowInvalid, OSError, ValueError):
            continue  # a table of another format has no header of ours
        for name in KEPT:
            if isinstance(about, dict) and about.get(name) not in (None, ""):
                found.setdefault(name, {})[json.dumps(about[name], sort_keys=True)] = about[name]
    return {name: list(values.values()) for name, values in found.items()}


def _digest(files: Sequence[Path]) -> str:
    """A hash that changes when a file does."""
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]
