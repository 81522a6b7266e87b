"""What one galaxy gives to a stack: the brightness in rings and sectors around it, and its image on a common grid.

Rings are measured on the tile's own pixels, without resampling. A cell is a sector of a ring. Brightness is
nanomaggies per square arcsec.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from morph.analysis.stacking.sources import GROWTHS, USED, Sources, mask_levels
from morph.fits.resampling import resample
from morph.tiles.strip_reader import Strip

#: Rings, the first of them a disk; sectors of a ring, counted from the major axis.
RINGS, SECTORS = 20, 8
#: The outer edge over the radius of the first ring.
RANGE = 37.5
#: Pixels on a side of a stack's image.
IMAGE = 161
#: The largest half side of a cutout, pixels.
LARGEST_HALF = 500


def ring_edges(reach: float, rings: int = RINGS, widest: float = RANGE) -> np.ndarray:
    """Edges of the rings: [rings + 1], from 0, equal steps in the logarithm from the second on.

    Parameters
    ----------
    reach : the last edge.
    rings : how many.
    widest : the last edge over the second.
    """
    return np.concatenate([[0.0], np.geomspace(reach / widest, reach, rings)])


@dataclass(frozen=True)
class Window:
    """The pixels around a place.

    Attributes
    ----------
    flux : float32 [bands, h, w], nanomaggies per square arcsec; NaN where there is no data.
    levels : uint8 [h, w], from which growth of the masks on a pixel is masked; 0 where it never is.
    x, y : the place, pixels of the window.
    """

    flux: np.ndarray
    levels: np.ndarray
    x: float
    y: float

    @classmethod
    def around(cls, strip: Strip, bands: tuple[str, ...], sources: Sources, x: float, y: float, half: int) -> "Window":
        """The window of a strip around a place.

        Parameters
        ----------
        strip : with its rows.
        bands : in order; one that the tile lacks has no data.
        sources : what is masked.
        x, y : the place, pixels of the tile.
        half : half of the window's side, pixels.
        """
        tile = strip.tile
        left, top, shape = round(x) - half, round(y) - half, (2 * half + 1, 2 * half + 1)
        flux = np.full((len(bands), *shape), np.nan, dtype="float32")
        for k, band in enumerate(bands):
            if band in strip.flux:
                # Bands that are not aligned are moved by whole pixels.
                own_x, own_y = (float(place) for place in tile.places(band, x, y))
                flux[k] = strip.window(band, left + round(own_x - x), top + round(own_y - y), shape)
        flux /= np.float32(tile.pixel_scale**2)
        return cls(flux, mask_levels(sources, left, top, shape), x - left, y - top)

    def cells(
        self, edges: np.ndarray, unit: float, angle: float = 0.0, sectors: int = SECTORS
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean brightness of every cell and the share of it that is not masked.

        Parameters
        ----------
        edges : of the rings, units.
        unit : pixels.
        angle : of the major axis, radians from x to y.
        sectors : of a ring.

        Returns
        -------
        mean, cover : float32 [growths, bands, rings, sectors]; a mean is 0 where nothing is left of the cell.
        """
        rows, columns = np.indices(self.levels.shape, dtype="float32")
        dx, dy = columns - np.float32(self.x), rows - np.float32(self.y)
        ring = np.searchsorted(edges * unit, np.hypot(dx, dy), side="right") - 1
        turn = np.arctan2(dy, dx) - angle
        sector = np.floor(turn * sectors / (2 * np.pi)).astype(int) % sectors
        inside = ring < len(edges) - 1
        count = (len(edges) - 1) * sectors
        cell, levels = (ring * sectors + sector)[inside], self.levels[inside]
        whole = np.bincount(cell, minlength=count)
        places = cell + count * levels.astype(int)
        shape = (len(GROWTHS) + 1, count)
        mean = np.zeros((len(GROWTHS), len(self.flux), count), dtype="float32")
        cover = np.zeros_like(mean)
        for band, plane in enumerate(self.flux):
            values = plane[inside]
            good = np.isfinite(values)
            sums = np.bincount(places[good], values[good], minlength=shape[0] * count).reshape(shape)
            seen = np.bincount(places[good], minlength=shape[0] * count).reshape(shape)
            for growth in GROWTHS:
                # Pixels that are masked only when masks grow further are left.
                kept = [0, *range(growth + 1, len(GROWTHS) + 1)]
                number = seen[kept].sum(axis=0)
                mean[growth - 1, band] = sums[kept].sum(axis=0) / np.maximum(number, 1)
                cover[growth - 1, band] = number / np.maximum(whole, 1)
        final = (len(GROWTHS), len(self.flux), len(edges) - 1, sectors)
        return mean.reshape(final), cover.reshape(final)

    def image(self, half: float, angle: float = 0.0) -> np.ndarray:
        """The window on the grid of a stack, turned so that the major axis is horizontal.

        Parameters
        ----------
        half : half of the grid's side, pixels of the window.
        angle : of the major axis, radians from x to y.

        Returns
        -------
        float32 [bands, `IMAGE`, `IMAGE`], NaN where masked.
        """
        used = GROWTHS[USED]
        masked = (self.levels > 0) & (self.levels <= used)
        planes = np.where(masked, np.nan, self.flux)
        area = np.float32((2 * half / IMAGE) ** 2)
        grid = np.moveaxis(resample(np.moveaxis(planes, 0, -1), self.x, self.y, 2 * half, IMAGE), -1, 0) / area
        return grid if angle == 0 else _turned(grid, angle)


def _turned(grid: np.ndarray, angle: float) -> np.ndarray:
    """An image [bands, size, size] turned about its centre by minus an angle; bilinear, NaN where half is unknown."""
    middle = (IMAGE - 1) / 2
    rows, columns = np.mgrid[:IMAGE, :IMAGE] - middle
    cos, sin = np.cos(angle), np.sin(angle)
    places = np.stack([middle + sin * columns + cos * rows, middle + cos * columns - sin * rows])
    found = np.empty_like(grid)
    for band, plane in enumerate(grid):
        known = np.isfinite(plane)
        weight = map_coordinates(known.astype("float32"), places, order=1, cval=0.0)
        value = map_coordinates(np.where(known, plane, 0), places, order=1, cval=0.0)
        found[band] = np.where(weight > 0.5, value / np.maximum(weight, 0.5), np.nan)
    return found
