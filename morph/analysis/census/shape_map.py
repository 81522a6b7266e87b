"""A map of shapes in two dimensions, made of the similarity vectors: along the sequence, and across it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

#: Fewer galaxies than this do not make a map.
FEWEST = 100

#: Share of the mean variance that is added to each direction's, so that directions without any do not count.
RIDGE = 0.01

#: Places on the map, along each axis, that hold one picture each.
CELLS = 14


@dataclass(frozen=True)
class ShapeMap:
    """Two directions in the space of shapes.

    The first is that along which the type grows, by a linear regression, and its coordinate is the type that it
    predicts; the second is the direction at right angles in which shapes differ most.

    Attributes
    ----------
    mean : of the vectors, [k].
    axes : [k, 2].
    origin : of the coordinates.
    """

    mean: np.ndarray
    axes: np.ndarray
    origin: np.ndarray

    @classmethod
    def fit(cls, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> "ShapeMap | None":
        """Fit the directions.

        Parameters
        ----------
        parts : vectors [n, k] and types [n] of some galaxies at a time; rows with NaN are left out.

        Returns
        -------
        None where fewer than `FEWEST` galaxies have both.
        """
        count, moments = 0, None
        for vectors, types in parts:
            usable = np.isfinite(types) & np.isfinite(vectors).all(axis=1) & (vectors.shape[1] > 0)
            if not usable.any():
                continue
            each = np.column_stack([vectors[usable], types[usable], np.ones(usable.sum())]).astype(float)
            count += len(each)
            moments = each.T @ each if moments is None else moments + each.T @ each
        if moments is None or count < FEWEST:
            return None
        mean = moments[-1, :-1] / count
        covariance = moments[:-1, :-1] / count - np.outer(mean, mean)
        of_vectors, with_type = covariance[:-1, :-1], covariance[:-1, -1]
        ridge = RIDGE * np.trace(of_vectors) / len(of_vectors) * np.eye(len(of_vectors))
        along = np.linalg.solve(of_vectors + ridge, with_type)
        unit = along / max(np.linalg.norm(along), 1e-12)
        beside = np.eye(len(unit)) - np.outer(unit, unit)
        variance, directions = np.linalg.eigh(beside @ of_vectors @ beside)
        across = directions[:, -1] / np.sqrt(max(variance[-1], 1e-12))
        # Of the two signs the one is taken that makes the largest number positive, always the same.
        across *= np.sign(across[np.abs(across).argmax()])
        return cls(mean[:-1], np.stack([along, across], axis=1), np.array([mean[-1], 0.0]))

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """The places of galaxies with these vectors [n, k]: [n, 2], NaN without a vector."""
        if vectors.shape[1] != len(self.mean):
            return np.full((len(vectors), 2), np.nan)
        return (vectors - self.mean) @ self.axes + self.origin


@dataclass
class Shown:
    """One galaxy with a picture in each cell of the map, and a sample of all places.

    Attributes
    ----------
    pictures : {cell: (x, y, JPEG file)}.
    places : places of some galaxies, each [n, 2].
    """

    pictures: dict[tuple[int, int], tuple[float, float, bytes]] = field(default_factory=dict)
    places: list[np.ndarray] = field(default_factory=list)

    def add(self, table: pa.Table, types: np.ndarray, places: np.ndarray, most: int = 2000) -> None:
        """Keep some of these galaxies.

        Parameters
        ----------
        table : with the column `picture`, if there are any.
        types, places : [n] and [n, 2].
        most : places that are kept of one table.
        """
        known = np.flatnonzero(np.isfinite(places).all(axis=1) & np.isfinite(types))
        self.places.append(places[known[:: max(1, len(known) // most)]])
        if "picture" not in table.column_names:
            return
        there = table["picture"].is_valid().to_numpy()
        for row in known[there[known]].tolist():
            x, y = places[row].tolist()
            cell = (int(np.floor((x + 6) / 14 * CELLS)), int(np.floor((y + 3.5) / 7 * CELLS)))
            if cell not in self.pictures:
                self.pictures[cell] = (x, y, table["picture"][row].as_py())


def vectors_of(table: pa.Table) -> np.ndarray:
    """The similarity vectors of rows, [n, k]; k is 0 where they have none."""
    if "similarity" not in table.column_names:
        return np.zeros((len(table), 0), dtype="float32")
    column = table["similarity"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
