"""Rows of an index as they are sent: to people with answers in words, to programs as columns."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from morph.decision_tree import ANSWER_COLUMNS, TREE, column_name, phrase
from morph.stamps.flags import Flag, is_clean
from serving.scores.value_added import columns_of, reach, summaries
from serving.similarity.index import Index, Place

#: Columns of measurements.
_MEASURED = re.compile(r"mag_[a-z]|radius|snr|redshift|reconstruction_error")


def measured_columns(schema: pa.Schema) -> list[str]:
    """The columns of measurements that a page offers for filters: magnitudes, radius, redshift."""
    return [name for name in schema.names if _MEASURED.fullmatch(name)]


def questions(schema: pa.Schema) -> list[dict[str, Any]]:
    """The questions whose answers are columns of an index: name, and for each answer its name, column and phrase."""
    found = []
    for question in TREE:
        columns = [column_name(name) for name in question.columns]
        if all(column in schema.names for column in columns):
            answers = [
                {"name": answer, "column": column, "phrase": phrase(question.name, answer)}
                for answer, column in zip(question.answers, columns, strict=True)
            ]
            found.append({"name": question.name, "answers": answers})
    return found


def for_people(table: pa.Table) -> list[dict[str, Any]]:
    """Rows for a page: each galaxy's place, its answers by question and in words, how many of the volunteers would be
    asked each, its measurements and flags. Unknown numbers are None."""
    names = table.column_names
    columns = {
        name: table[name].to_pylist()
        for name in names
        if not pa.types.is_binary(table[name].type) and name not in ANSWER_COLUMNS
    }
    known = [name for name in measured_columns(table.schema) if name in columns]
    answers = list(_answers(table)) if len(table) and set(ANSWER_COLUMNS) <= set(names) else [{}] * len(table)
    rows = []
    for number, (one, answered) in enumerate(zip(_each(columns, len(table)), answers, strict=True)):
        row: dict[str, Any] = {key: one.get(key) for key in ("id", "ra", "dec", "tile", "survey")}
        row |= answered
        row["measured"] = {name: _short(one[name]) for name in known}
        row["anomaly"], row["anomaly_score"] = bool(one.get("anomaly")), _short(one.get("anomaly_score"))
        row["flags"] = [str(flag.name).lower().replace("_", " ") for flag in Flag(one.get("flags") or 0)]
        if "similarity" in columns:
            row["similarity"] = _short(columns["similarity"][number])
        rows.append(row)
    return rows


def _each(columns: dict[str, list], count: int) -> Iterator[dict[str, Any]]:
    return ({name: values[number] for name, values in columns.items()} for number in range(count))


def _answers(table: pa.Table) -> Iterator[dict[str, Any]]:
    p = columns_of(table, ANSWER_COLUMNS)
    flags = np.zeros(len(table), "int32")
    if "flags" in table.column_names:
        flags = table["flags"].fill_null(0).to_numpy()
    asked = {name: _rounded(share) for name, share in reach(p).items()}
    parts = {question: _rounded(p[TREE.slices[question.name]].T) for question in TREE}
    for number, summary in enumerate(summaries(p, flags).to_pylist()):
        yield {
            "summary": summary or "",
            "answers": {
                question.name: dict(zip(question.answers, values[number], strict=True))
                for question, values in parts.items()
            },
            "asked": {name: shares[number] for name, shares in asked.items()},
        }


def _rounded(shares: np.ndarray) -> list:
    """Probabilities to four digits; an unknown one, which a galaxy without data would have, is 0."""
    return np.round(np.nan_to_num(shares).astype("float64"), 4).tolist()


def _short(value: Any) -> float | None:
    """A number without digits beyond a float32's; None where it is unknown."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def as_arrays(table: pa.Table, wanted: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Columns as arrays, [n] each, without pictures: of `wanted`, or all. Where a number is unknown it is NaN."""
    arrays = {}
    for name in wanted or table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_binary(column.type) or pa.types.is_nested(column.type):
            continue
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        arrays[name] = column.to_numpy(zero_copy_only=False)
    return arrays


# --- Galaxies to begin with ---------------------------------------------------------------------------------


def most_anomalous(index: Index, n: int, where: str | None, cone: tuple[float, float, float] | None) -> pa.Table:
    """The galaxies with the smallest p-values; of those with equal ones, the largest reconstruction errors.

    Only galaxies whose stamps have nothing wrong count: one behind a bleed trail is not itself anomalous.

    Parameters
    ----------
    index : the index.
    n : how many, at most.
    where, cone : as for `Index.search`.

    Returns
    -------
    Their rows, the most anomalous first.

    Raises
    ------
    InputError : as `Index.search` does for its conditions.
    """
    found: list[tuple[float, float, Place]] = []
    for number, rows in enumerate(index.chosen(where, cone)):
        shard = index.shards[number]
        own = np.arange(len(shard)) if rows is None else rows
        score, error, flags = (shard.column(name)[own] for name in ("anomaly_score", "reconstruction_error", "flags"))
        usable = np.flatnonzero(np.isfinite(score) & is_clean(np.nan_to_num(flags).astype("int32")))
        if len(usable) > n:
            usable = usable[score[usable] <= np.partition(score[usable], n - 1)[n - 1]]
        best = usable[np.lexsort((-np.nan_to_num(error[usable]), score[usable]))[:n]]
        found += [(float(score[k]), -float(error[k]), Place(number, int(own[k]))) for k in best]
    return index.table([place for *_, place in sorted(found)[:n]])


def sample(index: Index, n: int, where: str | None, cone: tuple[float, float, float] | None, seed: int) -> pa.Table:
    """Galaxies by chance.

    Parameters
    ----------
    index : the index.
    n : how many, at most.
    where, cone : as for `Index.search`.
    seed : the same seed gives the same galaxies.

    Returns
    -------
    Their rows.

    Raises
    ------
    InputError : as `Index.search` does for its conditions.
    """
    chosen = index.chosen(where, cone)
    counts = [len(shard) if rows is None else len(rows) for shard, rows in zip(index.shards, chosen, strict=True)]
    ends = np.cumsum(counts)
    places = []
    for number in np.random.default_rng(seed).choice(ends[-1], min(n, ends[-1]), replace=False):
        shard = int(np.searchsorted(ends, number, side="right"))
        row, rows = int(number - (ends[shard] - counts[shard])), chosen[shard]
        places.append(Place(shard, row if rows is None else int(rows[row])))
    return index.table(places)
