"""The sizes of galaxies whose places are known, measured on a tile."""

import numpy as np

from morph.sizes import FIELD
from morph.stamps.half_light_radius import measure
from morph.stamps.photometry import intensity, smallest_radius
from morph.surveys import get_survey
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile

#: Pixels across the first window in which a galaxy is measured, and across the largest.
FIRST_WINDOW = 64
LARGEST_WINDOW = 1024


def measure_radii(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half-light radii of the galaxies at known places, by `morph.stamps.half_light_radius.measure`: float [n],
    pixels.

    A point source's where nothing stands out at the place.
    """
    return radii_on(Strip.whole(tile), x, y)


def radii_on(strip: Strip, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As `measure_radii`, of galaxies with `LARGEST_WINDOW` / 2 rows of the strip, or the tile's edge, around them."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return np.array([_measure_one(strip, float(a), float(b)) for a, b in zip(x, y, strict=True)], dtype=float)


def _measure_one(strip: Strip, x: float, y: float) -> float:
    tile = strip.tile
    height, width = tile.shape
    window = FIRST_WINDOW
    while True:
        left, top = max(round(x) - window // 2, 0), max(round(y) - window // 2, 0)
        right, bottom = min(round(x) + window // 2, width), min(round(y) + window // 2, height)
        image = np.empty((bottom - top, right - left, len(tile.bands)), dtype="float32")
        for k, band in enumerate(tile.bands):
            # Bands that are not aligned are moved by whole pixels.
            own_x, own_y = (float(place) for place in tile.places(band, x, y))
            image[..., k] = strip.window(band, left + round(own_x - x), top + round(own_y - y), image.shape[:2])
        shape = measure(intensity(image), (x - left, y - top))
        # The window needs sky around the galaxy, as much as the network's view has.
        if not shape.found or FIELD * shape.radius <= window or window >= LARGEST_WINDOW:
            break
        window *= 2
    if shape.found:
        return shape.radius
    return smallest_radius(get_survey(tile.survey), tile.pixel_scale) / tile.pixel_scale
