"""What scoring did: tile by tile, and in all."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.catalogs.catalog import RejectedRows
from morph.domain_shift.sample import Sample
from morph.stamps.flags import Flag, is_clean
from morph.surveys import UNKNOWN
from serving.scores.schema import read_about, readable

#: How many sources of zero points a summary lists.
SOURCES = 6

#: How many of the strangest galaxies a summary names.
STRANGEST = 5


@dataclass(frozen=True)
class Scored:
    """One tile's file, made now or before.

    Attributes
    ----------
    flags : {flag: galaxies that have it}; `flagged` counts those with any.
    clean : galaxies with nothing wrong, though a band may be missing; `anomalies` counts those of them.
    strangest : (anomaly score, id, tile) of the clean ones with the smallest scores.
    """

    tile: str
    path: Path
    galaxies: int
    flagged: int
    clean: int
    anomalies: int
    flags: dict[Flag, int]
    strangest: list[tuple[float, str, str]]
    before: bool = False


@dataclass(frozen=True)
class Failed:
    """A tile that could not be scored, why, in one sentence, and the first of its files."""

    tile: str
    reason: str
    file: str = ""


@dataclass(frozen=True)
class Elsewhere:
    """A tile on which no galaxy of the catalogue lies; it has no file."""

    tile: str


Result = Scored | Failed | Elsewhere


@dataclass
class Summary:
    """What a run did, and the model's reference sample of its training galaxies.

    `changed` are the tiles that had other images, or overlapped with other tiles, when their score file was made, and
    `nowhere` is the number of the catalogue's galaxies that lie on none of the tiles that were scored. `left_out` are
    the catalogue's rows that cannot be used.
    """

    scored: list[Scored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    nowhere: int = 0
    left_out: RejectedRows = field(default_factory=RejectedRows)
    reference_sample: Sample | None = None

    def add(self, result: Result) -> None:
        if isinstance(result, Scored):
            self.scored.append(result)
        elif isinstance(result, Failed):
            self.failed.append(result)
        else:
            self.elsewhere.append(result)

    @property
    def galaxies(self) -> int:
        return sum(tile.galaxies for tile in self.scored)

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
    def strangest(self) -> list[tuple[float, str, str]]:
        """(anomaly score, id, tile), the strangest first."""
        return heapq.nsmallest(STRANGEST, (galaxy for tile in self.scored for galaxy in tile.strangest))


def summarise_file(path: Path) -> Scored:
    """What a score file of before this run holds, in numbers. InputError when it is damaged."""
    with readable(path):
        table = pq.read_table(path, columns=["id", "flags", "anomaly", "anomaly_score"])
    return summarise(path, table, before=True)


def summarise(path: Path, table: pa.Table, before: bool = False) -> Scored:
    """What a tile's scores hold, in numbers.

    Parameters
    ----------
    table : the score file as an Arrow table.
    before : whether the file was there before this run.
    """
    flags = table["flags"].to_numpy()
    score = np.array(table["anomaly_score"].to_numpy(zero_copy_only=False), dtype=float)
    clean = is_clean(flags)
    score[~clean] = np.nan
    strangest = np.argsort(np.where(np.isnan(score), np.inf, score), kind="stable")[:STRANGEST]
    anomaly = table["anomaly"].fill_null(False).to_numpy()
    return Scored(
        path.stem,
        path,
        len(table),
        int((flags != 0).sum()),
        int(clean.sum()),
        int((anomaly & clean).sum()),
        {flag: int(((flags & flag) != 0).sum()) for flag in Flag},
        [(float(score[i]), table["id"][int(i)].as_py(), path.stem) for i in strangest if np.isfinite(score[i])],
        before,
    )


def images_in_words(survey: str, summary: Summary) -> list[str]:
    """What the scored images are: survey, area, where their zero points are known from, and how they were read."""
    points: Counter[tuple[str, str]] = Counter()
    provenance = [read_about(tile.path) for tile in summary.scored]
    for about in provenance:
        for band, point in about.get("zero_points", {}).items():
            value = "not known" if point["magnitude"] is None else f"{point['magnitude']:.3f}"
            points[f"{value} by {point['source']}", band] += 1
    by_source: dict[str, list[str]] = {}
    for source, band in points:
        by_source.setdefault(source, []).append(band)
    said = "; ".join(f"{', '.join(sorted(bands))}: {source}" for source, bands in list(by_source.items())[:SOURCES])
    more = f"; {len(by_source) - SOURCES} more" if len(by_source) > SOURCES else ""
    whose = "no known survey" if survey == UNKNOWN.name else f"survey {survey}"
    # Files of an earlier version do not hold it.
    degrees = sum(float(about.get("area", np.nan)) for about in provenance)
    area = f", {degrees:.3g} square degrees with data" if np.isfinite(degrees) else ""
    notes = Counter(note for about in provenance for note in about.get("notes", ()))
    listed = [f"{note} ({count:,} of {len(provenance):,} tiles)" for note, count in notes.most_common(SOURCES)]
    return [*([f"Images of {whose}{area}; zero points {said}{more}."] if points else []), *listed]
