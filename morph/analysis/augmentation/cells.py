"""Galaxies counted in cells of magnitude and colours: where spectra are missing, and the weights that undo it."""

from dataclasses import dataclass

import numpy as np

#: Sides of a cell: magnitudes in r, in g - r and in r - i.
CELL = (0.5, 0.1, 0.1)
#: Photometric galaxies that a cell needs before anything is sampled into it.
FEWEST = 3


@dataclass(frozen=True)
class Cells:
    """The numbers of galaxies in cells of magnitude and colours.

    Attributes
    ----------
    of_photometric, of_spectroscopic : the cell of each galaxy, int; those outside all photometric cells are -1.
    photometric, spectroscopic : galaxies in each cell.
    places : of the cells along magnitude and colours, int [cells, 3].
    """

    of_photometric: np.ndarray
    of_spectroscopic: np.ndarray
    photometric: np.ndarray
    spectroscopic: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, photometric: np.ndarray, spectroscopic: np.ndarray) -> "Cells":
        """Count galaxies.

        Parameters
        ----------
        photometric, spectroscopic : magnitudes in g, r, i, [n, 3] each.

        Examples
        --------
        >>> cells = Cells.of(np.array([[18.0, 17.1, 16.8]] * 3 + [[20.0, 19.1, 18.8]]), np.array([[18.0, 17.1, 16.8]]))
        >>> cells.photometric.tolist(), cells.spectroscopic.tolist(), cells.of_spectroscopic.tolist()
        ([3, 1], [1, 0], [0])
        """
        places, numbers = np.unique(_places(photometric), axis=0, return_inverse=True)
        theirs = _numbers(places, spectroscopic)
        counts = np.bincount(theirs[theirs >= 0], minlength=len(places))
        return cls(numbers.ravel(), theirs, np.bincount(numbers.ravel()), counts, places)

    def find(self, magnitudes: np.ndarray) -> np.ndarray:
        """The cells of other galaxies by their magnitudes in g, r, i [n, 3]: int [n], -1 for none."""
        return _numbers(self.places, magnitudes)

    def wanted(self, number: int | None = None) -> np.ndarray:
        """How many galaxies to sample in each cell.

        Parameters
        ----------
        number : of all samples; by default as many as give each cell the density of the cells where the typical
            spectroscopic galaxy is.
        """
        filled = self.photometric >= FEWEST
        if not filled.any():
            return np.zeros(len(filled))
        if number is None:
            ratio = self.spectroscopic / self.photometric
            order = np.argsort(ratio)
            half = np.searchsorted(np.cumsum(self.spectroscopic[order]), 0.5 * self.spectroscopic.sum())
            lacking = np.rint(ratio[order[half]] * self.photometric) - self.spectroscopic
            return np.where(filled, np.maximum(lacking, 0), 0)
        low, high = 0.0, (number + self.spectroscopic.sum()) / max(self.photometric[filled].min(initial=1), 1)
        for _ in range(60):
            density = 0.5 * (low + high)
            lacking = np.where(filled, np.maximum(density * self.photometric - self.spectroscopic, 0), 0)
            low, high = (density, high) if lacking.sum() < number else (low, density)
        return _rounded(lacking, number)

    def rows(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Photometric galaxies of the cells, as often as wanted in turn: int [sum of wanted].

        Parameters
        ----------
        wanted : of each cell.
        random : which comes first.
        """
        order = random.permutation(len(self.of_photometric))
        order = order[np.argsort(self.of_photometric[order], kind="stable")]
        members = np.split(order, np.cumsum(self.photometric)[:-1])
        return np.concatenate(
            [np.resize(own, int(count)) for own, count in zip(members, wanted, strict=True) if count]
        )

    def weights(self, of_sampled: np.ndarray) -> np.ndarray:
        """The weight of every row of a set, spectroscopic ones first: with them, each cell counts as it does among the
        photometric galaxies; float [n], mean 1.

        Parameters
        ----------
        of_sampled : the cells of the samples, int; -1 for none.
        """
        of = np.concatenate([self.of_spectroscopic, of_sampled])
        there = np.bincount(of[of >= 0], minlength=len(self.photometric))
        weights = np.where(of >= 0, self.photometric[of] / np.maximum(there[of], 1), 0.0)
        return weights / weights.mean()


def _places(magnitudes: np.ndarray) -> np.ndarray:
    """The cell of each galaxy along magnitude and colours, int [n, 3]."""
    g, r, i = magnitudes.T
    return np.floor(np.stack([r, g - r, r - i], axis=1) / CELL).astype(int)


def _numbers(places: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    index = {tuple(place): number for number, place in enumerate(places.tolist())}
    return np.array([index.get(tuple(place), -1) for place in _places(magnitudes).tolist()], int)


def _rounded(values: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers with this sum, by the largest remainders."""
    whole = np.floor(values)
    rest = max(0, total - int(whole.sum()))
    whole[np.argsort(whole - values, kind="stable")[:rest]] += 1
    return whole
