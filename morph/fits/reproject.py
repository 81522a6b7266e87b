"""Images of one band on the grid of another, where the two differ in pixel scale, size or direction.

The coarser image is interpolated where the pixels of the finer one lie, with a cubic spline, and multiplied by what a
new pixel has of the area of a stored one: the flux of a galaxy stays what it is. Masks and weights are those of the
nearest pixel; weights grow as pixels become more, so that the sum over a galaxy keeps its error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from morph.fits.blank_pixels import without_data
from morph.fits.resampling import LEAST_COVERAGE
from morph.fits.rows import Rows

#: Pixels between the places that are worked out by the two sky coordinates; linear between them. The distortions of
#: cameras change by less than a thousandth of a pixel over so few.
STEP = 16

#: Stored rows beyond those that are needed: a spline feels no more of them.
MARGIN = 12

#: A place that is on no image.
NOWHERE = -1e6


@dataclass(frozen=True, eq=False)
class Reproject:
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
    ) -> "Reproject":
        """`places` makes places on the stored image of places on the grid, [n] each; NaN where there are none."""
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
    def __init__(self, rows: Rows, onto: Reproject):
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
        # What stands for missing data would be one value no more once it is interpolated.
        stored.flat[without_data(stored)[0]] = np.nan
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
