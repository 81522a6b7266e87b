"""All galaxies of a tile, cut in one walk from its bottom to its top."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from morph.images.cutouts import cut
from morph.images.sources import measure_radii
from morph.images.tiles import Tile
from morph.stamps import NETWORK_SIZE

#: Galaxies that are cut and handed over together.
PIECE = 512


@dataclass(frozen=True)
class Stamps:
    """Some of a tile's galaxies.

    Attributes
    ----------
    rows : int [n], which of the galaxies asked for these are.
    stamps, flags : as `morph.images.cutouts.cut` returns them.
    radius : [n], half-light radii, pixels: as given, or measured on the image where NaN was given.
    """

    rows: np.ndarray
    stamps: np.ndarray
    flags: np.ndarray
    radius: np.ndarray


def stamps(tile: Tile, x: ArrayLike, y: ArrayLike, radius: ArrayLike, size: int = NETWORK_SIZE) -> Iterator[Stamps]:
    """Cut galaxies at the given places, each once, from the bottom of the tile to its top.

    Parameters
    ----------
    x, y : [n], the galaxies' places in the tile, pixels, 0-based.
    radius : [n], half-light radii, pixels; NaN where they are to be measured on the image.
    size : pixels on a side of the stamps.

    Raises BadInput when a file turns out to be damaged.
    """
    x, y, radius = (np.array(values, dtype=float, ndmin=1) for values in (x, y, radius))
    height, width = tile.shape
    on_tile = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    order = np.argsort(y, kind="stable")
    for start in range(0, len(order), PIECE):
        rows = order[start : start + PIECE]
        unknown = rows[np.isnan(radius[rows]) & on_tile[rows]]
        radius[unknown] = measure_radii(tile, x[unknown], y[unknown])
        images, flags = cut(tile, x[rows], y[rows], radius[rows], size)
        yield Stamps(rows, images, flags, radius[rows])
