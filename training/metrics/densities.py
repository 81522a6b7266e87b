"""Posteriors as densities, from draws of them."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

#: Redshifts of a grid of densities.
POINTS = 601
#: The mode is the middle of the shortest interval with this share of the draws.
DENSEST = 0.2


def grid_of(draws: np.ndarray) -> np.ndarray:
    """Redshifts at equal steps from 0 to beyond all draws, [`POINTS`]."""
    return np.linspace(0, 1.05 * draws.max() + 0.01, POINTS)


def densities(draws: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Kernel densities of posteriors, of unit integral by the trapezoidal rule: float64 [n, points].

    The width of the Gaussian kernel is Silverman's (1986, equation 3.31), by the shortest interval with half of the
    draws, so that a second peak does not blur the first. It is reflected at both ends of the grid.

    Parameters
    ----------
    draws : of each posterior, within the grid, [n, draws].
    grid : redshifts at equal steps from 0.
    """
    step = grid[1] - grid[0]
    edges = np.concatenate([grid - step / 2, grid[-1:] + step / 2])
    first, last = _shortest(draws, 0.5)
    widths = 0.9 * (last - first) / 1.349 * draws.shape[1] ** -0.2
    found = np.empty((len(draws), len(grid)))
    for row, (some, width) in enumerate(zip(draws, widths, strict=True)):
        counts, _ = np.histogram(some, edges)
        found[row] = gaussian_filter1d(counts.astype(float), max(width / step, 0.5), mode="reflect")
    return found / np.trapezoid(found, grid, axis=1)[:, None]


def modes(draws: np.ndarray) -> np.ndarray:
    """The middle of the shortest interval with `DENSEST` of the draws [n, draws]: float64 [n].

    >>> modes(np.array([[0.1, 0.5, 0.51, 0.52, 0.9]])).tolist()
    [0.505]
    """
    first, last = _shortest(draws, DENSEST)
    return (first + last) / 2


def _shortest(draws: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the shortest interval with a share of the draws, [n] each."""
    ordered = np.sort(draws.astype(float), axis=1)
    inside = max(int(share * ordered.shape[1]), 1)
    first = (ordered[:, inside:] - ordered[:, :-inside]).argmin(axis=1)
    rows = np.arange(len(ordered))
    return ordered[rows, first], ordered[rows, first + inside]
