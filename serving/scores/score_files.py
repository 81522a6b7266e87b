"""The score files of a folder as one catalogue, read a tile at a time."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from morph.errors import InputError
from serving.scores.astropy_words import widths
from serving.scores.schema import KEY, read_about, readable

#: What all tiles of a run share in their provenance (see `serving.scoring.job.Job.about`), but for the time.
SHARED = (
    "software",
    "survey",
    "model",
    "model_version",
    "engine",
    "model_survey",
    "run",
    "source",
    "catalogue",
    "selection",
)


@dataclass(frozen=True)
class ScoreFiles:
    """All score files of one folder.

    Attributes
    ----------
    paths : the files, by name.
    rows : of each file.
    schema : the columns that they have together, with units and descriptions.
    runs : what was run on what: each provenance that occurs, with ``tiles``, ``galaxies``, ``created`` (first and
        last) and ``simulated`` (whether any tile is) of the files that have it.
    area : of the sky on all tiles, square degrees; NaN where a file of an earlier version does not say.
    provenance : every entry of the files' provenance, with each value that it has once.
    """

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    schema: pa.Schema
    runs: tuple[dict[str, Any], ...]
    area: float
    provenance: dict[str, list[Any]]

    @classmethod
    def open(cls, folder: str | Path) -> "ScoreFiles":
        """The files' headers. InputError when there is none, or one is damaged or no score file."""
        folder = Path(folder)
        paths = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "._")
        if not paths:
            raise InputError(f"There are no scores in '{folder}'; make some with `morph score TILE --out {folder}`.")
        schemas: dict[pa.Schema, None] = {}
        rows: list[int] = []
        runs: dict[str, dict[str, Any]] = {}
        values: dict[str, dict[str, Any]] = {}
        area = 0.0
        for path in paths:
            about = read_about(path)
            with pq.ParquetFile(path) as file:
                schemas[file.schema_arrow.remove_metadata()] = None
                rows.append(file.metadata.num_rows)
            _count(runs, about, rows[-1])
            area += about.get("area", float("nan"))
            for name, value in about.items():
                values.setdefault(name, {}).setdefault(json.dumps(value, sort_keys=True), value)
        try:
            schema = pa.unify_schemas(list(schemas))
        except pa.ArrowInvalid as error:
            raise InputError(
                f"The score files in '{folder}' have columns that do not fit together ({error})."
            ) from None
        provenance = {name: list(each.values()) for name, each in values.items()}
        return cls(tuple(paths), tuple(rows), schema, tuple(runs.values()), area, provenance)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def galaxies(self) -> int:
        return sum(self.rows)

    @property
    def simulated(self) -> bool:
        return any(run["simulated"] for run in self.runs)

    @property
    def digest(self) -> str:
        """What changes when a file does."""
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.paths]
        return hashlib.sha256(repr(states).encode()).hexdigest()[:16]

    def schema_of(self, columns: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns, or of all. A column that these files of an earlier version lack is named by
        InputError."""
        if columns is None:
            return self.schema
        missing = [name for name in columns if name not in self.schema.names]
        if missing:
            raise InputError(
                f"The scores in '{self.paths[0].parent}' have no column '{missing[0]}'; --overwrite them."
            )
        return pa.schema([self.schema.field(name) for name in columns])

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One file's rows, with `columns` (all of the schema's when not given); null where a file lacks a column."""
        wanted = self.schema_of(columns)
        path = self.paths[number]
        with readable(path), pq.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            there = [name for name in wanted.names if name in names]
            table = file.read(columns=there)
        for place, field in enumerate(wanted):
            if field.name not in names:
                table = table.add_column(place, field, pa.nulls(len(table), field.type))
        return table.select(wanted.names).cast(wanted)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """`read` of one file after the other."""
        return (self.read(number, columns) for number in range(len(self.paths)))

    def widths(self, columns: Sequence[str]) -> dict[str, int]:
        """The longest text in each of some columns of text, as `serving.scores.astropy_words.widths`."""
        widest: Counter[str] = Counter()
        for table in self.tables(columns):
            widest |= Counter(widths(table))
        return dict(widest)


def with_about(schema: pa.Schema, about: dict[str, Any]) -> pa.Schema:
    """The schema with a provenance, as score files have one."""
    return schema.with_metadata({KEY: json.dumps(about).encode()})


def chosen_from(run: dict[str, Any]) -> str:
    """Which galaxies a run scored, in words."""
    catalogue, selection = run.get("catalogue"), run.get("selection")
    if not catalogue:
        return "detected on the tiles"
    chosen = f", where {selection}" if selection else ""
    return f"from {Path(str(catalogue.get('source'))).name} (digest {catalogue.get('digest')}){chosen}"


def when(run: dict[str, Any]) -> str:
    """When the first and the last of a run's tiles were scored."""
    first, last = run["created"]
    return first if first == last else f"{first} to {last}"


def _count(runs: dict[str, dict[str, Any]], about: dict[str, Any], galaxies: int) -> None:
    shared = {name: about.get(name) for name in SHARED}
    created = str(about.get("created", ""))
    run = runs.setdefault(
        json.dumps(shared, sort_keys=True),
        {**shared, "tiles": 0, "galaxies": 0, "created": [created, created], "simulated": False},
    )
    run["tiles"] += 1
    run["galaxies"] += galaxies
    run["created"] = [min(created, run["created"][0]), max(created, run["created"][1])]
    run["simulated"] |= bool(about.get("simulated"))


def open_scores(folder: str | Path) -> ScoreFiles:
    """The scores in a folder that `morph score` wrote, as one catalogue.

    >>> import morph
    >>> scores = morph.open_scores("scores")  # doctest: +SKIP
    """
    return ScoreFiles.open(folder)
