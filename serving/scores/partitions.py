"""Cutting the sky into HEALPix pixels (Gorski et al. 2005) that hold about as many galaxies each.

Pixels are numbered in the nested scheme, in which a pixel's number is that of its parent with two bits more, so that
the pixels of any order inside a partition are one range of numbers.
"""

from dataclasses import dataclass

import numpy as np

#: The order at which every place has a number of its own, 0.4 milliarcsec across.
FINEST = 29

#: The order of the cells in which galaxies are counted, 3.4 arcmin across; no partition is smaller.
CELLS = 10

#: The order of the cells that a margin is made of. They are 26 arcsec across, at the narrowest more than 10.
MARGIN = 13


@dataclass(frozen=True)
class Partitions:
    """Pixels of several orders that do not overlap, sorted by where they lie in the nested scheme.

    Attributes
    ----------
    order, pixel : int64 [partitions].
    """

    order: np.ndarray
    pixel: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, counts: np.ndarray, most: int) -> "Partitions":
        """The largest pixels with at most `most` galaxies; a cell that has more is a partition all the same.

        Parameters
        ----------
        cells : numbers at order `CELLS`, each once; counts : the galaxies in each.
        """
        orders, pixels = [], []
        for order in range(CELLS + 1):
            parents, which = np.unique(cells >> 2 * (CELLS - order), return_inverse=True)
            few = (np.bincount(which, counts) <= most) | (order == CELLS)
            orders.append(np.full(few.sum(), order))
            pixels.append(parents[few])
            left = ~few[which]
            cells, counts = cells[left], counts[left]
            if not len(cells):
                break
        found = cls(np.concatenate(orders), np.concatenate(pixels))
        first = np.argsort(found.pixel << 2 * (FINEST - found.order))
        return cls(found.order[first], found.pixel[first])

    def __len__(self) -> int:
        return len(self.pixel)

    def find(self, pixel: np.ndarray, order: int) -> np.ndarray:
        """Which partition holds each pixel of an order no coarser than theirs; -1 where none does.

        Parameters
        ----------
        pixel : int64, any shape; negative numbers lie nowhere.
        """
        place = pixel << 2 * (FINEST - order)
        begin = self.pixel << 2 * (FINEST - self.order)
        end = (self.pixel + 1) << 2 * (FINEST - self.order)
        found = np.searchsorted(begin, place, side="right") - 1
        return np.where((found >= 0) & (pixel >= 0) & (place < end[found]), found, -1)

    @property
    def sky(self) -> float:
        """The part of the sky that they cover."""
        return float((0.25**self.order).sum() / 12)


def number(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """The number at order `FINEST` of places on the sky, in degrees: int64 [n], -1 where a coordinate is NaN."""
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    known = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    found = np.full(len(ra), -1, dtype="int64")
    found[known] = lonlat_to_healpix(ra[known] * units.deg, dec[known] * units.deg, 1 << FINEST, order="nested")
    return found


def around(pixel: np.ndarray, order: int) -> np.ndarray:
    """The eight pixels around each, -1 where there are only seven: int64 [8, n]."""
    from astropy_healpix import neighbours

    return neighbours(pixel, 1 << order, order="nested")
