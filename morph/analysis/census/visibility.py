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


def likeness(size: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """How well each galaxy stands for each cell, [cells, n]: weights that add up to one in every cell.

    Parameters
    ----------
    size, snr : [n]; what lies beyond the outermost cells counts as in them.
    """
    distance, wider = _apart(size, snr), np.ones((CELLS, 1))
    for _ in range(8):
        weight = np.exp(-0.5 * distance / wider**2)
        few = weight.sum(axis=1, keepdims=True) < min(ENOUGH, 0.5 * len(size))
        if not few.any():
            break
        wider = np.where(few, wider * 1.3, wider)
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-30)


def sufficiency(size: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """Whether there are enough galaxies near each cell to stand for it, [cells]: 1, less where they are fewer than
    `ENOUGH`. Parameters as for `likeness`."""
    return np.minimum(np.exp(-0.5 * _apart(size, snr)).sum(axis=1) / ENOUGH, 1)


def _apart(size: np.ndarray, snr: np.ndarray) -> np.ndarray:
    """Squared distance of each galaxy from each cell's centre in units of `WIDTHS`, [cells, n]."""
    inside = [np.log10(np.clip(each, *edge[[0, -1]])) for each, edge in zip((size, snr), (SIZES, SNRS), strict=True)]
    return (((centres()[:, None] - np.stack(inside, axis=1)[None]) / WIDTHS) ** 2).sum(axis=-1)


def in_common(sample: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """How far a sample's galaxies are seen like the labelled ones as a whole, [cells], 0 to 1.

    The share of a cell's galaxies that both distributions have, times what they have in common in all cells: 1 where
    the sample is seen like the labelled galaxies, near 0 everywhere where it covers a small part of their range.

    Parameters
    ----------
    sample, labelled : numbers of galaxies in the cells, [cells].
    """
    place = centres() / WIDTHS
    kernel = np.exp(-0.5 * ((place[:, None] - place[None]) ** 2).sum(axis=-1))
    # Of a hundred galaxies no two samples fill the same cells.
    one, other = (
        each / max(each.sum(), 1e-30) @ (kernel / kernel.sum(axis=1, keepdims=True)) for each in (sample, labelled)
    )
    both = np.minimum(one, other)
    return both.sum() * both / np.maximum(one, 1e-30)
