"""How well galaxies are seen: their size in units of the seeing, and their signal to noise, in cells.

What is seen of a galaxy depends on both. A large survey's galaxies are counted by cell, so that labelled galaxies and
their degraded copies can be chosen which are seen as well as those of a bin.
"""

import numpy as np

#: Edges of the cells: half-light radius over the seeing's full width at half maximum, and signal to noise. What lies
#: beyond the first or the last edge belongs to the cell beside it.
SIZES = 0.6 * 1.25 ** np.arange(11)
SNRS = 10.0 * 1.5 ** np.arange(11)

#: Cells in all.
CELLS = (len(SIZES) - 1) * (len(SNRS) - 1)

#: How far a galaxy may be from a cell's centre and still stand for those in it: the width of a Gaussian, in the
#: logarithm (base 10) of size and of signal to noise.
WIDTHS = np.array([0.08, 0.12])

#: Galaxies that must stand for a cell; where fewer are near, the width grows.
ENOUGH = 60.0


def cell_of(size: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """The cell of each galaxy, int [n]; `CELLS` where size or signal to noise is not known.

    >>> cell_of(np.array([0.1, 100, np.nan]), np.array([1.0, 1e4, 50])).tolist()
    [0, 99, 100]
    """
    known = np.isfinite(size) & np.isfinite(snr)
    row = np.clip(np.searchsorted(SIZES, np.where(known, size, 1), side="right") - 1, 0, len(SIZES) - 2)
    column = np.clip(np.searchsorted(SNRS, np.where(known, snr, 1), side="right") - 1, 0, len(SNRS) - 2)
    return np.where(known, row * (len(SNRS) - 1) + column, CELLS)


def centres() -> np.ndarray:
    """Logarithms (base 10) of size and signal to noise at the cells' centres, [cells, 2]."""
    size, snr = (np.log10(np.sqrt(edges[1:] * edges[:-1])) for edges in (SIZES, SNRS))
    return np.stack(np.meshgrid(size, snr, indexing="ij"), axis=-1).reshape(-1, 2)


def likeness(size: np.ndarray, snr: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """How well each galaxy stands for each cell, [cells, n]: weights that add up to one in every cell.

    Parameters
    ----------
    size, snr : [n]; what lies beyond the outermost cells counts as in them.
    importance : by how much each galaxy counts, [n].
    """
    edges = (SIZES, SNRS)
    inside = [np.log10(np.clip(each, *edge[[0, -1]])) for each, edge in zip((size, snr), edges, strict=True)]
    apart = ((centres()[:, None] - np.stack(inside, axis=1)[None]) / WIDTHS) ** 2
    distance, wider = apart.sum(axis=-1), np.ones((CELLS, 1))
    for _ in range(8):
        weight = importance * np.exp(-0.5 * distance / wider**2)
        few = weight.sum(axis=1, keepdims=True) < min(ENOUGH, 0.5 * len(size))
        if not few.any():
            break
        wider = np.where(few, wider * 1.3, wider)
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-30)
