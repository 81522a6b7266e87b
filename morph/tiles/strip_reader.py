"""A tile's rows from the bottom to the top, one strip in memory at a time."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice

import numpy as np

from morph.fits.calibrated import PixelRows
from morph.tiles.prefetch import Ask, Readers, read_ahead
from morph.tiles.tile import Tile

#: Rows that are read at a time: of a DES tile in three bands, 40 MB of flux. Allocating memory for more takes longer
#: than it saves.
STRIP = 320

#: A tile's first strip is so many times shorter, so that its caller has work soon.
FIRST = 2

#: Rows of the previous strip that a strip has room for, as a part of `STRIP`. Few galaxies need more; a strip with one
#: of those is copied whole.
HEADROOM = 5 / 8

#: Strips that are read in advance, so that threads need not wait for the slowest of a strip's bands.
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
        """A copy of the flux (or weight) in a box of a band's own grid.

        Parameters
        ----------
        left, top, shape : the box's first column and row, on the tile, its height and width.
        of : "flux" or "weight".

        Returns
        -------
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
    """Strips of a tile, each with the items whose rows it completes.

    Item k needs the rows from `low[k]` to `high[k]` (exclusive, on the tile): it comes once, with the first strip that
    holds them all. A strip's arrays are valid until the next strip is requested. Rows that no item needs are not read.
    The next rows are read while the caller works on a strip.

    Parameters
    ----------
    low, high : int [n].
    weights : whether the strips have weights.
    step : rows that are read at a time; `STRIP` if not given.
    threads : that read; if not given one for each band, but no more than there are cores.
    readers : processes that read instead.

    Yields
    ------
    A strip, and int [m], which of the items.

    Raises
    ------
    InputError : a file turns out to be damaged.
    """
    if not len(low):
        return
    order = np.argsort(high, kind="stable")
    ends = high[order]
    # The lowest row that an item needs, or any after it.
    needed = np.minimum.accumulate(low[order][::-1])[::-1]
    step = step or STRIP
    headroom = int(step * HEADROOM)
    threads = threads or min(len(tile.bands), os.cpu_count() or 1)
    # One more strip than is read in advance: the one that the caller works on.
    with read_ahead(tile, weights, step, headroom, AHEAD + 1, threads, readers) as ask:
        requests = _Requests(tile, ask, _steps(ends, needed, step))
        done = 0
        before: Strip | None = None
        for start, stop, read in requests:
            strip = _Buffer(tile, start, stop, headroom, read).after(before, int(needed[done]))
            # The memory of the strip before is free now.
            before = None
            requests.refill()
            ready = int(np.searchsorted(ends, stop, side="right"))
            if ready > done:
                yield strip, order[done:ready]
            before, done = strip, ready


class _Requests:
    """The rows of all steps in all bands, `AHEAD` of them requested in advance. Iterate once."""

    def __init__(self, tile: Tile, ask: Ask, steps: Iterator[tuple[int, int]]):
        self._bands, self._ask, self._steps = tile.bands, ask, steps
        self._pending: deque[tuple[int, int, dict[str, Future[PixelRows]]]] = deque()
        self.refill()

    def refill(self) -> None:
        """Request the next rows, as many as may be read in advance."""
        for start, stop in islice(self._steps, AHEAD - len(self._pending)):
            self._pending.append((start, stop, {band: self._ask(band, start, stop) for band in self._bands}))

    def __iter__(self) -> Iterator[tuple[int, int, dict[str, PixelRows]]]:
        while self._pending:
            start, stop, bands = self._pending.popleft()
            yield start, stop, {band: rows.result() for band, rows in bands.items()}


def _steps(ends: np.ndarray, needed: np.ndarray, step: int) -> Iterator[tuple[int, int]]:
    """The rows that are read at a time: the first, and the one after the last.

    `ends` are the rows at which items end, in rising order; `needed` is the lowest row of each and of those after it.
    """
    done = stop = 0
    rows = step // FIRST
    while done < len(ends):
        start = max(stop, int(needed[done]))
        stop, rows = min(start + rows, int(ends[-1])), step
        yield start, stop
        done = int(np.searchsorted(ends, stop, side="right"))


@dataclass(frozen=True)
class _Buffer:
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
