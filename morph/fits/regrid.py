"""Images whose pixels are not square, or whose axes are not at right angles, on a grid of square pixels.

Everything that is measured on an image takes a pixel for a square of sky. Few images need what is here: those whose
header says otherwise are resampled as their rows are read, with the whole matrix that makes sky of pixels. The flux of
a pixel goes to the pixels that cover it, and the new pixels are as large as the old ones, so that neither total fluxes
nor zero points change.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.fits.blank_pixels import without_data
from morph.fits.resampling import LEAST_COVERAGE, REACH, weights_along
from morph.fits.rows import Rows

#: Pixels whose scales, along any two directions, differ by less than this part count as square.
SQUARE = 0.01

#: All cards of an image's sky coordinates: frame, projection, matrix, distortions.
GRID_CARDS = re.compile(
    r"^(?:WCSAXES|RADE(?:SYS|CSYS)|EQUINOX|EPOCH|LONPOLE|LATPOLE|(?:CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]"
    r"|(?:CD|PC)[12]_[12]|PC00[12]00[12]|PV[12]_\d+|[AB]P?_(?:ORDER|\d_\d))$"
)

#: Cards that a header's matrix may be made of.
_MATRIX = ("CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2", "CROTA2")


@dataclass(frozen=True)
class Regrid:
    """How places on the image as it is stored follow from places on the square grid, counted from the first edges:
    ``x = a X + b Y + c`` and ``y = d Y``. The determinant ``a d`` is 1: a pixel keeps its area.

    Attributes
    ----------
    stored, shape : height and width of the image as it is stored, and on the square grid.
    """

    a: float
    b: float
    c: float
    d: float
    stored: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: np.ndarray, stored: tuple[int, int]) -> "Regrid | None":
        """For an image with this matrix from pixels to sky, [2, 2]; None where its pixels are square."""
        widest, narrowest = np.linalg.svd(matrix, compute_uv=False)
        if widest <= narrowest * (1 + SQUARE):
            return None
        first, second = matrix.T
        scale = np.sqrt(widest * narrowest)
        a = scale / np.linalg.norm(first)
        # What is left of the second axis at right angles to the first has to become as long as the scale.
        along = first @ second / (first @ first)
        d = scale / np.linalg.norm(second - along * first)
        b = -along * d
        height, width = stored
        rows = int(np.ceil(height / d - 1e-9))
        low, high = min(0.0, -b * rows), max(0.0, -b * rows)
        columns = int(np.ceil((width + high - low) / a - 1e-9))
        return cls(float(a), float(b), float(low), float(d), stored, (rows, columns))

    def to_square(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places on the square grid (pixels, 0-based) of places on the image as it is stored."""
        row = (np.asarray(y, dtype=float) + 0.5) / self.d
        return (np.asarray(x, dtype=float) + 0.5 - self.b * row - self.c) / self.a - 0.5, row - 0.5

    def header(self, header: fits.Header, path: Path) -> fits.Header:
        """The header of the image on the square grid. InputError when it has a distortion in pixels (SIP)."""
        if "A_ORDER" in header or "B_ORDER" in header:
            raise InputError(
                f"'{path}' has pixels that are not square, and a distortion (SIP) on top; resample it first, with "
                "SWarp for instance."
            )
        wcs = WCS(header).celestial
        matrix = wcs.pixel_scale_matrix @ np.array([[self.a, self.b], [0, self.d]])
        x, y = self.to_square(*(np.asarray(pixel) - 1 for pixel in wcs.wcs.crpix))
        squared = header.copy()
        for card in _MATRIX:
            squared.remove(card, ignore_missing=True)
        squared.update({"CRPIX1": float(x) + 1, "CRPIX2": float(y) + 1})
        squared.update({f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)})
        return squared


class _Regridded(Rows):
    """Rows on the square grid, made of rows of the stored image."""

    def __init__(self, rows: Rows, regrid: Regrid):
        self._rows, self._regrid = rows, regrid
        self.shape = regrid.shape

    def stored(self, start: int, stop: int) -> tuple[int, np.ndarray]:
        """The stored rows that rows `start` to `stop` of the grid need, and the number of the first."""
        height, step = self._regrid.stored[0], self._regrid.d
        low = min(max(int(np.floor(step * start)) - REACH, 0), height - 1)
        return low, self._rows(low, min(int(np.ceil(step * stop)) + REACH, height))


class SquareRows(_Regridded):
    """Rows of flux on the square grid; NaN where less than half of a pixel has data."""

    def __call__(self, start: int, stop: int) -> np.ndarray:
        grid = self._regrid
        low, stored = self.stored(start, stop)
        stored = stored.astype("float64")
        # What stands for missing data would be one value no more once it is resampled.
        stored.flat[without_data(stored)[0]] = np.nan
        known = np.isfinite(stored)
        middle, side = grid.d * (start + stop) / 2 - 0.5 - low, grid.d * (stop - start)
        flux = _along_rows(np.where(known, stored, 0), middle, side, stop - start, smooth=grid.d < 1)
        covered = _along_rows(known.astype(float), middle, side, stop - start, smooth=False)
        flux, covered = self._along_columns(flux, start, grid.a < 1), self._along_columns(covered, start, False)
        enough = covered >= LEAST_COVERAGE
        return np.where(enough, flux / np.where(enough, np.minimum(covered, 1), 1), np.nan).astype("float32")

    def _along_columns(self, rows: np.ndarray, start: int, smooth: bool) -> np.ndarray:
        from scipy.interpolate import CubicSpline  # a client that reads other images does without

        grid = self._regrid
        columns, width = grid.stored[1], grid.shape[1]
        total = np.zeros((len(rows), columns + 1))
        np.cumsum(rows, axis=1, out=total[:, 1:])
        found = np.empty((len(rows), width))
        for k, one in enumerate(total):
            edges = np.clip(grid.a * np.arange(width + 1) + grid.b * (start + k + 0.5) + grid.c, 0, columns)
            before = (
                CubicSpline(np.arange(columns + 1), one)(edges)
                if smooth
                else np.interp(edges, np.arange(columns + 1), one)
            )
            found[k] = np.diff(before)
        return found


class NearestRows(_Regridded):
    """Rows of a mask or of weights on the square grid: each pixel's is the nearest one's, 0 outside the image."""

    def __call__(self, start: int, stop: int) -> np.ndarray:
        grid = self._regrid
        low, stored = self.stored(start, stop)
        row = np.arange(start, stop) + 0.5
        y = np.clip((grid.d * row).astype(int) - low, 0, len(stored) - 1)
        x = np.floor(grid.a * (np.arange(grid.shape[1]) + 0.5) + grid.b * row[:, None] + grid.c).astype(int)
        inside = (x >= 0) & (x < grid.stored[1]) & ((grid.d * row) < grid.stored[0])[:, None]
        return np.where(inside, stored[y[:, None], np.clip(x, 0, grid.stored[1] - 1)], 0).astype(stored.dtype)


def _along_rows(stored: np.ndarray, middle: float, side: float, count: int, smooth: bool) -> np.ndarray:
    """Stored rows as `count` rows of the square grid."""
    # As many rows without flux on either side as the interpolation reaches.
    room = 2 * REACH + int(np.ceil(side / max(count, 1)))
    padded = np.pad(stored, ((room, room), (0, 0)))
    taken = weights_along(np.array([middle + room]), np.array([side]), count, len(padded), smooth)[0]
    return taken.astype(float) @ padded
