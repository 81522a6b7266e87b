"""Rows of a tile read in advance, by threads or by processes that write to shared memory.

A row of a compressed plane is decompressed in less than a tenth of a millisecond, and threads that return to Python's
global lock so often block each other: two of them take half as much CPU time again as one. Processes do not, and they
send nothing back: they write to memory that this process maps too.
"""

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, cycle
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from morph.fits.calibrated import Calibrated, FillRows, PixelRows

if TYPE_CHECKING:
    from morph.tiles.tile import Tile


#: Bytes that processes can write rows to. None of them is taken before it is written to.
ROOM = 4 << 30


#: Where rows are written: the first byte, for how many rows there is room before them, how many they are, their width,
#: and whether there are weights.
Slot = tuple[int, int, int, int, bool]


#: Requests a band's rows, from the first number to the second (exclusive).
Ask = Callable[[str, int, int], Future[PixelRows]]


#: What a process runs, which finds modules where this one does.
_START = "import sys; sys.path[:] = sys.argv[3:]; from morph.tiles.prefetch import serve; serve(*sys.argv[1:3])"


@contextmanager
def read_ahead(
    tile: "Tile", weights: bool, rows: int, headroom: int, depth: int, threads: int, readers: "Readers | None" = None
) -> Iterator[Ask]:
    """A function that requests rows of a tile in advance.

    Parameters
    ----------
    weights : whether inverse variances are read too.
    rows : that are requested together, at most.
    headroom : rows that the arrays have room for before those that were read, so that rows can be joined cheaply.
    depth : requests of a band after which its arrays are overwritten.
    threads : that read.
    readers : processes that read instead.

    Yields
    ------
    Ask : given a band, a first row and the one after the last, returns the future of their `PixelRows`.
    """
    size = _slot_size(headroom + rows, tile.shape[1], weights)
    weighted = {band: weights and tile.stored(band).weights is not None for band in tile.bands}
    files: dict[str, FillRows] = {}
    locks = {band: Lock() for band in tile.bands}
    slots = size * np.arange(depth * len(tile.bands)).reshape(-1, depth)
    places = {band: cycle(row) for band, row in zip(tile.bands, slots.tolist(), strict=True)}
    number = readers.number if readers else threads
    with ExitStack() as stack:
        shared = stack.enter_context(readers.assigned(tile, size * depth * len(tile.bands))) if readers else None
        memory = np.empty(size * depth * len(tile.bands), "uint8") if shared is None else shared.room
        opened = stack.enter_context(ExitStack())
        # The threads come to an end before what they use does.
        pool = stack.enter_context(ThreadPoolExecutor(number))
        stack.callback(pool.shutdown, cancel_futures=True)

        def read(band: str, place: int, start: int, stop: int) -> PixelRows:
            slot = place, headroom, stop - start, tile.shape[1], weighted[band]
            found = _arrays(memory, *slot)
            if shared is None or not shared.fill(band, start, slot):
                with locks[band]:
                    if band not in files:
                        files[band] = opened.enter_context(tile.filling(band, weights))
                    files[band](start, *_without_headroom(headroom, found))
            return found

        yield lambda band, start, stop: pool.submit(read, band, next(places[band]), start, stop)


class Readers:
    """Processes that read rows, of one tile at a time."""

    def __init__(self, processes: list["_Process"], room: mmap.mmap):
        self.number = len(processes)
        self.room = room
        self._free: SimpleQueue[_Process] = SimpleQueue()
        for process in processes:
            self._free.put(process)
        self._numbers = count()
        self._assigned = Lock()

    @classmethod
    @contextmanager
    def started(cls, number: int) -> "Iterator[Readers | None]":
        """So many processes as long as the context lasts; None for none, or where the system refuses them."""
        with ExitStack() as stack:
            yield cls._start(number, stack) if number > 0 and hasattr(os, "memfd_create") else None

    @classmethod
    def _start(cls, number: int, stack: ExitStack) -> "Readers | None":
        try:
            # Unlike a file in /dev/shm it has no name that could be left behind, and containers do not limit it.
            memory = os.memfd_create("morph-rows")
            stack.callback(os.close, memory)
            os.ftruncate(memory, ROOM)
            room = mmap.mmap(memory, ROOM)
            return cls([stack.enter_context(_Process.started(memory)) for _ in range(number)], room)
        except OSError:
            return None

    def wait(self) -> None:
        """Wait until all have started."""
        processes = [self._free.get() for _ in range(self.number)]
        for process in processes:
            with suppress(EOFError, OSError):
                process.wait()
            self._free.put(process)

    @contextmanager
    def assigned(self, tile: "Tile", size: int) -> "Iterator[_Assignment | None]":
        """These processes for one tile and so many bytes of their memory.

        None where they read another tile, or the pixels are in memory or would take too much of it.
        """
        if tile.loaded or size > ROOM or not self._assigned.acquire(blocking=False):
            yield None
            return
        try:
            yield _Assignment(next(self._numbers), tile, self._free, self.room)
        finally:
            self._assigned.release()


class _Assignment:
    """Processes that read one tile."""

    def __init__(self, number: int, tile: "Tile", free: "SimpleQueue[_Process]", room: mmap.mmap):
        self.room = room
        self._number, self._tile, self._free = number, tile, free

    def fill(self, band: str, start: int, slot: Slot) -> bool:
        """Have a band's rows read from `start` on by a process.

        False where no process has started yet, it has ended, or the rows cannot be read.
        """
        process = self._free.get()
        try:
            return process.fill((self._number, band), self._tile.calibrated(band), start, slot)
        finally:
            self._free.put(process)


class _Process:
    """A process that reads rows when asked, by one thread at a time."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._ready = False
        self._sent: set[tuple[int, str]] = set()

    @classmethod
    @contextmanager
    def started(cls, memory: int) -> "Iterator[_Process]":
        ours, theirs = Pipe()
        command = [sys.executable, "-c", _START, str(theirs.fileno()), str(memory), *sys.path]
        with ours:
            with theirs:
                # In a session of its own, a key that interrupts the job does not interrupt it too.
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), memory), start_new_session=True
                )
            try:
                yield cls(ours)
            finally:
                process.kill()
                process.wait()

    def fill(self, band: tuple[int, str], pixels: Calibrated, start: int, slot: Slot) -> bool:
        """Whether a band's rows from one on have been written to a slot."""
        # The connection of a process that has ended is always ready.
        with suppress(EOFError, OSError):
            if not (self._ready or self._connection.poll()):
                return False
            self.wait()
            self._connection.send((band, None if band in self._sent else pixels, start, slot))
            self._sent.add(band)
            return self._connection.recv()
        return False

    def wait(self) -> None:
        """Wait until it has started. EOFError when it has ended."""
        self._ready = self._ready or self._connection.recv()


def _slot_size(height: int, width: int, weights: bool) -> int:
    """Bytes of a slot for so many rows at most: whole pages."""
    return -(-(9 if weights else 5) * height * width // mmap.PAGESIZE) * mmap.PAGESIZE


def _arrays(
    room: mmap.mmap | np.ndarray, place: int, headroom: int, height: int, width: int, weights: bool
) -> PixelRows:
    """The arrays in a slot."""
    shape = headroom + height, width
    pixels = shape[0] * width

    def array(kind: type, begin: int) -> np.ndarray:
        return np.frombuffer(room, kind, pixels, place + begin * pixels).reshape(shape)

    return array(np.float32, 0), array(np.bool_, 8 if weights else 4), array(np.float32, 4) if weights else None


def _without_headroom(headroom: int, slot: PixelRows) -> PixelRows:
    """The arrays without the room before their rows."""
    flux, saturated, weight = slot
    return flux[headroom:], saturated[headroom:], None if weight is None else weight[headroom:]


def serve(connection: str, memory: str) -> None:
    """Read rows as long as the connection is open; both arguments are file descriptors.

    A request is a band (the number of a tile and the band's name), its `Calibrated` where it is new, the first row
    and a slot; the answer is whether the rows are there.
    """
    with Connection(int(connection)) as requests, ExitStack() as files:
        room = mmap.mmap(int(memory), ROOM)
        opened: dict[str, FillRows] = {}
        current = -1
        with suppress(EOFError, OSError):
            requests.send(True)
            while True:
                (number, band), new, start, slot = requests.recv()
                if number != current:
                    files.close()
                    opened, current = {}, number
                try:
                    if new is not None:
                        opened[band] = files.enter_context(new.opened(weights=slot[-1]))
                    opened[band](start, *_without_headroom(slot[1], _arrays(room, *slot)))
                # The process that asked will meet the error again, and reports it.
                except Exception:
                    requests.send(False)
                else:
                    requests.send(True)
