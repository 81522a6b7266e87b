"""All galaxies of a tile, cut in one pass from its bottom to its top, and their radii where these are not known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.cutting import cut_from, on_tile, rows_needed, usable
from morph.stamps.flags import Flag
from morph.stamps.photometry import intensity, measure, smallest_radius
from morph.surveys import get_survey
from morph.tiles import saturation
from morph.tiles.prefetch import Readers
from morph.tiles.strip_reader import Strip, read_strips
from morph.tiles.tile import Tile

#: Galaxies that are handed over together, at most.
PIECE = 512


@dataclass(frozen=True)
class StampBatch:
    """Some of a tile's galaxies.

    Attributes
    ----------
    rows : int [n], which of the galaxies asked for these are.
    stamps, flags : as `morph.stamps.cutting.cut` returns them.
    radius : [n], half-light radii, pixels: as given, or measured on the image where NaN was given.
    """

    rows: np.ndarray
    stamps: np.ndarray
    flags: np.ndarray
    radius: np.ndarray


def stream_stamps(
    tile: Tile,
    x: ArrayLike,
    y: ArrayLike,
    radius: ArrayLike,
    size: int = NETWORK_SIZE,
    threads: int | None = None,
    readers: Readers | None = None,
    look: Callable[[Strip], None] | None = None,
) -> Iterator[StampBatch]:
    """Cut galaxies at the given places, each once, in the order of their rows.

    Only the rows around the galaxies that are being cut are in memory; rows without galaxies are not read.

    Parameters
    ----------
    x, y : [n], the galaxies' places in the tile, pixels, 0-based.
    radius : [n], half-light radii, pixels; NaN where they are to be measured on the image.
    size : pixels on a side of the stamps.
    threads : that read rows, see `read_strips`; one takes the least CPU time, where a model keeps all cores busy.
    readers : processes that read rows instead.
    look : called with every strip before its galaxies are yielded.

    Yields
    ------
    StampBatch : some of the galaxies.

    Raises
    ------
    InputError : a file turns out to be damaged.
    """
    x, y, radius = (np.array(values, dtype=float, ndmin=1) for values in (x, y, radius))
    measured = np.isnan(radius) & on_tile(tile, x, y)
    known = usable(tile, x, y, radius)
    for some in _pieces(np.flatnonzero(~measured & ~known)):
        nothing = np.full((len(some), size, size, 3), np.nan, dtype="float32")
        yield StampBatch(some, nothing, np.full(len(some), Flag.NO_DATA, dtype="int32"), radius[some])
    low, high = np.zeros(len(x), dtype=int), np.zeros(len(x), dtype=int)
    low[known], high[known] = rows_needed(tile, x[known], y[known], radius[known], size)
    widest = np.full(measured.sum(), LARGEST_WINDOW / FIELD)
    low[measured], high[measured] = rows_needed(tile, x[measured], y[measured], widest, NETWORK_SIZE)
    cut = np.flatnonzero(known | measured)
    larger = []
    for strip, ready in read_strips(tile, low[cut], high[cut], threads=threads, readers=readers):
        saturation.mark_saturated(strip)
        if look is not None:
            look(strip)
        for some in _pieces(cut[ready]):
            new = some[measured[some]]
            radius[new] = radii_on(strip, x[new], y[new])
            # These need more rows than were kept for measuring them, and are cut in a pass of their own.
            first, last = rows_needed(tile, x[new], y[new], radius[new], size)
            beyond = new[(first < strip.start) | (last > strip.stop)]
            larger.append(beyond)
            some = np.setdiff1d(some, beyond)
            yield StampBatch(some, *cut_from(strip, x[some], y[some], radius[some], size), radius[some])
    again = np.concatenate([*larger, np.empty(0, dtype=int)])
    if len(again):
        for part in stream_stamps(tile, x[again], y[again], radius[again], size, threads, readers):
            yield replace(part, rows=again[part.rows])


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), PIECE):
        yield rows[start : start + PIECE]


#: Pixels across the first window in which a galaxy is measured, and across the largest.
FIRST_WINDOW = 64


LARGEST_WINDOW = 1024


def measure_radii(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half-light radii of the galaxies at known places, see `morph.stamps.photometry.measure`.

    Parameters
    ----------
    x, y : [n], places on the tile, pixels.

    Returns
    -------
    float [n], pixels; a point source's where nothing stands out at the place.
    """
    return radii_on(Strip.whole(tile), x, y)


def radii_on(strip: Strip, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As `measure_radii`, on a strip.

    Parameters
    ----------
    strip : with `LARGEST_WINDOW` / 2 rows, or the tile's edge, on either side of the galaxies.
    x, y : [n], places on the tile, pixels.

    Returns
    -------
    float [n], pixels.
    """
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
