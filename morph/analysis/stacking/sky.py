"""The sky of a tile: what is unmasked at random points on it, so that only a galaxy's excess over it is stacked."""

from dataclasses import dataclass

import numpy as np

from morph.stamps.noise import scatter

#: Side of the box around a random point, pixels, and the share of it that must be unmasked.
BOX, LEAST = 48, 0.4
#: One random point for so many pixels of the tile.
PIXELS_PER_POINT = 4_000
#: Points beyond so many sigma from the surface are left out of it.
CLIP = 4.0
#: Points that a surface of the degree 0, 1, 2, 3 needs at least.
NEEDED = (1, 24, 96, 240)


@dataclass(frozen=True)
class Sky:
    """A smooth surface through random points of one band.

    Attributes
    ----------
    terms : Legendre coefficients along y and x, [d, d]; nanomaggies per square arcsec.
    shape : height and width of the tile, pixels.
    error : standard error of its mean level; NaN where there is no point.
    scatter : of the points about it.
    points : how many it rests on.
    """

    terms: np.ndarray
    shape: tuple[int, int]
    error: float
    scatter: float
    points: int

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, level: np.ndarray, shape: tuple[int, int]) -> "Sky":
        """The surface through points.

        Parameters
        ----------
        x, y : places, pixels.
        level : mean brightness there; NaN where too little is unmasked.
        shape : of the tile.
        """
        good = np.isfinite(level)
        if not good.any():
            return cls(np.full((1, 1), np.nan), shape, np.nan, np.nan, 0)
        degree = int(np.searchsorted(NEEDED, good.sum(), side="right")) - 1
        powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        vander = _vander(x, y, shape, degree)
        columns = np.stack([vander[:, i, j] for i, j in powers], axis=1)
        kept = good.copy()
        for _ in range(5):
            found, *_ = np.linalg.lstsq(columns[kept], level[kept], rcond=None)
            residual = level - columns @ found
            spread = scatter(residual[kept])
            again = good & (abs(residual - np.median(residual[kept])) <= CLIP * max(spread, 1e-12))
            if (again == kept).all() or again.sum() <= len(powers):
                break
            kept = again
        terms = np.zeros((degree + 1, degree + 1))
        for (i, j), value in zip(powers, found, strict=True):
            terms[i, j] = value
        spread = float(residual[kept].std()) if kept.sum() > 1 else np.nan
        return cls(terms, shape, spread / np.sqrt(max(kept.sum() - len(powers), 1)), spread, int(kept.sum()))

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The level at places (pixels): [n]."""
        vander = _vander(x, y, self.shape, len(self.terms) - 1)
        return np.einsum("nij,ij->n", vander, self.terms)


def _vander(x: np.ndarray, y: np.ndarray, shape: tuple[int, int], degree: int) -> np.ndarray:
    height, width = (max(length - 1, 1) for length in shape)
    rows, columns = 2 * np.asarray(y, dtype=float) / height - 1, 2 * np.asarray(x, dtype=float) / width - 1
    found = np.polynomial.legendre.legvander2d(rows, columns, [degree, degree])
    return found.reshape(-1, degree + 1, degree + 1)


def box_levels(planes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean of each band in boxes around places: [n, bands].

    Parameters
    ----------
    planes : [bands, h, w], NaN where masked.
    x, y : the places, pixels of `planes`.

    Returns
    -------
    float [n, bands], NaN where less than `LEAST` of a box is unmasked.
    """
    found = np.full((len(x), len(planes)), np.nan)
    half = BOX // 2
    for k, (column, row) in enumerate(zip(np.round(x).astype(int), np.round(y).astype(int), strict=True)):
        part = planes[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half]
        known = np.isfinite(part)
        number = known.sum(axis=(1, 2))
        enough = number >= LEAST * BOX**2
        found[k, enough] = np.where(known, part, 0).sum(axis=(1, 2), dtype="float64")[enough] / number[enough]
    return found
