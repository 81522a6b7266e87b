"""The summary of a scoring run: tile by tile, and in total."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.catalogs.catalog import RejectedRows
from morph.console import counted
from morph.domain_shift.sample import Sample
from morph.stamps.flags import Flag, is_clean
from morph.surveys import UNKNOWN
from serving.scores.score_files import readable

#: Sources of zero points, and notes, that a summary lists at most.
SOURCES = 6

#: Of the most anomalous galaxies, a summary names so many.
MOST_ANOMALOUS = 5


@dataclass(frozen=True)
class Scored:
    """One tile's file, written by this run or earlier.

    Attributes
    ----------
    flags : {flag: galaxies that have it}; `flagged` counts those with any.
    clean : galaxies with nothing wrong, though a band may be missing; `anomalies` counts those of them.
    most_anomalous : (anomaly score, id, tile) of the clean ones with the smallest scores.
    about : the file's provenance.
    ids : hashes of the galaxies' ids, uint64 [galaxies]: a survey's ids themselves take gigabytes.
    before : whether the file was there before this run.
    """

    tile: str
    path: Path
    galaxies: int
    flagged: int
    clean: int
    anomalies: int
    flags: dict[Flag, int]
    most_anomalous: list[tuple[float, str, str]]
    about: dict[str, Any] = field(default_factory=dict)
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype="uint64"), compare=False)
    before: bool = False


@dataclass(frozen=True)
class Failed:
    """A tile that could not be scored, the reason in one sentence, and the first of its files."""

    tile: str
    reason: str
    file: str = ""


@dataclass(frozen=True)
class WithoutGalaxies:
    """A tile on which no galaxy of the catalogue lies; it has no file."""

    tile: str


Result = Scored | Failed | WithoutGalaxies


@dataclass
class ScoresSummary:
    """The results of a run, and the model's reference sample of its training set.

    Attributes
    ----------
    changed : tiles that had other images, or overlapped with other tiles, when their score file was made.
    outside : galaxies of the catalogue that lie on none of the tiles that were scored.
    left_out : the catalogue's rows that cannot be used.
    """

    scored: list[Scored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    without_galaxies: list[WithoutGalaxies] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    outside: int = 0
    left_out: RejectedRows = field(default_factory=RejectedRows)
    reference_sample: Sample | None = None

    def add(self, result: Result) -> None:
        if isinstance(result, Scored):
            self.scored.append(result)
        elif isinstance(result, Failed):
            self.failed.append(result)
        else:
            self.without_galaxies.append(result)

    @property
    def galaxies(self) -> int:
        return sum(tile.galaxies for tile in self.scored)

    @property
    def distinct(self) -> int:
        """Galaxies by their ids: one on two tiles counts once."""
        return len(np.unique(np.concatenate([tile.ids for tile in self.scored]))) if self.scored else 0

    @property
    def flagged(self) -> int:
        return sum(tile.flagged for tile in self.scored)

    @property
    def clean(self) -> int:
        return sum(tile.clean for tile in self.scored)

    @property
    def anomalies(self) -> int:
        return sum(tile.anomalies for tile in self.scored)

    @property
    def flags(self) -> Counter[Flag]:
        return sum((Counter(tile.flags) for tile in self.scored), Counter())

    @property
    def most_anomalous(self) -> list[tuple[float, str, str]]:
        """(anomaly score, id, tile), the most anomalous first."""
        return heapq.nsmallest(MOST_ANOMALOUS, (galaxy for tile in self.scored for galaxy in tile.most_anomalous))


def summarise_file(path: Path, about: dict[str, Any]) -> Scored:
    """The summary of an earlier run's score file with the provenance `about`. InputError when it is damaged."""
    with readable(path):
        table = pq.read_table(path, columns=["id", "flags", "anomaly", "anomaly_score"])
    return summarise(path, table, about, before=True)


def summarise(path: Path, table: pa.Table, about: dict[str, Any], before: bool = False) -> Scored:
    """The summary of a tile's scores.

    Parameters
    ----------
    path : the score file.
    table : its rows.
    about : its provenance.
    before : whether the file was there before this run.

    Returns
    -------
    The tile's counts and most anomalous galaxies.
    """
    flags = table["flags"].to_numpy()
    score = np.array(table["anomaly_score"].to_numpy(zero_copy_only=False), dtype=float)
    clean = is_clean(flags)
    score[~clean] = np.nan
    order = np.argsort(np.where(np.isnan(score), np.inf, score), kind="stable")[:MOST_ANOMALOUS]
    anomaly = table["anomaly"].fill_null(False).to_numpy()
    ids = table["id"].to_pylist()
    return Scored(
        path.stem,
        path,
        len(table),
        int((flags != 0).sum()),
        int(clean.sum()),
        int((anomaly & clean).sum()),
        {flag: int(((flags & flag) != 0).sum()) for flag in Flag},
        [(float(score[i]), ids[i], path.stem) for i in order.tolist() if np.isfinite(score[i])],
        about,
        _hashes(ids),
        before,
    )


def _hashes(ids: list[str]) -> np.ndarray:
    """Hashes of 64 bits that are the same in every process."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, dtype="uint64")


def lines(summary: ScoresSummary, out: Path, seconds: float) -> Iterator[str]:
    """The run in a few lines for a terminal.

    Parameters
    ----------
    summary : of the run.
    out : the folder of the scores.
    seconds : how long it took.
    """
    new = [tile for tile in summary.scored if not tile.before]
    if new:
        galaxies = sum(tile.galaxies for tile in new)
        what = f"{counted(len(new), 'tile')} with {counted(galaxies, 'galaxy', 'galaxies')}"
        yield f"Scored {what} in {seconds:.1f} s ({galaxies / seconds:,.0f} a second) into {out}."
    if len(new) < len(summary.scored):
        before = counted(len(summary.scored) - len(new), "tile")
        yield f"{before} had been scored before; --overwrite scores again."
    if summary.changed:
        tiles = counted(len(summary.changed), "tile")
        yield f"{tiles} had other images, or other neighbours, when scored before; scored again."
    yield from summary.left_out.lines()
    if summary.outside:
        lost = counted(summary.outside, "galaxy of the catalogue lies", "galaxies of the catalogue lie")
        yield f"{lost} on none of the tiles that were scored."
    if summary.without_galaxies:
        yield f"No galaxy of the catalogue lies on {counted(len(summary.without_galaxies), 'tile')}."
    if not summary.galaxies:
        return
    kinds = [f"{count:,} {flag.words}" for flag, count in summary.flags.items() if count]
    detail = f" ({', '.join(kinds)})" if kinds else ""
    yield f"With a flag: {summary.flagged:,} of {counted(summary.galaxies, 'galaxy', 'galaxies')}{detail}."
    if summary.most_anomalous:
        clean = counted(summary.clean, "galaxy", "galaxies")
        yield f"Anomalous: {summary.anomalies:,} of {clean} with nothing wrong. The most anomalous:"
    for score, name, tile in summary.most_anomalous:
        yield f"  p = {score:<8.3g} {name}  (tile {tile})"


def image_lines(summary: ScoresSummary, survey: str) -> list[str]:
    """The scored images: survey, area, the sources of their zero points, and notes on how they were read."""
    points: Counter[tuple[str, str]] = Counter()
    for tile in summary.scored:
        for band, point in tile.about.get("zero_points", {}).items():
            value = "not known" if point["magnitude"] is None else f"{point['magnitude']:.3f}"
            points[f"{value} by {point['source']}", band] += 1
    by_source: dict[str, list[str]] = {}
    for source, band in points:
        by_source.setdefault(source, []).append(band)
    listed = [f"{', '.join(sorted(bands))}: {source}" for source, bands in list(by_source.items())[:SOURCES]]
    more = f"; {len(by_source) - SOURCES} more" if len(by_source) > SOURCES else ""
    whose = "no known survey" if survey == UNKNOWN.name else f"survey {survey}"
    area = sum(float(tile.about.get("area", np.nan)) for tile in summary.scored)
    degrees = f", {area:.3g} square degrees with data" if np.isfinite(area) else ""
    notes = Counter(note for tile in summary.scored for note in tile.about.get("notes", ()))
    return [
        *([f"Images of {whose}{degrees}; zero points {'; '.join(listed)}{more}."] if points else []),
        *(f"{note} ({count:,} of {len(summary.scored):,} tiles)" for note, count in notes.most_common(SOURCES)),
    ]
