"""The body of a REST request, unpacked and counted: one that no model could want is refused before it is read.

A few kilobytes can unpack into millions of values, and Python's json holds Python's lock while it makes objects of
them. So commas and brackets are counted first, piece by piece as the body unpacks, outside of the lock.
"""

import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import numpy as np

from serving.savedmodel.servable import Signature, StatusError

#: The most text besides long arrays of numbers, in bytes, the most values in it, and the most that are objects.
MOST_TEXT, MOST_VALUES, MOST_OBJECTS = 4 << 20, 100_000, 10_000

#: Bytes a number, with the blanks around it, beyond which it is no number but text.
_NUMBER = 64

#: Text that is longer than this and was packed into less than so small a part of it is nobody's.
_PACKED_TEXT, _RATIO = 1 << 20, 64

_MOST = (
    f"A request holds at most {MOST_VALUES} values, {MOST_OBJECTS} of them objects, and {MOST_TEXT >> 20} MB of text "
    f"besides arrays of numbers; {_PACKED_TEXT >> 20} MB of text that compression makes {_RATIO} times smaller"
)

#: Bytes that are counted or unpacked at once.
_PIECE = 1 << 18


class TooLarge(StatusError):
    """A request's body is over the limit in bytes."""

    def __init__(self, size: int):
        super().__init__("INVALID_ARGUMENT", f"A request's body holds at most {size} bytes")


class TooMuch(StatusError):
    """A body holds more values than any request needs."""

    def __init__(self, sentence: str = _MOST):
        super().__init__("INVALID_ARGUMENT", sentence)


@dataclass(frozen=True)
class Limits:
    """What a body may hold: `size` in bytes, and `numbers` in `rows` of the model's inputs; None where any number may
    be right."""

    size: int
    rows: int = 0
    numbers: int | None = None

    @classmethod
    def of(cls, size: int, signatures: Collection[Signature]) -> "Limits":
        """Those of a model: of its largest signature twice, so that a few rows too many are told by their number."""
        rows, most = max((each.max_rows for each in signatures), default=0), 0
        for signature in signatures:
            values = 0
            for spec in signature.inputs.values():
                shape = [length for length in spec.shape[1:] if length is not None]
                if len(shape) < len(spec.shape) - 1:
                    return cls(size, rows)
                # A list of n has a bracket and n - 1 commas, at each depth.
                values += sum(prod(shape[:depth]) for depth in range(len(shape) + 1))
            most = max(most, values)
        return cls(size, rows, 2 * rows * most)


class Counter:
    """Counts what a body holds, piece by piece."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._size = self._values = self._objects = self._quotes = 0

    def add(self, piece: bytes | memoryview, most_text: int = MOST_TEXT) -> None:
        """Raises TooLarge or TooMuch as soon as there is more than any request needs."""
        characters = np.frombuffer(piece, np.uint8)
        commas, lists, objects, quotes = (int(np.count_nonzero(characters == ord(mark))) for mark in ',[{"')
        self._size += len(piece)
        self._values += commas + lists + objects
        self._objects += objects
        self._quotes += quotes
        if self._size > self._limits.size:
            raise TooLarge(self._limits.size)
        # A string is a value or the name of one.
        if self._objects > MOST_OBJECTS or self._quotes > 4 * MOST_VALUES:
            raise TooMuch
        if self._size > most_text + _NUMBER * self._values:
            raise TooMuch
        if self._limits.numbers is not None and self._values > MOST_VALUES + self._limits.numbers:
            raise TooMuch(f"A request to this model holds at most {self._limits.rows} rows, and this one more numbers")


def count(body: bytes, limits: Limits) -> None:
    """Raises TooLarge or TooMuch where a body holds more than any request needs."""
    counter, view = Counter(limits), memoryview(body)
    for start in range(0, len(body), _PIECE):
        counter.add(view[start : start + _PIECE])


class Unpacking:
    """A compressed body on its way back to what it was.

    Raises Refused where its encoding is not known, and in `go_on` where it is not compressed in that way.
    """

    def __init__(self, body: bytes, encoding: str, limits: Limits):
        if encoding.lower() not in ("gzip", "deflate"):
            raise StatusError(
                "INVALID_ARGUMENT", f"A body of Content-Encoding {encoding[:40]} cannot be read; use gzip."
            )
        self._packed, self._place, self._counter = memoryview(body), 0, Counter(limits)
        # 32 more than the largest window means either format, gzip's or zlib's.
        self._inflating = zlib.decompressobj(32 + zlib.MAX_WBITS)
        # Unlike a list of pieces it becomes the body without a copy.
        self._done = io.BytesIO()

    def go_on(self, size: int) -> bytes | None:
        """The body, where it has no more than so many bytes more; None where it has. Raises TooLarge or TooMuch as
        soon as it holds more than any request needs."""
        end = self._done.tell() + size
        while not self._inflating.eof:
            if self._done.tell() >= end:
                return None
            piece = self._next()
            read = self._place - len(self._inflating.unconsumed_tail)
            self._counter.add(piece, min(MOST_TEXT, _PACKED_TEXT + _RATIO * read))
            self._done.write(piece)
        return self._done.getvalue()

    def _next(self) -> bytes:
        """The next piece of the body; Refused where there is none."""
        # Fed in pieces too: what is not yet unpacked is copied each time.
        packed: bytes | memoryview = self._inflating.unconsumed_tail
        if not packed:
            packed = self._packed[self._place : self._place + _PIECE]
            self._place += len(packed)
        try:
            piece = self._inflating.decompress(packed, _PIECE)
        except zlib.error:
            piece = packed = b""
        if not piece and not packed and not self._inflating.eof:
            raise StatusError("INVALID_ARGUMENT", "The request's body is not compressed as its Content-Encoding says.")
        return piece
