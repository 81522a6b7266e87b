"""Posteriors as densities, from draws of them."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

#: Redshifts of a grid of densities.
POINTS = 601
#: The mode is the middle of the shortest interval with this share of the draws.
DENSEST = 0.2
#: Two peaks are two where the density between them falls below this share of the lower one.
VALLEY = 0.8


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


def second_peaks(densities: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The share of each density in its second peak, [n]: what lies on the far side of the deepest valley beside the
    highest peak, or 0 where there is none.

    A valley is where the density falls below `VALLEY` of the lower of the peaks on its two sides, so that the ripple
    of a few draws is none.

    Parameters
    ----------
    densities : of unit integral on the grid, [n, points].
    grid : redshifts at equal steps.

    >>> grid = np.linspace(0, 1, 101)
    >>> near, far = (np.exp(-0.5 * ((grid - peak) / 0.05) ** 2) for peak in (0.3, 0.7))
    >>> second_peaks(np.stack([near, 3 * near + far]), grid).round(2).tolist()
    [0.0, 0.25]
    """
    share = np.zeros(len(densities))
    for row, density in enumerate(densities):
        highest = int(density.argmax())
        for side in (density[highest::-1], density[highest:]):
            # The highest density from each place on, and the lowest between the peak and it.
            beyond = np.maximum.accumulate(side[::-1])[::-1]
            parted = np.flatnonzero(side < VALLEY * beyond)
            if len(parted):
                share[row] = max(share[row], side[parted[side[parted].argmin()] :].sum() / density.sum())
    return share


def _shortest(draws: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the shortest interval with a share of the draws, [n] each."""
    ordered = np.sort(draws.astype(float), axis=1)
    inside = max(int(share * ordered.shape[1]), 1)
    first = (ordered[:, inside:] - ordered[:, :-inside]).argmin(axis=1)
    rows = np.arange(len(ordered))
    return ordered[rows, first], ordered[rows, first + inside]
