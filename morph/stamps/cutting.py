"""Stamps of galaxies cut from a tile, scaled to each galaxy's own size.

Most galaxies are far from a tile's edge and have no bad pixel around them. These are cut many at a time; each of the
others by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from morph.fits.resampling import REACH, first_pixel, last_pixel, resample, resample_many
from morph.sizes import NETWORK_SIZE
from morph.stamps.flags import (
    LARGEST_RADIUS,
    SMALLEST_RADIUS,
    Flag,
    extends_beyond,
    is_saturated,
    quality_flags,
    stamp_width,
    window,
)
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile

__all__ = ["SMALLEST_RADIUS", "Flag", "cut", "cut_from", "rows_needed", "usable"]

#: Galaxies that are resampled together: as many as stay in a processor's cache.
TOGETHER = 32

#: Windows are as wide as a multiple of so many pixels, so that many galaxies have windows of one width.
WIDTH_STEP = 8


def cut(
    tile: Tile, x: ArrayLike, y: ArrayLike, radius: ArrayLike, size: int = NETWORK_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the galaxies at the given places. One bad galaxy never raises; it gets its flags.

    The tile is read whole and stays in memory; `morph.stamps.stamp_stream.stream_stamps` needs much less.

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
    return cut_from(Strip.whole(tile), x, y, radius, size)


def usable(tile: Tile, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Whether galaxies have a place on the tile and a possible size.

    Parameters
    ----------
    x, y, radius : [n], places and half-light radii, pixels of the tile.

    Returns
    -------
    bool [n].
    """
    return on_tile(tile, x, y) & (radius > 0) & (radius <= LARGEST_RADIUS)


def on_tile(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether places are on the tile.

    Parameters
    ----------
    x, y : [n], pixels, 0-based.

    Returns
    -------
    bool [n].
    """
    height, width = tile.shape
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def rows_needed(
    tile: Tile, x: np.ndarray, y: np.ndarray, radius: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the tile that each of some `usable` galaxies needs.

    Parameters
    ----------
    x, y, radius : [n], places and half-light radii, pixels of the tile.
    size : pixels on a side of the stamps.

    Returns
    -------
    low, high : int [n], the first row and the one after the last.
    """
    across = np.asarray(stamp_width(np.maximum(radius, SMALLEST_RADIUS), size))
    rows = [y, *(tile.places(band, x, y)[1] for band in tile.bands)]
    # One row more on each side, for windows reach to whole pixels.
    low = np.min([first_pixel(each, across) for each in rows], axis=0) - 1
    high = np.max([last_pixel(each, across) for each in rows], axis=0) + 1
    height = tile.shape[0]
    return np.clip(low, 0, height - 1), np.clip(high, 1, height)


def cut_from(
    strip: Strip, x: ArrayLike, y: ArrayLike, radius: ArrayLike, size: int = NETWORK_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """As `cut`, galaxies whose `rows_needed` are in a strip.

    Parameters
    ----------
    strip : some rows of the tile.
    x, y, radius, size : as for `cut`; places are those on the tile.

    Returns
    -------
    stamps, flags : as from `cut`.
    """
    given = [np.array(values, dtype=float, ndmin=1) for values in (x, y, radius)]
    good = np.flatnonzero(usable(strip.tile, *given))
    count = len(given[0])
    stamps = np.empty((count, size, size, 3), dtype="float32")
    flags = np.full(count, Flag.NO_DATA, dtype="int32")
    good_x, good_y, good_radius = (values[good] for values in given)
    # A radius under a pixel would be enlarged without end; the flag marks it.
    flags[good] = np.where(good_radius < SMALLEST_RADIUS, Flag.TOO_SMALL, 0)
    used = np.maximum(good_radius, SMALLEST_RADIUS)
    across = np.asarray(stamp_width(used, size))
    bands = [_Band.of(strip, band, good_x, good_y) for band in strip.tile.bands]
    alone = np.ones(len(good), dtype=bool)
    for some, windows in _windows(bands, across, size):
        flags[good[some]] |= _flags_of_whole(bands, some, used, len(strip.tile.channels))
        for band, image in zip(bands, _resampled(bands, some, windows, across, size), strict=True):
            stamps[good[some], :, :, band.channel] = image
        alone[some] = False
    for k in np.flatnonzero(alone).tolist():
        stamp, flag = _cut_one(strip, bands, k, (good_x[k], good_y[k], used[k], across[k]), size)
        flags[good[k]] |= flag
        if stamp is not None:
            stamps[good[k]] = stamp
    # Few are blank: all others are written once.
    stamps[(flags & Flag.NO_DATA) != 0] = np.nan
    stamps[..., [channel not in strip.tile.bands for channel in strip.tile.channels]] = np.nan
    return stamps, flags


@dataclass(frozen=True)
class _Band:
    """A band of a strip, and where the galaxies are on it: `x`, and `y` from the strip's first row."""

    name: str
    channel: int
    flux: np.ndarray
    saturated: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, strip: Strip, band: str, x: np.ndarray, y: np.ndarray) -> "_Band":
        own_x, own_y = strip.tile.places(band, x, y)
        channel = strip.tile.channels.index(band)
        return cls(band, channel, strip.flux[band], strip.saturated[band], own_x, own_y - strip.start)


def _windows(bands: list[_Band], across: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Galaxies, some at a time, that have windows of one width without a bad pixel.

    Yields int [n], which they are, and float32 [n, width, bands, width].
    """
    left = np.array([first_pixel(band.x, across) for band in bands])
    top = np.array([first_pixel(band.y, across) for band in bands])
    right = np.array([last_pixel(band.x, across) for band in bands])
    bottom = np.array([last_pixel(band.y, across) for band in bands])
    width = -(-np.maximum(right - left, bottom - top).max(axis=0, initial=0) // WIDTH_STEP) * WIDTH_STEP
    rows, columns = bands[0].flux.shape
    inside = ((left >= 0) & (top >= 0) & (left + width <= columns) & (top + width <= rows)).all(axis=0)
    # Whether a stamp's pixels are finer than the image's decides how it is interpolated.
    kind = 2 * width + (across < size)
    order = np.flatnonzero(inside)
    order = order[np.argsort(kind[order], kind="stable")]
    for alike in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        for start in range(0, len(alike), TOGETHER):
            some = alike[start : start + TOGETHER]
            n = int(width[some[0]])
            windows = np.empty((len(some), n, len(bands), n), dtype="float32")
            for b, band in enumerate(bands):
                for k, i, j in zip(range(len(some)), top[b, some], left[b, some], strict=True):
                    windows[k, :, b] = band.flux[i : i + n, j : j + n]
            whole = np.isfinite(windows.reshape(len(some), -1).sum(axis=1))
            if whole.all():
                yield some, windows
            elif whole.any():
                yield some[whole], windows[whole]


def _resampled(
    bands: list[_Band], some: np.ndarray, windows: np.ndarray, across: np.ndarray, size: int
) -> Iterator[np.ndarray]:
    """The stamps of some galaxies from their `_windows`, a band at a time: float32 [n, size, size]."""

    def centres(band: _Band) -> tuple[np.ndarray, np.ndarray]:
        x, y = band.x[some], band.y[some]
        return x - first_pixel(x, across[some]), y - first_pixel(y, across[some])

    if _aligned(bands):
        yield from np.moveaxis(resample_many(windows, *centres(bands[0]), across[some], size), -1, 0)
        return
    for b, band in enumerate(bands):
        yield resample_many(windows[:, :, b : b + 1], *centres(band), across[some], size)[..., 0]


def _aligned(bands: list[_Band]) -> bool:
    return all(band.x is bands[0].x for band in bands)


def _flags_of_whole(bands: list[_Band], some: np.ndarray, radius: np.ndarray, channels: int) -> np.ndarray:
    """The flags of galaxies around which no pixel is bad: int32 [n]."""
    flags = np.full(len(some), Flag.MISSING_BAND if len(bands) < channels else 0, dtype="int32")
    reach = np.ceil(radius[some]).astype(int) + 1
    for band in bands:
        x, y = np.rint(band.x[some]).astype(int), np.rint(band.y[some]).astype(int)
        boxes = zip(
            (y - reach).tolist(), (y + reach).tolist(), (x - reach).tolist(), (x + reach).tolist(), strict=True
        )
        for k, (top, bottom, left, right) in enumerate(boxes):
            # Few galaxies have a saturated pixel anywhere near; only there is its distance looked at.
            if band.saturated[max(top, 0) : bottom + 1, max(left, 0) : right + 1].any():
                galaxy = int(some[k])
                if is_saturated(band.saturated, band.x[galaxy], band.y[galaxy], radius[galaxy]):
                    flags[k] |= Flag.SATURATED
    return flags


def _cut_one(
    strip: Strip, bands: list[_Band], k: int, galaxy: tuple[float, float, float, float], size: int
) -> tuple[np.ndarray | None, Flag]:
    """One galaxy (place on the tile, radius, pixels across its stamp) with whatever is wrong with it."""
    x, y, radius, across = galaxy
    height, width = strip.tile.shape
    flag = Flag.EDGE if extends_beyond((height, width), x, y, across) else Flag(0)
    left, top, right, bottom = window(x, y, across)
    left, right = max(left - REACH, 0), min(right + REACH, width)
    top, bottom = max(top - REACH, 0), min(bottom + REACH, height)
    image = np.full((bottom - top, right - left, len(strip.tile.channels)), np.nan, dtype="float32")
    centres = [(x - left, y - top)] * image.shape[-1]
    for band in bands:
        # Bands that are not aligned are moved by whole pixels here, and by the rest where they are resampled.
        dx, dy = round(band.x[k] - x), round(band.y[k] + strip.start - y)
        image[..., band.channel] = strip.window(band.name, left + dx, top + dy, image.shape[:2])
        centres[band.channel] = (band.x[k] - left - dx, band.y[k] + strip.start - top - dy)
        if is_saturated(band.saturated, band.x[k], band.y[k], radius):
            flag |= Flag.SATURATED
    flag |= quality_flags(image, x - left, y - top, radius, across)
    if flag & Flag.NO_DATA:
        return None, flag
    if _aligned(bands):
        return resample(image, x - left, y - top, across, size), flag
    channels = [resample(image[..., c : c + 1], *centre, across, size) for c, centre in enumerate(centres)]
    return np.concatenate(channels, axis=-1), flag
