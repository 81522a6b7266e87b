"""Aggregates of a survey's scores, tile by tile: counts, shares by brightness and size, a map, the most anomalous."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from morph.decision_tree import ANSWER_COLUMNS, TREE
from morph.stamps.flags import Flag, is_clean
from serving.scores.hats import CELLS, FINEST, healpix_29
from serving.scores.value_added import columns_of, reach

#: Galaxies whose pictures a report shows.
MOST_ANOMALOUS = 24

#: Fewer galaxies than this are drawn as dots on the sky, more as a map of their density.
DOTS = 20_000

#: p-values are counted in so many equal steps.
STEPS = 20


@dataclass(frozen=True)
class Curve:
    """A share of galaxies to be followed: those with any of the answers, among those who are asked the question."""

    title: str
    question: str
    answers: tuple[str, ...]


CURVES = (
    Curve("smooth", "smooth-or-featured", ("smooth",)),
    Curve("featured", "smooth-or-featured", ("featured-or-disk",)),
    Curve("artifact", "smooth-or-featured", ("artifact",)),
    Curve("edge-on, of featured", "disk-edge-on", ("yes",)),
    Curve("spiral arms, of face-on", "has-spiral-arms", ("yes",)),
    Curve("bar, of face-on", "bar", ("strong", "weak")),
    Curve("merging or disturbed", "merging", ("minor-disturbance", "major-disturbance", "merger")),
)

#: Edges of the bins in which curves are followed: half magnitudes, and quarters more of the radius.
EDGES = {"mag_r": np.arange(10, 28.5, 0.5), "radius": 0.5 * 1.25 ** np.arange(22)}

#: Columns that `Aggregate.add` needs.
NEEDED = (
    *("id", "ra", "dec", "tile", "mag_r", "radius", *ANSWER_COLUMNS),
    *("reconstruction_error", "anomaly_score", "anomaly", "flags", "picture"),
)


@dataclass(frozen=True)
class AnomalousGalaxy:
    """One of the most anomalous galaxies; `picture` is a JPEG file, None where the score file keeps none."""

    score: float
    error: float
    id: str
    tile: str
    picture: bytes | None


@dataclass
class Aggregate:
    """Sums over galaxies, to which tables are added one after the other.

    Morphology is that of galaxies with nothing wrong (`clean`; a band may be missing), p-values and the most anomalous
    those of such galaxies with all bands, as in the p-value's reference; counts are of all.

    Attributes
    ----------
    anomalies : among those with nothing wrong; a faint or cut-off galaxy is unusual for that alone.
    asked, chosen : expected numbers of galaxies that are asked each question, [questions], and for which each answer
        is given, [answers].
    galaxies_in, asked_in, chosen_in : {column of `EDGES`: galaxies [bins], and as above for `CURVES`, [curves, bins]}.
    p_values : [STEPS].
    cells : HEALPix cells of order `serving.scores.hats.CELLS`, each once per table; counts : of galaxies,
        those with all bands and nothing wrong, and anomalies among those, [3, n] each.
    dots : ra, dec and featured probability, [3, n] each; empty once there are more than `DOTS` galaxies.
    """

    galaxies: int = 0
    clean: int = 0
    anomalies: int = 0
    flags: Counter[Flag] = field(default_factory=Counter)
    asked: np.ndarray = field(default_factory=lambda: np.zeros(len(TREE)))
    chosen: np.ndarray = field(default_factory=lambda: np.zeros(len(TREE.columns)))
    galaxies_in: dict[str, np.ndarray] = field(default_factory=lambda: _bins())
    asked_in: dict[str, np.ndarray] = field(default_factory=lambda: _bins(len(CURVES)))
    chosen_in: dict[str, np.ndarray] = field(default_factory=lambda: _bins(len(CURVES)))
    p_values: np.ndarray = field(default_factory=lambda: np.zeros(STEPS, dtype=int))
    cells: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    dots: list[np.ndarray] = field(default_factory=list)
    _most_anomalous: list[tuple[tuple[float, float], int, AnomalousGalaxy]] = field(default_factory=list)

    def add(self, scores: pa.Table) -> None:
        """Add the rows of a score file, with the columns `NEEDED`."""
        flags = scores["flags"].to_numpy()
        p = columns_of(scores, ANSWER_COLUMNS)
        score, error = columns_of(scores, ("anomaly_score", "reconstruction_error"))
        clean = is_clean(flags) & np.isfinite(p).all(axis=0)
        judged = clean & (flags == 0)
        anomaly = scores["anomaly"].fill_null(False).to_numpy()
        self.clean += int(clean.sum())
        self.anomalies += int((anomaly & clean).sum())
        self.flags += Counter({flag: int(((flags & flag) != 0).sum()) for flag in Flag})
        self._add_most_anomalous(scores, score, error, np.flatnonzero(judged))
        self.galaxies += len(flags)
        self.p_values += np.histogram(score[judged], STEPS, (0, 1))[0]
        self._add_morphology(p[:, clean], *columns_of(scores, tuple(EDGES))[:, clean])
        self._add_places(scores, p, clean, judged, anomaly)

    @property
    def most_anomalous(self) -> list[AnomalousGalaxy]:
        """The most anomalous first."""
        return [entry[-1] for entry in sorted(self._most_anomalous, reverse=True, key=lambda entry: entry[:2])]

    def sky(self) -> tuple[np.ndarray, np.ndarray]:
        """The cells, each once, and their counts [3, cells]."""
        if not self.cells:
            return np.zeros(0, dtype="int64"), np.zeros((3, 0))
        return merge(np.concatenate(self.cells), np.concatenate(self.counts, axis=1))

    def _add_morphology(self, p: np.ndarray, mag_r: np.ndarray, radius: np.ndarray) -> None:
        asked = reach(p)
        self.asked += [asked[question.name].sum() for question in TREE]
        for question in TREE:
            part = TREE.slices[question.name]
            self.chosen[part] += (p[part] * asked[question.name]).sum(axis=1)
        for name, values in (("mag_r", mag_r), ("radius", radius)):
            known = np.isfinite(values)
            bins = np.digitize(values[known], EDGES[name])
            # The first and the last bin lie outside the edges.
            count = len(EDGES[name]) + 1
            self.galaxies_in[name] += np.bincount(bins, minlength=count)[1:-1]
            for k, curve in enumerate(CURVES):
                reached = asked[curve.question][known]
                share = p[_rows(curve)][:, known].sum(axis=0)
                self.asked_in[name][k] += np.bincount(bins, reached, count)[1:-1]
                self.chosen_in[name][k] += np.bincount(bins, reached * share, count)[1:-1]

    def _add_places(
        self, scores: pa.Table, p: np.ndarray, clean: np.ndarray, judged: np.ndarray, anomaly: np.ndarray
    ) -> None:
        ra, dec = scores["ra"].to_numpy(), scores["dec"].to_numpy()
        place = healpix_29(ra, dec)
        known = place >= 0
        weights = np.stack([np.ones(len(ra)), judged, judged & anomaly])[:, known]
        cells, counts = merge(place[known] >> 2 * (FINEST - CELLS), weights)
        self.cells.append(cells)
        self.counts.append(counts)
        featured = np.where(clean, p[TREE.columns.index("smooth-or-featured_featured-or-disk")], np.nan)
        self.dots = [*self.dots, np.stack([ra, dec, featured])] if self.galaxies <= DOTS else []

    def _add_most_anomalous(self, scores: pa.Table, score: np.ndarray, error: np.ndarray, rows: np.ndarray) -> None:
        for i in rows[np.lexsort((-error[rows], score[rows]))[:MOST_ANOMALOUS]].tolist():
            # A heap has its smallest entry on top: here the least anomalous, and of equals the last.
            rank = (-float(score[i]), float(error[i])), -(self.galaxies + i)
            heap = self._most_anomalous
            if len(heap) == MOST_ANOMALOUS and rank < heap[0][:2]:
                break
            id_, tile, picture = (scores[name][i].as_py() for name in ("id", "tile", "picture"))
            entry = (*rank, AnomalousGalaxy(float(score[i]), float(error[i]), id_, tile, picture))
            if len(heap) < MOST_ANOMALOUS:
                heapq.heappush(heap, entry)
            else:
                heapq.heapreplace(heap, entry)


def merge(cells: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells, each once, and the sums of their weights, [k, n] to [k, cells]."""
    found, which = np.unique(cells, return_inverse=True)
    return found, np.stack([np.bincount(which, row, len(found)) for row in weights])


def _rows(curve: Curve) -> Sequence[int]:
    return [TREE.columns.index(f"{curve.question}_{answer}") for answer in curve.answers]


def _bins(*shape: int) -> dict[str, np.ndarray]:
    return {name: np.zeros((*shape, len(edges) - 1)) for name, edges in EDGES.items()}
