"""Images on another grid of pixels, resampled as their rows are read: square pixels, or the grid of another band.

`SquareGrid`: all measurements assume that a pixel is a square of sky. Images whose pixels are not square, or whose
axes are not at right angles, are resampled with the whole matrix from pixels to sky. The flux of a pixel goes to the
pixels that cover it, and the new pixels are as large as the old ones: total fluxes and zero points do not change.

`Reprojection`: bands that differ in pixel scale, size or orientation come to one grid. The coarser image is
interpolated by a cubic spline and multiplied by the ratio of the pixels' areas, which keeps the flux of a galaxy.
Masks and weights are those of the nearest pixel; weights grow as pixels become more, so that the sum over a galaxy
keeps its error.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.fits.blank_pixels import find_blank
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


#: Pixels between the places that are worked out by the two sky coordinates; linear between them. The distortions of
#: cameras change by less than a thousandth of a pixel over so few.
STEP = 16


#: Stored rows beyond those that are needed: a spline feels no more of them.
MARGIN = 12


#: A place that is on no image.
NOWHERE = -1e6


@dataclass(frozen=True)
class SquareGrid:
    """A grid of square pixels for an image whose pixels are not square.

    Places on the stored image are ``x = a X + b Y + c`` and ``y = d Y`` of places on the grid, both counted from the
    first edges. The determinant ``a d`` is 1: a pixel keeps its area.

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
    def of(cls, matrix: np.ndarray, stored: tuple[int, int]) -> "SquareGrid | None":
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

    def __init__(self, rows: Rows, regrid: SquareGrid):
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
        # Blank pixels no longer share one value once they are resampled.
        stored.flat[find_blank(stored)[0]] = np.nan
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


@dataclass(frozen=True, eq=False)
class Reprojection:
    """Where the pixels of a grid lie on the image as it is stored.

    Attributes
    ----------
    x, y : places on the stored image (pixels, 0-based) of every `STEP`-th pixel of the grid, [rows, columns].
    area : of a pixel of the grid, in stored pixels, at the same places.
    stored, shape : height and width of the stored image, and of the grid.
    """

    x: np.ndarray
    y: np.ndarray
    area: np.ndarray
    stored: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        places: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
        stored: tuple[int, int],
        shape: tuple[int, int],
    ) -> "Reprojection":
        """The reprojection between two images.

        Parameters
        ----------
        places : returns places on the stored image for places on the grid, [n] each; NaN where there are none.
        stored, shape : height and width of the stored image, and of the grid.

        Returns
        -------
        Reprojection : of the stored image to the grid.
        """
        rows, columns = (STEP * np.arange(-(-(side - 1) // STEP) + 2.0) for side in shape)
        across, up = np.meshgrid(columns, rows)
        x, y = places(across.ravel(), up.ravel())
        x, y = (np.asarray(place).reshape(across.shape) for place in (x, y))
        (x_up, x_across), (y_up, y_across) = (np.gradient(place, STEP) for place in (x, y))
        area = np.abs(x_across * y_up - x_up * y_across)
        x, y = (np.nan_to_num(place, nan=NOWHERE) for place in (x, y))
        return cls(x, y, np.nan_to_num(area, nan=1.0), stored, shape)

    @property
    def mean_area(self) -> float:
        """Of a pixel of the grid, in stored pixels."""
        return float(np.median(self.area))

    def covered(self) -> float:
        """The share of the grid that the stored image covers."""
        height, width = self.stored
        x, y = (places[: -(-self.shape[0] // STEP), : -(-self.shape[1] // STEP)] for places in (self.x, self.y))
        return float(((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)).mean())

    def places(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`x`, `y` and `area` of all pixels of some rows: [stop - start, width] each."""
        found = _between(np.stack([self.x, self.y, self.area]), np.arange(start, stop) / STEP, axis=1)
        x, y, area = _between(found, np.arange(self.shape[1]) / STEP, axis=2)
        return x, y, area


class _Reprojected(Rows):
    def __init__(self, rows: Rows, onto: Reprojection):
        self._rows, self._onto = rows, onto
        self.shape = onto.shape

    def _stored(self, y: np.ndarray) -> tuple[int, np.ndarray]:
        """The stored rows that places on them need, and the number of the first."""
        height = self._onto.stored[0]
        seen = y[(y > -1) & (y < height)]
        lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        low = min(max(int(lowest) - MARGIN, 0), height - 1)
        return low, self._rows(low, min(int(np.ceil(highest)) + MARGIN, height))


class InterpolatedRows(_Reprojected):
    """Rows of flux on the grid; NaN where less than half of what a pixel is made of has data."""

    def __call__(self, start: int, stop: int) -> np.ndarray:
        from scipy import ndimage  # a client that reads other images does without

        x, y, area = self._onto.places(start, stop)
        low, stored = self._stored(y)
        stored = stored.astype("float64")
        # Blank pixels no longer share one value once they are interpolated.
        stored.flat[find_blank(stored)[0]] = np.nan
        known = np.isfinite(stored)
        if not known.any():
            return np.full(x.shape, np.nan, dtype="float32")
        if not known.all():
            # The spline must not swing at the edge of a hole.
            nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
            stored = stored[tuple(nearest)]
        places = np.stack([y - low, x])
        flux = ndimage.map_coordinates(stored, places, order=3, mode="nearest") * area
        covered = ndimage.map_coordinates(known.astype("float64"), places, order=1, mode="grid-constant")
        return np.where(covered >= LEAST_COVERAGE, flux, np.nan).astype("float32")


class NearestPixelRows(_Reprojected):
    """Rows of a mask or of weights on the grid: each pixel's is the nearest one's, 0 outside the image."""

    def __call__(self, start: int, stop: int) -> np.ndarray:
        x, y, _ = self._onto.places(start, stop)
        low, stored = self._stored(y)
        row, column = np.rint(y).astype(int) - low, np.rint(x).astype(int)
        inside = (row >= 0) & (row < len(stored)) & (column >= 0) & (column < stored.shape[1])
        found = stored[np.clip(row, 0, len(stored) - 1), np.clip(column, 0, stored.shape[1] - 1)]
        return np.where(inside, found, 0).astype(stored.dtype)


def _between(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values along an axis at places between its points, linearly."""
    first = np.floor(places).astype(int)
    share = (places - first).reshape([-1 if one == axis else 1 for one in range(values.ndim)])
    return np.take(values, first, axis) * (1 - share) + np.take(values, first + 1, axis) * share
