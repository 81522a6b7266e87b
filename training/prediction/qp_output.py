"""Posteriors of redshifts as a qp ensemble, the format of RAIL and of Rubin's photo-z (github.com/LSSTDESC/qp)."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from morph.atomic import atomic
from morph.checks import check_file
from morph.errors import InputError

#: The name by which Rubin's catalogues call columns of a method: ``{algo}_z_mode`` and so on.
ALGORITHM = "morph"
#: Redshifts of the grid.
POINTS = 601
#: The mode is the middle of the shortest interval with this share of the draws.
DENSEST = 0.2


def check_qp(path: Path) -> None:
    """InputError unless a qp ensemble can be written to `path`: its name, its folder, and the package."""
    if path.suffix.lower() not in (".hdf5", ".h5"):
        raise InputError(f"'{path}' cannot be a qp ensemble; give a name ending in .hdf5.")
    if not path.parent.is_dir():
        raise InputError(f"'{path}' cannot be written: the folder '{path.parent}' does not exist; make it first.")
    try:
        import qp  # noqa: F401
    except ImportError:
        raise InputError("qp ensembles need the package qp-prob: pip install 'morph-galaxies[photoz]'.") from None
    check_file(path)


def write_qp(ids: np.ndarray, draws: np.ndarray, path: Path) -> Path:
    """Write posteriors as densities on a grid of redshifts, with point estimates beside them; returns the path.

    Parameters
    ----------
    ids : the galaxies' names, [n].
    draws : of each posterior, [n, draws].
    path : see `check_qp`; the file appears whole or not at all.
    """
    import qp

    draws = np.maximum(draws.astype(float), 0)
    grid = np.linspace(0, 1.05 * draws.max() + 0.01, POINTS)
    ensemble = qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": densities(draws, grid)})
    ensemble.set_ancil(
        {
            "id": np.asarray(ids, dtype="S"),
            f"{ALGORITHM}_z_mode": modes(draws),
            f"{ALGORITHM}_z_median": np.median(draws, axis=1),
            f"{ALGORITHM}_z_mean": draws.mean(axis=1),
        }
    )
    with atomic(path) as building:
        ensemble.write_to(str(building))
    return path


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
