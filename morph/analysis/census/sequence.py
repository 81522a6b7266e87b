"""`morph sequence`: every galaxy's continuous type with its standard error, and its place on a map of shapes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph import __version__
from morph.analysis.census.rows import Rows, Scores
from morph.analysis.census.shape_map import ShapeMap, Shown, vectors_of
from morph.analysis.census.types import Types, types_of
from morph.atomic import atomic
from morph.catalogs.table_files import check_table, write_table
from morph.console import counted, track
from morph.decision_tree import ANSWER_COLUMNS, TREE, column_name
from morph.errors import InputError

#: How many votes a question's probabilities are worth, by column.
WORTH = tuple(column_name(f"{question.name}_concentration") for question in TREE)

#: The shape of a galaxy, however it is turned.
SHAPE = "similarity"

#: Columns that are copied.
COPIED = ("id", "ra", "dec", "tile", "model", "model_version")

#: Edges of the counts of types.
STEPS = np.arange(-5.25, 7.5, 0.5)


@dataclass
class Placement:
    """What was made of the scores.

    Attributes
    ----------
    galaxies, placed : rows written, and those with a type.
    types : counts of types between `STEPS`.
    shown : galaxies with pictures and their places.
    notes : what a user should know, in sentences.
    about : provenance.
    """

    galaxies: int
    placed: int
    types: np.ndarray
    shown: Shown
    notes: list[str]
    about: dict[str, Any]


def make_sequence(scores: str | Path, to: str | Path, where: str = "", page: str | Path | None = None) -> Placement:
    """Write the types of galaxies, and a map of their shapes.

    Parameters
    ----------
    scores : a folder of `morph score`, or a table with a column for every answer.
    to : the table: .parquet, .fits or .csv. Galaxies with something wrong have no type.
    where : which galaxies, in the language of ``--where``.
    page : an HTML page with the types' distribution and the map; none if not given.

    Raises
    ------
    InputError : the scores cannot be used, or no galaxy is left.

    Examples
    --------
    >>> made = make_sequence("scores", "sequence.parquet")
    >>> made.placed <= made.galaxies
    True
    """
    to = Path(to)
    check_table(to)
    opened = Scores.open(scores, where)
    missing = [name for name in ANSWER_COLUMNS if name not in opened.columns]
    if missing:
        raise InputError(f"The scores in '{opened.path}' have no column '{missing[0]}', which types are made of.")
    shape_map = ShapeMap.fit((vectors_of(table), types.type) for _, table, types in _typed(opened, "fitting the map"))
    made = Placement(0, 0, np.zeros(len(STEPS) - 1, dtype=int), Shown(), _notes(opened, shape_map), _about(opened))
    with atomic(to, "The sequence") as building:
        _write(made, opened, shape_map, building)
        if not made.placed:
            raise InputError(
                f"No galaxy of '{opened.path}' has a type: " + ("there are none." if not made.galaxies else "all have "
                f"something wrong with the stamp (flags), or no answers ({counted(made.galaxies, 'row')}).")
            )  # fmt: skip
    if page:
        from morph.analysis.census.sequence_page import write_page

        write_page(made, Path(page))
    return made


def _typed(scores: Scores, what: str) -> Iterator[tuple[Rows, pa.Table, Types]]:
    """The galaxies some at a time, with their types; those with something wrong have none."""
    parts = track((scores.part(number) for number in range(len(scores.tables))), what, len(scores.tables))
    for part in parts:
        for rows, table in part.batches([*ANSWER_COLUMNS, *WORTH], [*COPIED, SHAPE, "picture"]):
            probabilities = np.stack([rows.values[name] for name in ANSWER_COLUMNS], axis=1)
            found = types_of(probabilities, np.stack([rows.values[name] for name in WORTH], axis=1))
            blank = np.where(rows.clean, 0.0, np.nan)
            yield rows, table, Types(found.type + blank, found.sigma + blank)


def _write(made: Placement, scores: Scores, shape_map: ShapeMap | None, path: Path) -> None:
    """Write the table, a Parquet file some rows at a time."""
    writer: pq.ParquetWriter | None = None
    kept: list[pa.Table] = []
    for rows, table, types in _typed(scores, "placing galaxies"):
        places = shape_map.place(vectors_of(table)) if shape_map else np.full((len(rows), 2), np.nan)
        places[np.isnan(types.type)] = np.nan
        out = _table(table, types, places, made.about)
        made.galaxies += len(out)
        made.placed += int(np.isfinite(types.type).sum())
        made.types += np.histogram(types.type[np.isfinite(types.type)], STEPS)[0]
        made.shown.add(table, types.type, places)
        if path.suffix.lower() != ".parquet":
            kept.append(out)
            continue
        writer = writer or pq.ParquetWriter(path, out.schema, compression="zstd")
        writer.write_table(out)
    if writer:
        writer.close()
    elif kept:
        write_table(pa.concat_tables(kept), path)


def _table(table: pa.Table, types: Types, places: np.ndarray, about: dict[str, Any]) -> pa.Table:
    fields, columns = [], []
    for name in COPIED:
        if name in table.column_names:
            fields.append(pa.field(name, table[name].type))
            columns.append(table[name])
    for name, values, what in (
        ("type", types.type, "place on the scale of de Vaucouleurs' T: E -5, S0 -2, Sa 1, Sb 3, Sc 5, Sd 7"),
        ("type_sigma", types.sigma, "standard error of type, from the votes that the probabilities are worth"),
        ("map_x", places[:, 0], "the type as the galaxy's shape vector alone gives it"),
        (
            "map_y",
            places[:, 1],
            "first principal component of what the type leaves of the shape, in units of its scatter",
        ),
    ):
        fields.append(pa.field(name, pa.float32(), metadata={"description": what}))
        columns.append(pa.array(values, pa.float32(), mask=np.isnan(values)))
    metadata = {b"morph": json.dumps({**about, "made_by": about["software"]}).encode()}
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=metadata))


def _notes(scores: Scores, shape_map: ShapeMap | None) -> list[str]:
    notes = []
    if not {*WORTH} <= scores.columns:
        notes.append("The scores have no concentrations, so the types have no standard errors.")
    if shape_map is None:
        notes.append("The scores have too few similarity vectors for a map; its columns are empty.")
    if scores.simulated:
        notes.append("Some of these scores are of simulated galaxies.")
    return notes


def _about(scores: Scores) -> dict[str, Any]:
    return {
        "software": f"morph {__version__}",
        "scores": str(scores.path),
        "scores_digest": scores.digest,
        "tiles": scores.tiles,
        "where": scores.where,
        "simulated": scores.simulated,
        **{name: values[0] if len(values) == 1 else values for name, values in scores.about.items()},
    }
