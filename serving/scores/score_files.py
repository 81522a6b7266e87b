"""The score files of a folder as one catalogue, read a tile at a time."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Column, MaskedColumn, Table

from morph import __version__
from morph.catalogs.row_filter import Selection, Where
from morph.checks import FORMAT, SCORES_FORMAT, check_format
from morph.errors import InputError
from serving.scores.schema import ASTROPY_WIDTH, KEY, with_about, words_of

if TYPE_CHECKING:
    from serving.scores.hats_extension import Joined

#: What all tiles of a run share in their provenance (see `serving.scoring.job.Job.about`), but for the time.
SHARED = (
    "software",
    "survey",
    "model",
    "model_version",
    "engine",
    "model_survey",
    "run",
    "weights",
    "source",
    "catalogue",
    "selection",
)

#: Columns that are left out of tables, FITS and HATS.
PICTURES = ("picture",)


def open_scores(folder: str | Path) -> "ScoreFiles":
    """The scores in a folder that `morph score` wrote, as one catalogue.

    InputError when there are none, or one is damaged, of an earlier format or not a score file.

    Examples
    --------
    >>> import morph
    >>> scores = morph.open_scores("scores")
    >>> scores.galaxies
    120
    >>> barred = scores.where("flags == 0 and bar_strong_tree > 0.1").to_fits("barred.fits")
    """
    return ScoreFiles.open(folder)


@dataclass(frozen=True)
class ScoreFiles:
    """All score files of one folder, or some of their rows (`where`).

    Attributes
    ----------
    paths : the files, by name.
    rows : of each file.
    schema : the columns that they have together, with units and descriptions.
    runs : each provenance that occurs, with ``tiles``, ``galaxies``, ``created`` (first and last) and ``simulated``
        (whether any tile is) of the files that have it.
    area : of the sky on all tiles, square degrees; NaN where it is unknown for a file.
    provenance : every entry of the files' provenance, with each distinct value.
    widths : no text in a column is longer, {column: characters}.
    condition : which rows are read; all where it is None.
    """

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    schema: pa.Schema
    runs: tuple[dict[str, Any], ...]
    area: float
    provenance: dict[str, list[Any]]
    widths: dict[str, int]
    condition: Where | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "ScoreFiles":
        """Read the files' headers; see `open_scores`."""
        folder = Path(folder)
        paths = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "._")
        if not paths:
            raise InputError(f"There are no scores in '{folder}'; make some with `morph score TILE --out {folder}`.")
        schemas: dict[pa.Schema, None] = {}
        rows: list[int] = []
        runs: dict[str, dict[str, Any]] = {}
        values: dict[str, dict[str, Any]] = {}
        longest: Counter[str] = Counter()
        area = 0.0
        for path in paths:
            with readable(path), pq.ParquetFile(path) as file:
                found, count = file.schema_arrow, file.metadata.num_rows
            about = _about(found, path)
            schemas[found.remove_metadata()] = None
            rows.append(count)
            longest |= _widths(found)
            _count(runs, about, count)
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
        return cls(tuple(paths), tuple(rows), schema, tuple(runs.values()), area, provenance, dict(longest))

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
        """A hash that changes when a file does."""
        states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.paths]
        return hashlib.sha256(repr(states).encode()).hexdigest()[:16]

    @property
    def about(self) -> dict[str, Any]:
        """The provenance of the catalogue: software, numbers of galaxies and tiles, and the `runs`."""
        return {
            "software": f"morph {__version__}",
            "galaxies": self.galaxies,
            "tiles": len(self),
            "simulated": self.simulated,
            "runs": list(self.runs),
        }

    def where(self, condition: str) -> "ScoreFiles":
        """The rows that meet a condition, in the language of ``--where`` (`morph.catalogs.row_filter.Selection`).

        InputError when the condition cannot be understood, or names a column that is not there.
        """
        found = Selection(condition).of(self.schema, "the scores")
        chosen = replace(self, condition=found if self.condition is None else self.condition & found)
        return replace(chosen, rows=tuple(len(table) for table in chosen.tables(["id"])))

    def schema_of(self, columns: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns, or of all. InputError names a column that is not there."""
        if columns is None:
            return self.schema
        missing = [name for name in columns if name not in self.schema.names]
        if missing:
            raise InputError(
                f"The scores in '{self.paths[0].parent}' have no column '{missing[0]}'; choose others, or score the "
                "tiles again with --overwrite."
            )
        return pa.schema([self.schema.field(name) for name in columns])

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One file's rows, with `columns` (all of the schema's when not given); null where a file lacks a column."""
        wanted = self.schema_of(columns)
        needed = () if self.condition is None else self.condition.columns
        read = self.schema_of(list(dict.fromkeys((*wanted.names, *needed))))
        path = self.paths[number]
        with readable(path), pq.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            table = file.read(columns=[name for name in read.names if name in names])
        for field in read:
            if field.name not in names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        if self.condition is not None:
            table = table.filter(self.condition.value)
        return table.select(wanted.names).cast(wanted)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """`read` of one file after the other."""
        return (self.read(number, columns) for number in range(len(self.paths)))

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows in memory, with units and descriptions in the fields' metadata."""
        return pa.concat_tables(self.tables(columns)).replace_schema_metadata(
            with_about(self.schema, self.about).metadata
        )

    def to_table(self, columns: Sequence[str] | None = None) -> Table:
        """All rows in memory as an astropy table, with units, descriptions and the provenance as `meta`.

        Numbers that are unknown are NaN, other values masked. `picture` is left out unless it is named.
        """
        return astropy_table(self.to_arrow(self.tabular if columns is None else columns), self.about)

    @property
    def tabular(self) -> list[str]:
        """All columns but pictures."""
        return [name for name in self.schema.names if name not in PICTURES]

    def to_fits(self, path: str | Path) -> None:
        """Write all rows as one FITS binary table (`serving.scores.fits_table.write_fits`)."""
        from serving.scores.fits_table import write_fits

        write_fits(self, Path(path))

    def to_hats(self, path: str | Path) -> None:
        """Write a HATS collection, which `lsdb.open_catalog` opens (`serving.scores.hats.write_hats`)."""
        from serving.scores.hats import write_hats

        write_hats(self, Path(path), self.about)

    def to_hats_extension(self, catalog: str | Path, path: str | Path, id_column: str = "") -> "Joined":
        """Write the scores as an extension of a survey's own HATS catalogue, which LSDB joins to it by id.

        Parameters
        ----------
        catalog : the survey's HATS catalogue or collection, which is only read.
        path : the extension's folder.
        id_column : the catalogue's column with the scores' ids, by default the one with a usual name.

        Returns
        -------
        How many galaxies are joined, and why others are not (`serving.scores.hats_extension.write_extension`).
        """
        from serving.scores.hats_extension import write_extension

        return write_extension(self, Path(catalog), Path(path), self.about, id_column)


def astropy_table(rows: pa.Table, about: dict[str, Any]) -> Table:
    """Rows as an astropy table, with the units and descriptions of their fields' metadata, and `about` as its `meta`.
    Numbers that are unknown are NaN, other values masked."""
    table = Table(meta=about)
    for field in rows.schema:
        words = words_of(field)
        values = _values(rows[field.name].combine_chunks())
        kind = MaskedColumn if isinstance(values, np.ma.MaskedArray) else Column
        table[field.name] = kind(values, unit=words.get("unit"), description=words.get("description"))
    return table


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """InputError where a score file that is read in this context turns out to be damaged."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"The scores in '{path}' cannot be read ({reason}); score the tile again.") from None


def read_about(path: str | Path) -> dict[str, Any]:
    """The provenance of a score file. InputError when it is damaged, of another format or not a score file."""
    with readable(path):
        schema = pq.read_schema(path)
    return _about(schema, path)


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


def _about(schema: pa.Schema, path: str | Path) -> dict[str, Any]:
    metadata = schema.metadata or {}
    about = json.loads(metadata[KEY]) if KEY in metadata else {}
    if "model_version" not in about:
        raise InputError(f"'{path}' is not a score file of `morph score`.")
    check_format(about.get(FORMAT), SCORES_FORMAT, "score file", path)
    if (found := about.get(FORMAT, 1)) < SCORES_FORMAT:
        different = ", other names of columns, and fluxes in nanomaggies instead of nJy" if found == 1 else ""
        raise InputError(
            f"The score file '{path}' has format {found}, of an earlier morph: no similarity vectors{different}. "
            "Choose another --out, or score its tile again with --overwrite."
        )
    return about


def _widths(schema: pa.Schema) -> Counter[str]:
    """How long the texts of a file are, by column, as `write_scores` noted it."""
    noted = {key.decode(): value for key, value in schema.metadata.items()}
    start = len(ASTROPY_WIDTH)
    return Counter({key[start:]: int(value) for key, value in noted.items() if key.startswith(ASTROPY_WIDTH)})


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


def _values(array: pa.Array) -> np.ndarray:
    """Numbers with NaN for null, vectors as rows, anything else masked where it is null."""
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
    if pa.types.is_floating(array.type) or pa.types.is_binary(array.type):
        return array.to_numpy(zero_copy_only=False)
    blank = {pa.string(): "", pa.bool_(): False}.get(array.type, 0)
    values = array.fill_null(blank).to_numpy(zero_copy_only=False)
    values = values.astype(str) if pa.types.is_string(array.type) else values
    return np.ma.MaskedArray(values, array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else values
