"""A tile's rows from the bottom to the top, a strip at a time: no more of it is in memory than what is looked at."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice

import numpy as np

from morph.images.planes import PixelRows
from morph.images.reading import Readers, read_ahead
from morph.images.tiles import Tile

#: Rows that are read at a time: of a DES tile in three bands, 60 MB of flux.
STRIP = 512

#: Rows that threads are reading: the first, the one after the last, and what will have been read of each band.
_Coming = tuple[int, int, dict[str, Future[PixelRows]]]

#: So many times `STRIP` rows are read, or wait, while a strip is worked on: threads need not wait for the slowest of
#: a strip's bands.
AHEAD = 2


@dataclass(frozen=True)
class Strip:
    """Some rows of a tile, in memory.

    Attributes
    ----------
    start, stop : the first of them, and the one after the last.
    flux : {band: float32 [stop - start, w]}, nanomaggies per pixel, NaN where a pixel is bad.
    saturated : {band: bool [stop - start, w]}.
    weight : {band: float32 [stop - start, w]}, inverse variance; of the bands whose weights are known and were asked
        for.
    """

    tile: Tile
    start: int
    stop: int
    flux: dict[str, np.ndarray]
    saturated: dict[str, np.ndarray]
    weight: dict[str, np.ndarray]

    @classmethod
    def whole(cls, tile: Tile) -> "Strip":
        """All rows of a tile, which stay in the tile's memory too."""
        tile.load()
        flux = {band: tile.plane(band) for band in tile.bands}
        return cls(tile, 0, tile.shape[0], flux, dict.fromkeys(tile.bands, tile.saturated()), {})

    def part(self, start: int, stop: int) -> "Strip":
        """Some of the rows, without a copy."""
        rows = slice(start - self.start, stop - self.start)
        cut = ({band: plane[rows] for band, plane in planes.items()} for planes in self._planes)
        return Strip(self.tile, start, stop, *cut)

    def copy(self) -> "Strip":
        """The same in memory of its own: what this is a part of need not be kept."""
        return Strip(
            self.tile, self.start, self.stop, *({b: p.copy() for b, p in planes.items()} for planes in self._planes)
        )

    def before(self, other: "Strip") -> "Strip":
        """These rows and then those of another strip, which follow them."""
        both = (
            {band: np.concatenate([planes[band], more[band]]) for band in planes}
            for planes, more in zip(self._planes, other._planes, strict=True)
        )
        return Strip(self.tile, self.start, other.stop, *both)

    def window(self, band: str, left: int, top: int, shape: tuple[int, int], of: str = "flux") -> np.ndarray:
        """A copy of the flux (or weight) in a box of the band's own grid, which begins at a column and a row.

        float32 of the given shape, NaN outside the strip.
        """
        box = np.full(shape, np.nan, dtype="float32")
        plane, top = getattr(self, of)[band], top - self.start
        rows = slice(max(top, 0), max(min(top + shape[0], plane.shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + shape[1], plane.shape[1]), 0))
        part = plane[rows, columns]
        box[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]] = part
        return box

    @property
    def _planes(self) -> tuple[dict[str, np.ndarray], ...]:
        return self.flux, self.saturated, self.weight


def walk(
    tile: Tile,
    low: np.ndarray,
    high: np.ndarray,
    weights: bool = False,
    step: int | None = None,
    threads: int | None = None,
    readers: Readers | None = None,
) -> Iterator[tuple[Strip, np.ndarray]]:
    """Strips of a tile, each with the things that are to be done on it.

    Thing k needs the rows from `low[k]` to `high[k]` (exclusive, on the tile): it comes with the first strip that
    holds them all, and once. A strip's arrays are good until the next is asked for. Rows that nothing needs are not
    read. The next rows are read while the caller works on a strip.

    Parameters
    ----------
    low, high : int [n].
    weights : whether the strips have weights.
    step : rows that are read at a time; `STRIP` if not given.
    threads : that read; if not given one for each band, but no more than there are cores.
    readers : processes that read instead.

    Yields
    ------
    A strip, and int [m], which of the things.

    Raises BadInput when a file turns out to be damaged.
    """
    if not len(low):
        return
    order = np.argsort(high, kind="stable")
    ends = high[order]
    # The lowest row that a thing needs, or any after it.
    needed = np.minimum.accumulate(low[order][::-1])[::-1]
    steps = _steps(ends, needed, step or STRIP)
    coming: deque[_Coming] = deque()
    threads = threads or min(len(tile.bands), os.cpu_count() or 1)
    # What is worked on, and what may be read meanwhile.
    with read_ahead(tile, weights, step or STRIP, AHEAD + 2, threads, readers) as ask:

        def read_on() -> None:
            for start, stop in islice(steps, AHEAD + 1 - len(coming)):
                coming.append((start, stop, {band: ask(band, start, stop) for band in tile.bands}))

        read_on()
        kept: Strip | None = None
        done = 0
        while coming:
            strip = _arrived(tile, coming.popleft())
            read_on()
            ready = int(np.searchsorted(ends, strip.stop, side="right"))
            things = order[done:ready]
            begun = low[things] < strip.start
            if begun.any():
                # These few rows are put together, so that the many need not be copied.
                assert kept is not None
                yield kept.before(strip.part(strip.start, int(high[things[begun]].max()))), things[begun]
            if not begun.all():
                yield strip, things[~begun]
            first = int(needed[ready]) if ready < len(order) else strip.stop
            if first < strip.start:
                assert kept is not None
                kept = kept.part(first, kept.stop).before(strip)
            else:
                kept = strip.part(first, strip.stop).copy() if first < strip.stop else None
            # While this waits for the next rows, no more is in memory than what was kept.
            del strip
            done = ready


def _steps(ends: np.ndarray, needed: np.ndarray, step: int) -> Iterator[tuple[int, int]]:
    """The rows that are read at a time: the first, and the one after the last.

    `ends` are the rows at which things end, in rising order; `needed` is the lowest row of each and of those after it.
    """
    done = stop = 0
    while done < len(ends):
        start = max(stop, int(needed[done]))
        stop = min(start + step, int(ends[-1]))
        yield start, stop
        done = int(np.searchsorted(ends, stop, side="right"))


def _arrived(tile: Tile, coming: _Coming) -> Strip:
    start, stop, bands = coming
    flux, saturated, weight = {}, {}, {}
    for band, rows in bands.items():
        flux[band], saturated[band], found = rows.result()
        if found is not None:
            weight[band] = found
    return Strip(tile, start, stop, flux, saturated, weight)
