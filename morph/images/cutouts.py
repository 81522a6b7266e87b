"""Stamps of galaxies cut from a tile, scaled to each galaxy's own size."""

import enum

import numpy as np

from morph.images.resample import resample
from morph.images.tiles import Tile
from morph.stamps import FIELD, NETWORK_SIZE


class Flag(enum.IntFlag):
    """What is wrong with a stamp. 0 is a clean one."""

    #: The stamp reaches over the tile's edge.
    EDGE = 1
    #: More than `MASKED_PART` of the stamp's pixels are bad in some band.
    MASKED = 2
    #: A band is missing, or has no data in the whole stamp.
    MISSING_BAND = 4
    #: Pixels of the galaxy itself are saturated.
    SATURATED = 8
    #: The galaxy is too small to show any structure.
    TOO_SMALL = 16
    #: There is nothing to look at: off the tile, masked away, or with an unusable position or size.
    NO_DATA = 32


#: Up to a twentieth of the stamp masked (a bleed trail, a few cosmic rays), the galaxy's shape still shows.
MASKED_PART = 0.05

#: A point source's half-light radius is half its FWHM, 1.5 to 2 pixels in DES and SDSS; nothing smaller is real.
SMALLEST_RADIUS = 1.5

#: Saturation matters within one half-light radius of the centre: there it bends the galaxy's own profile. Further
#: out it is a neighbouring star's.
SATURATED_REACH = 1.0

#: With data on less than a quarter of the stamp, or none within `CORE` half-light radii of the centre, no band
#: shows the galaxy.
LEAST_DATA = 0.25
CORE = 0.5


def side(radius: np.ndarray | float, size: int = NETWORK_SIZE) -> np.ndarray | float:
    """Image pixels across a stamp of `size` pixels, for a galaxy of half-light radius `radius` pixels."""
    return FIELD * radius * size / NETWORK_SIZE


def cut(
    tile: Tile, x: np.ndarray, y: np.ndarray, radius: np.ndarray, size: int = NETWORK_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the galaxies at the given places. One bad galaxy never raises; it gets its flags.

    Parameters
    ----------
    x, y : [n], the galaxies' places in the tile, pixels, 0-based.
    radius : [n], half-light radii, pixels.
    size : pixels on a side of the stamps.

    Returns
    -------
    stamps : float32 [n, size, size, 3], nanomaggies per stamp pixel in the survey's three channels; NaN where
        there is no data.
    flags : int32 [n], of `Flag`.
    """
    tile.load()
    x, y, radius = (np.atleast_1d(np.asarray(values, dtype=float)) for values in (x, y, radius))
    stamps = np.full((len(x), size, size, 3), np.nan, dtype="float32")
    flags = np.zeros(len(x), dtype="int32")
    for i in range(len(x)):
        stamp, flags[i] = _cut_one(tile, x[i], y[i], radius[i], size)
        if stamp is not None:
            stamps[i] = stamp
    return stamps, flags


def _cut_one(tile: Tile, x: float, y: float, radius: float, size: int) -> tuple[np.ndarray | None, Flag]:
    height, width = tile.shape
    on_tile = np.isfinite([x, y, radius]).all() and -0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5
    if not on_tile or radius <= 0:
        return None, Flag.NO_DATA
    flag = Flag(0)
    # A radius under a pixel would be enlarged without end; the flag says what was done.
    if radius < SMALLEST_RADIUS:
        flag |= Flag.TOO_SMALL
        radius = SMALLEST_RADIUS
    across = float(side(radius, size))
    if reaches_over(tile.shape, x, y, across):
        flag |= Flag.EDGE
    left, top, right, bottom = _window(x, y, across)
    # Two pixels more on each side, for the interpolation.
    rows = slice(max(top - 2, 0), min(bottom + 2, height))
    columns = slice(max(left - 2, 0), min(right + 2, width))
    image = np.full((rows.stop - rows.start, columns.stop - columns.start, 3), np.nan, dtype="float32")
    for channel, band in enumerate(tile.channels):
        if band in tile.bands:
            image[..., channel] = tile.plane(band)[rows, columns]
    x, y = x - columns.start, y - rows.start
    flag |= judge(image, x, y, radius, across, tile.saturated()[rows, columns])
    if flag & Flag.NO_DATA:
        return None, flag
    return resample(image, x, y, across, size), flag


def judge(
    image: np.ndarray, x: float, y: float, radius: float, across: float, saturated: np.ndarray | None = None
) -> Flag:
    """The flags MASKED, MISSING_BAND, SATURATED and NO_DATA of a galaxy.

    Parameters
    ----------
    image : [h, w, 3], NaN where there is no data or no such band.
    x, y, radius : the galaxy, pixels of `image`.
    across : pixels of `image` across its stamp.
    saturated : [h, w] bool.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = _window(x, y, across)
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    good = np.isfinite(inside)
    present = good.any(axis=(0, 1))
    flag = Flag(0)
    if not present.all():
        flag |= Flag.MISSING_BAND
    distance = np.hypot(np.arange(height)[:, None] - y, np.arange(width)[None, :] - x)
    if saturated is not None and saturated[distance <= max(SATURATED_REACH * radius, 1.0)].any():
        flag |= Flag.SATURATED
    core = np.isfinite(image[distance <= max(CORE * radius, 1.0)]).any()
    if not core or good[..., present].any(axis=-1).sum() < LEAST_DATA * (right - left) * (bottom - top):
        return flag | Flag.NO_DATA
    if (~good[..., present]).mean(axis=(0, 1)).max() > MASKED_PART:
        flag |= Flag.MASKED
    return flag


def reaches_over(shape: tuple[int, ...], x: float, y: float, across: float) -> bool:
    """Whether the square of `across` pixels around `x`, `y` leaves an image of that shape (h, w)."""
    left, top, right, bottom = _window(x, y, across)
    return left < 0 or top < 0 or right > shape[1] or bottom > shape[0]


def _window(x: float, y: float, across: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge (the last two exclusive) of the pixels that a square touches."""
    half = across / 2
    return (
        int(np.floor(x - half + 0.5)),
        int(np.floor(y - half + 0.5)),
        int(np.ceil(x + half + 0.5)),
        int(np.ceil(y + half + 0.5)),
    )
