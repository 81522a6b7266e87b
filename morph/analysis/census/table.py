"""The long table of a census: one row a bin and class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from morph.analysis.census.bins import FEWEST, Bins, Merged, merge_few
from morph.analysis.census.classes import CLASSES, shares
from morph.analysis.census.correction import RESAMPLES, Correction
from morph.analysis.census.sums import BinSums, Sums
from morph.console import counted

#: What less than this part is still seen of, as against galaxies that are seen best, is beyond the census' limit, and
#: so are corrections that half an interval of 68 % leaves uncertain by more than this: three points.
SEEN, UNCERTAIN = 0.4, 0.03

#: The quantiles of an interval.
QUANTILES = (0.16, 0.84)

#: Flags of a row, in words.
FLAGS = {
    "few": f"fewer than {FEWEST} galaxies, and no bin to merge with",
    "merged": f"made of bins with fewer than {FEWEST} galaxies",
    "not-seen": f"less than {SEEN:.0%} of the class is still seen",
    "uncertain": "the interval is wider than six points",
    "not-corrected": "no labelled galaxies were given, or they do not say",
    "visibility-unknown": "the scores have no radius or no signal to noise, so the correction is one of the mix alone",
}


@dataclass
class Row:
    """One bin and class.

    Attributes
    ----------
    bin : number of the bin; -1 for all bins together.
    limits : of the bin, {quantity: (low, high)}.
    index : of the class among `CLASSES`.
    count, seen : galaxies with nothing wrong, and all galaxies.
    effective : different galaxies of equal weight that `count` amounts to.
    asked, raw, low, high : share of the galaxies that are asked, fraction of the class among them, its interval.
    corrected : the same, corrected; NaN where it is not.
    sampling_error : by how much the fraction differs from one sample of as many galaxies to another.
    completeness : see `Correction.completeness`.
    flags : some of `FLAGS`.
    """

    bin: int
    limits: dict[str, tuple[float, float]]
    index: int
    count: int
    seen: int
    effective: float
    asked: float
    raw: float
    low: float
    high: float
    asked_corrected: float = np.nan
    corrected: float = np.nan
    corrected_low: float = np.nan
    corrected_high: float = np.nan
    sampling_error: float = np.nan
    completeness: float = np.nan
    flags: list[str] = field(default_factory=list)

    @property
    def beyond(self) -> bool | None:
        """Whether the row lies beyond the limit; None where nothing was corrected, so that it is not known."""
        if not np.isfinite(self.corrected):
            return None
        return bool({"not-seen", "uncertain"} & {*self.flags})

    @property
    def best(self) -> tuple[float, float, float]:
        """The corrected fraction and its interval, or the raw one where there is none."""
        if np.isfinite(self.corrected):
            return self.corrected, self.corrected_low, self.corrected_high
        return self.raw, self.low, self.high


def rows_of(bins: Bins, sums: Sums, correction: Correction | None, seed: int = 0) -> Iterator[list[Row]]:
    """The rows of every bin in turn, the first of all bins together.

    Parameters
    ----------
    bins, sums : the grid, and what was summed in it.
    correction : None where nothing is corrected.
    seed : of the resamples.
    """
    whole = Merged(tuple(range(bins.count)), False)
    groups = merge_few(bins, sums.count) if bins.names else []
    for number, group in enumerate([whole, *groups], start=-1):
        part = sums.over(group.numbers)
        limits = _limits(bins, group.numbers) if number >= 0 else {}
        yield _rows_of_one(number, limits, part, group.merged, correction, seed)


def _rows_of_one(
    number: int,
    limits: dict[str, tuple[float, float]],
    part: BinSums,
    merged: bool,
    correction: Correction | None,
    seed: int,
) -> list[Row]:
    raw, asked = shares(part.mean)
    spread = shares(part.resampled(RESAMPLES, seed))[0]
    low, high = _interval(spread) if part.count > 1 else np.full((2, len(raw)), np.nan)
    common = (["few"] if part.count < FEWEST else []) + (["merged"] if merged else [])
    rows = [
        Row(
            number, limits, i, part.count, part.seen, part.effective,
            float(asked[i]), float(raw[i]), float(low[i]), float(high[i]), flags=list(common),
        )
        for i in range(len(CLASSES))
    ]  # fmt: skip
    if correction is None:
        for row in rows:
            row.sampling_error = (row.high - row.low) / 2
            row.flags.append("not-corrected")
        return rows
    found = correction.correct(part.mean, part.effective, part.cells, seed)
    fraction, reached = shares(found.mean)
    edges = _interval(shares(found.resampled)[0])
    seen = correction.completeness(part.cells)
    error = np.sqrt(found.variance / max(part.effective, 1.0))
    for row in rows:
        i = row.index
        row.asked_corrected, row.corrected = float(reached[i]), float(fraction[i])
        row.corrected_low, row.corrected_high = float(edges[0][i]), float(edges[1][i])
        row.sampling_error, row.completeness = float(error[i]), float(seen[i])
        if not np.isfinite(row.corrected):
            row.sampling_error = (row.high - row.low) / 2
            row.flags.append("not-corrected")
            continue
        row.flags += ["not-seen"] if row.completeness < SEEN else []
        row.flags += ["uncertain"] if (row.corrected_high - row.corrected_low) / 2 > UNCERTAIN else []
        row.flags += ["visibility-unknown"] if part.cells[-1] > 0.5 * part.cells.sum() else []
    return rows


def as_table(rows: Sequence[Row], bins: Bins, marks: Mapping[str, str]) -> pa.Table:
    """The rows as a table, with units and descriptions in the fields' metadata.

    Parameters
    ----------
    rows : of any bins.
    bins : the grid.
    marks : columns with one text in every row: what the table was made of.
    """
    columns: list[tuple[pa.Field, pa.Array]] = [
        (_field("bin", pa.int32(), "number of the bin; -1: all bins together"), pa.array([row.bin for row in rows]))
    ]
    for name in bins.names:
        for k, side in enumerate(("low", "high")):
            values = [row.limits[name][k] if row.limits else None for row in rows]
            what = f"{'lower' if k == 0 else 'upper'} edge of the bin in {name}"
            columns.append((_field(f"{name}_{side}", pa.float64(), what), pa.array(values, pa.float64())))
    for name, what, text in (
        ("question", "the question that the class answers; hubble-sequence: one class a galaxy", _question),
        ("class", "the class, named as its column in the scores", lambda row: CLASSES[row.index].name),
        ("description", "the class in words", lambda row: CLASSES[row.index].words),
    ):
        columns.append((_field(name, pa.string(), what), pa.array([text(row) for row in rows])))
    for name, what, numbers in _NUMBERS:
        kind = pa.int64() if name in ("n", "n_all") else pa.float64()
        found = np.array([getattr(row, numbers) for row in rows], dtype=float)
        columns.append((_field(name, kind, what), pa.array(found, pa.float64(), mask=np.isnan(found)).cast(kind)))
    limit = "whether the class lies beyond the limit of this census; null: not corrected, so not known"
    columns.append((_field("beyond_limit", pa.bool_(), limit), pa.array([row.beyond for row in rows], pa.bool_())))
    flags = "; ".join(f"{name}: {words}" for name, words in FLAGS.items())
    columns.append((_field("flags", pa.string(), flags), pa.array([",".join(row.flags) for row in rows])))
    for name, mark in marks.items():
        columns.append((_field(name, pa.string(), _MARKS[name]), pa.array([mark] * len(rows))))
    return pa.Table.from_arrays([values for _, values in columns], schema=pa.schema([each for each, _ in columns]))


#: Descriptions of the columns with one text in every row.
_MARKS = {
    "model": "the model that made the scores: name, version and digest of the weights",
    "selection": "which galaxies were scored and counted",
    "scores_digest": "digest of the score files",
}

#: The table's columns of numbers: name, description and attribute of `Row`.
_NUMBERS = (
    ("n", "galaxies with nothing wrong with the stamp", "count"),
    ("n_all", "all galaxies of the bin", "seen"),
    ("n_effective", "different galaxies of equal weight that these amount to", "effective"),
    ("asked", "share of the volunteers' path that reaches the question, by the model", "asked"),
    ("raw", "fraction of the class among those asked: mean probability", "raw"),
    ("raw_16", "16 % quantile of the raw fraction in samples like this", "low"),
    ("raw_84", "84 % quantile of the raw fraction in samples like this", "high"),
    ("asked_corrected", "asked, corrected", "asked_corrected"),
    ("corrected", "corrected fraction: what volunteers would say of these galaxies, seen well", "corrected"),
    ("corrected_16", "16 % quantile of the corrected fraction of these galaxies", "corrected_low"),
    ("corrected_84", "84 % quantile of the corrected fraction of these galaxies", "corrected_high"),
    (
        "sampling_error",
        "standard deviation from one sample of as many galaxies to another, to be added",
        "sampling_error",
    ),
    ("completeness", "part of the class that is still seen, as against galaxies that are seen best", "completeness"),
)


def sentence_of(rows: Sequence[Row], bins: Bins) -> str:
    """One class's fraction over all bins and its limit, in a sentence.

    Parameters
    ----------
    rows : of the class, the first of all bins together.
    bins : the grid.
    """
    whole, each = rows[0], rows[1:]
    value, low, high = whole.best
    kind = "corrected" if np.isfinite(whole.corrected) else "not corrected"
    what = CLASSES[whole.index].words
    of = "" if CLASSES[whole.index].question == "hubble-sequence" else ", of those asked"
    start = f"{what[0].upper()}{what[1:]}: {100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f}, {kind}{of})"
    if not np.isfinite(whole.corrected):
        return f"{start}; without labelled galaxies that say it, its limit is not known."
    beyond = [row for row in each if row.beyond]
    if not each:
        return f"{start}; {'beyond' if whole.beyond else 'within'} the limit of this census ({_why(whole)})."
    if not beyond:
        return f"{start}; seen and certain enough in every bin."
    if len(beyond) == len(each):
        return f"{start}; beyond the limit in every bin ({_why(beyond[0])})."
    return f"{start}; within the limit in {_where(each, bins)} ({counted(len(beyond), 'bin')} of {len(each)} beyond)."


def _where(rows: Sequence[Row], bins: Bins) -> str:
    """The bins within the limit, in words: the range in the first quantity, where it is one."""
    name = bins.names[0]
    usable = [row.limits[name] for row in rows if not row.beyond]
    low, high = min(a for a, _ in usable), max(b for _, b in usable)
    return f"{name} {low:g} to {high:g}"


def _why(row: Row) -> str:
    half = 50 * (row.corrected_high - row.corrected_low)
    seen = f"{100 * row.completeness:.0f} % of it is still seen, " if np.isfinite(row.completeness) else ""
    return f"{seen}uncertain by {half:.1f} points"


def _question(row: Row) -> str:
    return CLASSES[row.index].question


def _limits(bins: Bins, numbers: Sequence[int]) -> dict[str, tuple[float, float]]:
    each = [bins.limits(number) for number in numbers]
    return {name: (min(one[name][0] for one in each), max(one[name][1] for one in each)) for name in bins.names}


def _interval(resampled: np.ndarray) -> np.ndarray:
    """The quantiles of resamples [resamples, classes]: [2, classes]; NaN where a class has none."""
    finite = np.isfinite(resampled).all(axis=0)
    return np.where(finite, np.quantile(np.where(finite, resampled, 0), QUANTILES, axis=0), np.nan)


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})
