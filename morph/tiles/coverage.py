"""How much sky a tile answers for: its pixels with data, without what its neighbours answer for."""

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_area

from morph.tiles.tile import Tile

#: Rows and columns that are looked at; of a tile with more, so many at equal distances.
SAMPLED = 128


def area(tile: Tile) -> float:
    """The sky that a tile answers for, square degrees: its pixels with data in any band that it `owns`, each as large
    as its sky coordinates say.

    InputError when a file turns out to be damaged.
    """
    height, width = tile.shape
    rows, columns = _sampled(height), _sampled(width)
    seen = np.zeros((len(rows), len(columns)), dtype=bool)
    for band in tile.bands:
        with tile.filling(band) as fill:
            for place, row in enumerate(rows):
                flux, saturated = np.empty((1, width), "float32"), np.zeros((1, width), bool)
                fill(int(row), flux, saturated)
                seen[place] |= np.isfinite(flux[0, columns])
    x, y = np.meshgrid(columns, rows)
    owned = np.zeros_like(seen)
    owned[seen] = tile.owns(*tile.sky(x[seen], y[seen]))
    return float(owned.mean() * height * width * proj_plane_pixel_area(tile.wcs))


def _sampled(length: int) -> np.ndarray:
    """At most `SAMPLED` pixels along an axis, each in the middle of its share of it."""
    count = min(length, SAMPLED)
    return ((np.arange(count) + 0.5) * length / count).astype(int)
