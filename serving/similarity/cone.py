"""A cone on the sky: which of the rows in HEALPix order lie in it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from morph.errors import InputError
from serving.scores.hats import FINEST

#: Cells of HEALPix across a cone, at most.
_ACROSS = 8


@dataclass(frozen=True)
class Cone:
    """A circle on the sky, in degrees."""

    ra: float
    dec: float
    radius: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.ra, self.dec, self.radius]).all():
            raise InputError("A cone is RA,DEC,RADIUS in degrees, three numbers.")
        if not -360 <= self.ra <= 360 or not -90 <= self.dec <= 90:
            raise InputError(
                f"There is no position {self.ra:g}, {self.dec:g}; right ascension is 0 to 360 degrees, declination "
                "-90 to 90."
            )
        if not 0 < self.radius <= 180:
            raise InputError(f"A cone of {self.radius:g} degrees; its radius lies between 0 and 180 degrees.")

    def contains(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """bool [n]; False where a coordinate is NaN."""
        return separation(self.ra, self.dec, ra, dec) <= self.radius

    def rows_among(self, place: np.ndarray) -> np.ndarray:
        """The rows that may lie in it: those in the cells of HEALPix that it touches.

        Parameters
        ----------
        place : HEALPix numbers at order `FINEST`, sorted.
        """
        first, last = (np.searchsorted(place, edge) for edge in self._cells)
        parts = [np.arange(a, b) for a, b in zip(first, last, strict=True) if b > a]
        return np.concatenate(parts) if parts else np.empty(0, "int64")

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The first numbers in the cells that it touches, and those after the last, at order `FINEST`."""
        from astropy import units
        from astropy_healpix import HEALPix

        side = 58.6 / (self.radius * 2 / _ACROSS)
        order = int(np.clip(np.floor(np.log2(max(side, 1))), 0, 24))
        healpix = HEALPix(1 << order, order="nested")
        found = healpix.cone_search_lonlat(self.ra * units.deg, self.dec * units.deg, self.radius * units.deg)
        cells, shift = np.sort(found).astype("int64"), 2 * (FINEST - order)
        return cells << shift, (cells + 1) << shift


def separation(ra: float, dec: float, others_ra: np.ndarray, others_dec: np.ndarray) -> np.ndarray:
    """The angles between a position and others; exact for small ones (haversine).

    Parameters
    ----------
    ra, dec : the position, degrees.
    others_ra, others_dec : [n], degrees.

    Returns
    -------
    [n], degrees.
    """
    a, b = np.radians(dec), np.radians(others_dec)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(others_ra - ra) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
