"""Rows of a tile read in advance: by threads, with the help of processes that do not wait for Python's lock.

A row of a compressed plane is unpacked in less than a tenth of a millisecond, and threads that come back for Python's
lock so often hold each other up: two of them take half as much again of the processors' time as one. Processes do
not, and what they read need not be sent: they write it where this process looks.
"""

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import count, cycle
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock

import numpy as np

from morph.images.planes import FillRows, PixelRows, Planes, ReadRows
from morph.images.tiles import Tile

#: Asks for a band's rows, from the first number to the second (exclusive).
Ask = Callable[[str, int, int], Future[PixelRows]]

#: Bytes that processes can write rows to. None of them is taken before it is written to.
ROOM = 4 << 30

#: What a process runs, which finds modules where this one does.
_START = "import sys; sys.path[:] = sys.argv[3:]; from morph.images.reading import serve; serve(*sys.argv[1:3])"


@contextmanager
def read_ahead(
    tile: Tile, weights: bool, rows: int, depth: int, threads: int, readers: "Readers | None" = None
) -> Iterator[Ask]:
    """What reads rows of a tile in advance, at most `rows` at a time, by so many threads or by `readers`.

    What was read may be overwritten when its band has been asked for `depth` more times.
    """
    elsewhere = readers.walking(tile, weights, rows, depth) if readers else nullcontext()
    # The threads come to an end before what they use does.
    with elsewhere as fetch, ExitStack() as files, ThreadPoolExecutor(readers.number if readers else threads) as pool:
        opened: dict[str, ReadRows] = {}
        locks = {band: Lock() for band in tile.bands}

        def read(band: str, start: int, stop: int, slot: int) -> PixelRows:
            found = fetch(band, start, stop, slot) if fetch else None
            if found is not None:
                return found
            with locks[band]:
                if band not in opened:
                    opened[band] = files.enter_context(tile.opened(band, weights))
                return opened[band](start, stop)

        slots = {band: cycle(range(depth)) for band in tile.bands}
        try:
            yield lambda band, start, stop: pool.submit(read, band, start, stop, next(slots[band]))
        finally:
            pool.shutdown(cancel_futures=True)


class Readers:
    """Processes that read rows, of one tile at a time."""

    def __init__(self, processes: list["_Process"], room: mmap.mmap):
        self.number = len(processes)
        self._room = room
        self._free: SimpleQueue[_Process] = SimpleQueue()
        for process in processes:
            self._free.put(process)
        self._walks = count()
        self._walking = Lock()

    @classmethod
    @contextmanager
    def started(cls, number: int) -> "Iterator[Readers | None]":
        """So many processes as long as the context lasts; None for none, or where the system will not have it."""
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
    def walking(
        self, tile: Tile, weights: bool, rows: int, depth: int
    ) -> Iterator[Callable[[str, int, int, int], PixelRows | None] | None]:
        """What reads a band's rows into one of its `depth` slots; it returns None where it is better read here.

        That is so until a process has started, when it is gone, and for rows that cannot be read. None instead of a
        function where these processes read another tile, or the rows are in memory or take too much of it.
        """
        number, bands, width = next(self._walks), list(tile.bands), tile.shape[1]
        size = _slot_size(rows, width)
        fits = size * depth * len(bands) <= ROOM
        if tile.loaded or not fits or not self._walking.acquire(blocking=False):
            yield None
            return

        def read(band: str, start: int, stop: int, slot: int) -> PixelRows | None:
            place = (bands.index(band) * depth + slot) * size
            planes = tile.stored(band)
            shape = place, stop - start, width, weights and planes.weights is not None
            process = self._free.get()
            try:
                done = process.fill((number, band), planes, tile.zero_point(band), start, shape)
            finally:
                self._free.put(process)
            return _slot(self._room, *shape) if done else None

        try:
            yield read
        finally:
            self._walking.release()


def _slot_size(rows: int, width: int) -> int:
    """Bytes that rows need at most: whole pages."""
    return -(-9 * rows * width // mmap.PAGESIZE) * mmap.PAGESIZE


def _slot(room: mmap.mmap, place: int, height: int, width: int, weights: bool) -> PixelRows:
    """The arrays at a place in the memory that processes share."""
    pixels = height * width

    def array(kind: type, begin: int) -> np.ndarray:
        return np.frombuffer(room, kind, pixels, place + begin * pixels).reshape(height, width)

    return array(np.float32, 0), array(np.bool_, 8), array(np.float32, 4) if weights else None


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

    def fill(self, band: tuple[int, str], planes: Planes, zero_point: float, *where) -> bool:
        """Whether the rows from `where[0]` on have been written to the slot `where[1]`."""
        # A process that has ended is ready to say so, every time.
        with suppress(EOFError, OSError):
            if not (self._ready or self._connection.poll()):
                return False
            self.wait()
            self._connection.send((band, None if band in self._sent else (planes, zero_point), *where))
            self._sent.add(band)
            return self._connection.recv()
        return False

    def wait(self) -> None:
        """Wait until it has started. EOFError when it has ended."""
        self._ready = self._ready or self._connection.recv()


def serve(connection: str, memory: str) -> None:
    """Read rows for as long as somebody asks; both are numbers of open files."""
    with Connection(int(connection)) as asked, ExitStack() as files:
        room = mmap.mmap(int(memory), ROOM)
        opened: dict[str, FillRows] = {}
        walk = -1
        with suppress(EOFError, OSError):
            asked.send(True)
            while True:
                (number, band), new, start, slot = asked.recv()
                if number != walk:
                    files.close()
                    opened, walk = {}, number
                try:
                    if new is not None:
                        planes, zero_point = new
                        opened[band] = files.enter_context(planes.filling(zero_point))
                    opened[band](start, *_slot(room, *slot))
                # Whatever it is, who asked will meet it again and can tell it better.
                except Exception:
                    asked.send(False)
                else:
                    asked.send(True)
