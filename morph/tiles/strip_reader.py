"""A tile's rows from the bottom to the top, a strip at a time: no more of it is in memory than what is looked at."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice

import numpy as np

from morph.fits.calibrated import PixelRows
from morph.tiles.prefetch import Readers, read_ahead
from morph.tiles.tile import Tile

#: Rows that are read at a time: of a DES tile in three bands, 40 MB of flux. Getting the memory for more from the
#: system takes longer than more at a time saves.
STRIP = 320

#: A tile's first strip is so many times shorter: until it is read, its caller has nothing to do.
FIRST = 2

#: Rows of the strip before that a strip has room for, as a part of `STRIP`. Few galaxies are so large that they need
#: more, and a strip that holds one is copied whole.
HEADROOM = 5 / 8

#: So many times `STRIP` rows are read, or wait, while a strip is worked on: threads need not wait for the slowest of
#: a strip's bands.
AHEAD = 2

#: Rows that threads are reading: the first, the one after the last, and what will have been read of each band.
_Coming = tuple[int, int, dict[str, Future[PixelRows]]]


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
        cut = ({band: plane[rows] for band, plane in planes.items()} for planes in self.planes)
        return Strip(self.tile, start, stop, *cut)

    def before(self, other: "Strip") -> "Strip":
        """These rows and then those of another strip, which follow them."""
        both = (
            {band: np.concatenate([planes[band], more[band]]) for band in planes}
            for planes, more in zip(self.planes, other.planes, strict=True)
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
    def planes(self) -> tuple[dict[str, np.ndarray], ...]:
        """Flux, what is saturated, and weights."""
        return self.flux, self.saturated, self.weight


def read_strips(
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

    Raises InputError when a file turns out to be damaged.
    """
    if not len(low):
        return
    order = np.argsort(high, kind="stable")
    ends = high[order]
    # The lowest row that a thing needs, or any after it.
    needed = np.minimum.accumulate(low[order][::-1])[::-1]
    step = step or STRIP
    headroom = int(step * HEADROOM)
    steps = _steps(ends, needed, step)
    coming: deque[_Coming] = deque()
    threads = threads or min(len(tile.bands), os.cpu_count() or 1)
    # What is worked on, and what may be read meanwhile.
    with read_ahead(tile, weights, step, headroom, AHEAD + 1, threads, readers) as ask:

        def read_on() -> None:
            for start, stop in islice(steps, AHEAD - len(coming)):
                coming.append((start, stop, {band: ask(band, start, stop) for band in tile.bands}))

        read_on()
        done = 0
        before: Strip | None = None
        while coming:
            start, stop, bands = coming.popleft()
            read = {band: rows.result() for band, rows in bands.items()}
            strip = _Roomy(tile, start, stop, headroom, read).after(before, int(needed[done]))
            # What the last rows are needed for is done, and their memory is read into again.
            before = None
            read_on()
            ready = int(np.searchsorted(ends, stop, side="right"))
            if ready > done:
                yield strip, order[done:ready]
            before, done = strip, ready


def _steps(ends: np.ndarray, needed: np.ndarray, step: int) -> Iterator[tuple[int, int]]:
    """The rows that are read at a time: the first, and the one after the last.

    `ends` are the rows at which things end, in rising order; `needed` is the lowest row of each and of those after it.
    """
    done = stop = 0
    rows = step // FIRST
    while done < len(ends):
        start = max(stop, int(needed[done]))
        stop, rows = min(start + rows, int(ends[-1])), step
        yield start, stop
        done = int(np.searchsorted(ends, stop, side="right"))


@dataclass(frozen=True)
class _Roomy:
    """Rows of a tile as `read_ahead` has read them: with room for others before them."""

    tile: Tile
    start: int
    stop: int
    headroom: int
    read: dict[str, PixelRows]

    def after(self, strip: Strip | None, first: int) -> Strip:
        """These rows, and before them those from `first` on at the end of a strip that ends where they begin."""
        if strip is None or first >= self.start:
            return self._view(0)
        count = self.start - first
        if count > self.headroom:
            return strip.part(first, strip.stop).before(self._view(0))
        view = self._view(count)
        for ours, theirs in zip(view.planes, strip.planes, strict=True):
            for band, plane in ours.items():
                plane[:count] = theirs[band][-count:]
        return view

    def _view(self, count: int) -> Strip:
        """The rows, and so many before them that are not there yet."""
        first = self.headroom - count
        flux = {band: rows[0][first:] for band, rows in self.read.items()}
        saturated = {band: rows[1][first:] for band, rows in self.read.items()}
        weight = {band: rows[2][first:] for band, rows in self.read.items() if rows[2] is not None}
        return Strip(self.tile, self.start - count, self.stop, flux, saturated, weight)
