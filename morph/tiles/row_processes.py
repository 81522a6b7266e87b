"""What a process does that reads rows of images for another: it writes them to memory that both see."""

import mmap
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection

import numpy as np

from morph.fits.calibrated import FillRows, PixelRows

#: Bytes that processes can write rows to. None of them is taken before it is written to.
ROOM = 4 << 30

#: Where rows are written: the first byte, for how many rows there is room before them, how many they are, their width,
#: and whether there are weights.
Slot = tuple[int, int, int, int, bool]


def slot_size(height: int, width: int, weights: bool) -> int:
    """Bytes of a slot for so many rows at most: whole pages."""
    return -(-(9 if weights else 5) * height * width // mmap.PAGESIZE) * mmap.PAGESIZE


def arrays(
    room: mmap.mmap | np.ndarray, place: int, headroom: int, height: int, width: int, weights: bool
) -> PixelRows:
    """The arrays in a slot."""
    shape = headroom + height, width
    pixels = shape[0] * width

    def array(kind: type, begin: int) -> np.ndarray:
        return np.frombuffer(room, kind, pixels, place + begin * pixels).reshape(shape)

    return array(np.float32, 0), array(np.bool_, 8 if weights else 4), array(np.float32, 4) if weights else None


def below(headroom: int, slot: PixelRows) -> PixelRows:
    """The arrays without the room before their rows."""
    flux, saturated, weight = slot
    return flux[headroom:], saturated[headroom:], None if weight is None else weight[headroom:]


def serve(connection: str, memory: str) -> None:
    """Read rows for as long as somebody asks; both are numbers of open files.

    A request is a band (the number of a walk and the band's name), its `Calibrated` where it is new, the first row
    and a slot; the answer is whether the rows are there.
    """
    with Connection(int(connection)) as asked, ExitStack() as files:
        room = mmap.mmap(int(memory), ROOM)
        opened: dict[str, FillRows] = {}
        read_strips = -1
        with suppress(EOFError, OSError):
            asked.send(True)
            while True:
                (number, band), new, start, slot = asked.recv()
                if number != read_strips:
                    files.close()
                    opened, read_strips = {}, number
                try:
                    if new is not None:
                        opened[band] = files.enter_context(new.opened(weights=slot[-1]))
                    opened[band](start, *below(slot[1], arrays(room, *slot)))
                # Whatever it is, who asked will meet it again and can tell it better.
                except Exception:
                    asked.send(False)
                else:
                    asked.send(True)
