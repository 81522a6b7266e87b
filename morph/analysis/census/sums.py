"""What a census keeps of the galaxies of each bin: sums, to which rows are added and which add up themselves.

Galaxies are dealt into groups by a hash of their answers, and every sum is kept by group: resampling groups gives the
uncertainty of anything made of the sums, without a second look at the galaxies. A galaxy that is there twice falls
into one group both times.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from morph.analysis.census.classes import CLASSES, HUBBLE, classes_of_answers
from morph.analysis.census.rows import Rows
from morph.analysis.census.visibility import CELLS, cell_of
from morph.decision_tree import ANSWERS, TREE

#: Groups of galaxies.
GROUPS = 64

#: Bits of a bin's map of its galaxies' hashes, from which follows how many different ones there are (linear counting,
#: Whang et al. 1990), as long as the map is not full.
BITS, FULL = 1 << 13, 0.9

#: Pictures that are kept of each class of the Hubble sequence.
PICTURES = 3

#: The classes of the Hubble sequence among all.
SEQUENCE = [i for i, each in enumerate(CLASSES) if each.question == HUBBLE]


@dataclass(frozen=True, order=True)
class Example:
    """A galaxy that shows a class well.

    Attributes
    ----------
    fraction : its tree fraction of the class, times the share of no merger: a merger shows no class well.
    id, tile, x, y, radius : its name, and its place on its tile (pixels) and half-light radius (arcsec).
    picture : a JPEG file; empty where its score file has none.
    """

    fraction: float
    id: str
    tile: str
    x: float = field(compare=False, default=float("nan"))
    y: float = field(compare=False, default=float("nan"))
    radius: float = field(compare=False, default=float("nan"))
    picture: bytes = field(compare=False, default=b"")


@dataclass(frozen=True)
class BinSums:
    """The sums of one bin.

    Attributes
    ----------
    weight : [groups].
    classes : [groups, classes].
    cells : [cells + 1].
    count, seen : galaxies with nothing wrong, and all galaxies.
    effective : how many different galaxies of equal weight they amount to.
    """

    weight: np.ndarray
    classes: np.ndarray
    cells: np.ndarray
    count: int
    seen: int
    effective: float

    @property
    def mean(self) -> np.ndarray:
        """Mean tree fractions, [classes]."""
        return self.classes.sum(axis=0) / self.weight.sum()

    def resampled(self, resamples: int, seed: int = 0) -> np.ndarray:
        """Mean tree fractions of resamples (a Bayesian bootstrap over the groups), [resamples, classes]."""
        drawn = np.random.default_rng(seed).standard_exponential((resamples, GROUPS))
        return (drawn @ self.classes) / (drawn @ self.weight)[:, None]


@dataclass
class Sums:
    """Sums over galaxies.

    Attributes
    ----------
    weight : [bins, groups].
    classes : weight times the tree fraction of each class, [bins, groups, classes].
    squares : squared weights, [bins].
    there : which hashes occur, bool [bins, `BITS`].
    count, seen : galaxies with nothing wrong, and all galaxies, [bins].
    cells : weight by how well galaxies are seen, [bins, cells]; the last cell is of those of which it is not known.
    outside, unknown, flagged, unweighted : galaxies that are left out: beyond all bins, without a value to bin by,
        with something wrong or without answers, without a weight.
    examples : of each class of the Hubble sequence, a heap of the best ones.
    pictured : whether only galaxies whose score files have a picture are examples.
    """

    weight: np.ndarray
    classes: np.ndarray
    squares: np.ndarray
    there: np.ndarray
    count: np.ndarray
    seen: np.ndarray
    cells: np.ndarray
    outside: int = 0
    unknown: int = 0
    flagged: int = 0
    unweighted: int = 0
    examples: dict[int, list[Example]] = field(default_factory=lambda: {i: [] for i in SEQUENCE})
    pictured: bool = True

    @classmethod
    def empty(cls, bins: int, pictured: bool = True) -> "Sums":
        """Sums of no galaxies, over a number of bins; `pictured` as above."""
        return cls(
            np.zeros((bins, GROUPS)),
            np.zeros((bins, GROUPS, len(CLASSES))),
            np.zeros(bins),
            np.zeros((bins, BITS), dtype=bool),
            np.zeros(bins, dtype=int),
            np.zeros(bins, dtype=int),
            np.zeros((bins, CELLS + 1)),
            pictured=pictured,
        )

    def add(self, rows: Rows, place: np.ndarray, weight: np.ndarray, size: np.ndarray, table: pa.Table) -> None:
        """Add some galaxies.

        Parameters
        ----------
        rows : of the scores.
        place : their bins, as `Bins.place` gives them.
        weight : [n], 0 for galaxies that do not count.
        size : half-light radius in units of the seeing, [n]; NaN where it is not known.
        table : the rows' `id`, `tile` and `picture`, where they are there.
        """
        inside = place >= 0
        self.unknown += int((place == -1).sum())
        self.outside += int((place == -2).sum())
        self.flagged += int((inside & ~rows.clean).sum())
        self.seen += np.bincount(place[inside], minlength=len(self.seen))
        used = inside & rows.clean & (weight > 0)
        self.unweighted += int((inside & rows.clean & ~(weight > 0)).sum())
        if not used.any():
            return
        at, by, tree = place[used], weight[used], rows.tree[used]
        found = classes_of_answers(tree)
        cell = cell_of(size[used], rows.values["snr"][used])
        self.count += np.bincount(at, minlength=len(self.count))
        self.squares += np.bincount(at, by**2, len(self.squares))
        self.cells += np.bincount(at * (CELLS + 1) + cell, by, self.cells.size).reshape(self.cells.shape)
        mixed = _hash(tree)
        self.there[at, mixed % BITS] = True
        key = at * GROUPS + (mixed // BITS) % GROUPS
        self.weight += np.bincount(key, by, self.weight.size).reshape(self.weight.shape)
        members = csr_array((by.astype("float32"), (key, np.arange(len(key)))), shape=(self.weight.size, len(key)))
        self.classes += (members @ found).reshape(self.classes.shape)
        self._keep_examples(found * _undisturbed(tree)[:, None], table, np.flatnonzero(used))

    def merge(self, other: "Sums") -> None:
        """Add what was summed elsewhere."""
        for name in ("weight", "classes", "squares", "count", "seen", "cells"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.there |= other.there
        for name in ("outside", "unknown", "flagged", "unweighted"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for i, examples in other.examples.items():
            for example in examples:
                self._keep(i, example)

    def over(self, numbers: Sequence[int]) -> "BinSums":
        """The sums of some bins together."""
        part = list(numbers)
        full = self.there[part].any(axis=0).mean()
        count = int(self.count[part].sum())
        distinct = min(-BITS * np.log1p(-full), count) if full < FULL else count
        weight = self.weight[part].sum(axis=0)
        squares = float(self.squares[part].sum())
        effective = weight.sum() ** 2 / squares * distinct / count if count else 0.0
        return BinSums(
            weight,
            self.classes[part].sum(axis=0),
            self.cells[part].sum(axis=0),
            count,
            int(self.seen[part].sum()),
            float(effective),
        )

    def _keep_examples(self, found: np.ndarray, table: pa.Table, rows: np.ndarray) -> None:
        """Keep the best of these galaxies, those with the largest `found` [n, classes]; `rows` are of the table."""
        have = {*table.column_names}
        usable = np.arange(len(rows))
        if self.pictured:
            there = table["picture"].is_valid().to_numpy() if "picture" in have else np.zeros(len(table), dtype=bool)
            usable = np.flatnonzero(there[rows])
        for i in SEQUENCE if len(usable) else ():
            least = self.examples[i][0].fraction if len(self.examples[i]) == PICTURES else -1.0
            better = usable[found[usable, i] > least]
            for k in better[np.argsort(-found[better, i])[:PICTURES]].tolist():
                row = int(rows[k])
                name, tile = (str(table[each][row].as_py()) if each in have else "" for each in ("id", "tile"))
                place = [table[name][row].as_py() if name in have else None for name in ("x", "y", "radius")]
                x, y, radius = (float("nan") if value is None else float(value) for value in place)
                picture = (table["picture"][row].as_py() if "picture" in have else None) or b""
                self._keep(i, Example(float(found[k, i]), name, tile, x, y, radius, picture))

    def _keep(self, i: int, example: Example) -> None:
        push = heapq.heappush if len(self.examples[i]) < PICTURES else heapq.heappushpop
        push(self.examples[i], example)


def _hash(tree: np.ndarray) -> np.ndarray:
    """A hash of each galaxy, from the bits of two of its answers: int [n], of 24 bits."""
    bits = np.ascontiguousarray(tree[:, :2]).view("uint32").astype("uint64")
    mixed = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(40)).astype(int)


def _undisturbed(tree: np.ndarray) -> np.ndarray:
    """Of those asked whether a galaxy merges, the share that answers no, [n]; 1 where next to nobody is asked.

    Parameters
    ----------
    tree : tree fractions, [n, answers].
    """
    asked = tree[:, TREE.slices["merging"]].sum(axis=1)
    return np.where(asked > 0.1, tree[:, ANSWERS.index("merging_none")] / np.maximum(asked, 1e-6), 1.0)
