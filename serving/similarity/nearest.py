"""The galaxies nearest to a query: of few by comparing all, of many by lists and a comparison of the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.similarity.lists import PROBED_PART, Lists
from serving.similarity.shard import Shard

#: An index of up to so many galaxies has no lists: to compare all takes as long as to look into them.
SMALL = 10_000
#: Up to so many galaxies that meet a condition, all of them are compared: the answer is exact.
EXACT = 150_000
#: Galaxies that are compared by their whole vectors, of those that are nearest by their codes.
CANDIDATES = 1000
#: What each of many shards is asked for first: at least so many, and so many times its share.
LEAST, SHARE = 64, 4
#: Hits beyond which all galaxies are compared.
MANY = 2_500

#: Numbers of chosen galaxies in each shard; None for all.
Chosen = list[np.ndarray | None]


@dataclass(frozen=True, order=True)
class Place:
    """A galaxy: its shard's number, and its own in there."""

    shard: int
    row: int


@dataclass(frozen=True)
class Nearest:
    """Finds the nearest galaxies of some shards.

    Attributes
    ----------
    shards : to be searched.
    lists : of all; None where there are none, and all galaxies are compared.
    opened : the lists of each shard.
    """

    shards: Sequence[Shard]
    lists: Lists | None = None
    opened: Sequence[Any] = ()

    @classmethod
    def of(cls, folder: Path, shards: Sequence[Shard], name: str) -> "Nearest":
        """Open the lists of an index. InputError where they are missing or damaged.

        Parameters
        ----------
        folder : of the index.
        shards : of the index.
        name : of its lists; empty where it has none.
        """
        if not name:
            return cls(shards)
        lists = Lists.read(folder, name)
        return cls(shards, lists, [lists.open(shard.folder / f"{name}.faiss") for shard in shards])

    def find(self, query: np.ndarray, n: int, chosen: Chosen) -> list[tuple[Place, float]]:
        """The n nearest galaxies, best first, with their cosines; fewer only where fewer are chosen.

        Parameters
        ----------
        query : of unit length, float32 [d].
        n : how many.
        chosen : the galaxies that count.
        """
        counts = [len(shard) if rows is None else len(rows) for shard, rows in zip(self.shards, chosen, strict=True)]
        total = sum(counts)
        few = SMALL if all(rows is None for rows in chosen) else EXACT
        if total <= few or n > MANY or self.lists is None:
            return self._exactly(query, n, chosen)
        part = PROBED_PART * min(sum(map(len, self.shards)) / total, 16)
        most = max(CANDIDATES, 2 * n)
        while True:
            found = self.by_lists(query, most, chosen, counts, part)
            if len(found[0]) >= min(n, total) or part >= 1:
                return self._ranked(query, *found, n)
            part = min(4 * part, 1.0)

    def _exactly(self, query: np.ndarray, n: int, chosen: Chosen) -> list[tuple[Place, float]]:
        shards, rows = [np.empty(0, int)], [np.empty(0, int)]
        cosines = [np.empty(0, "float32")]
        for number, (shard, own) in enumerate(zip(self.shards, chosen, strict=True)):
            if own is not None and not len(own):
                continue
            found = shard.nearest(query, n + 8, own)
            cosines.append(found[0])
            rows.append(found[1])
            shards.append(np.full(len(found[1]), number))
        best = _largest(np.concatenate(cosines), n + 8)
        return self._ranked(query, np.concatenate(shards)[best], np.concatenate(rows)[best], n)

    def by_lists(
        self, query: np.ndarray, most: int, chosen: Chosen, counts: Sequence[int], part: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The galaxies that are nearest by their codes.

        Parameters
        ----------
        query : of unit length, float32 [d].
        most : how many, at most.
        chosen : the galaxies that count; counts : how many these are in each shard.
        part : of the lists that are looked into, at least.

        Returns
        -------
        Their shards and rows, in no order.
        """
        assert self.lists is not None
        lists, probes = self.lists, self.lists.probes(query, part)
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def look(number: int, most: int) -> None:
            own, mask = chosen[number], None
            if own is not None:
                mask = np.zeros(len(self.shards[number]), bool)
                mask[own] = True
            found[number] = lists.candidates(self.opened[number], query, probes, min(most, counts[number]), mask)

        filled = [number for number, count in enumerate(counts) if count]
        # Most of what a shard of many holds is not among the best of all, and to sort it takes longer than to find it.
        share = min(most, max(LEAST, SHARE * most // len(filled)))
        for number in filled:
            look(number, share)
        if share < most:
            worst = np.sort(np.concatenate([cosines for cosines, _ in found.values()]))[-most:][0]
            for number, (cosines, _) in list(found.items()):
                if len(cosines) == share and cosines.min() >= worst:
                    look(number, most)
        shards = np.concatenate([np.full(len(rows), number) for number, (_, rows) in found.items()])
        best = _largest(np.concatenate([cosines for cosines, _ in found.values()]), most)
        return shards[best], np.concatenate([rows for _, rows in found.values()])[best]

    def _ranked(self, query: np.ndarray, shards: np.ndarray, rows: np.ndarray, n: int) -> list[tuple[Place, float]]:
        """Galaxies in the order of the cosines of their whole vectors; of equals, the first in the index."""
        cosines = np.empty(len(rows), "float32")
        for number in np.unique(shards):
            own = np.flatnonzero(shards == number)
            cosines[own] = self.shards[int(number)].unit_vectors(rows[own]) @ query
        order = np.lexsort((rows, shards, -cosines))[:n]
        return [(Place(int(shards[k]), int(rows[k])), min(float(cosines[k]), 1.0)) for k in order]


def _largest(values: np.ndarray, most: int) -> np.ndarray:
    """The places of the largest values, in no order."""
    return np.arange(len(values)) if len(values) <= most else np.argpartition(-values, most - 1)[:most]
