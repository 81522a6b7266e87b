"""The body of a REST request: decompressed, measured and decoded; one that no model could use is refused unread.

A few kilobytes can decompress into millions of values, and decoding JSON holds Python's lock and makes an object of
each value. So commas and brackets are counted first, piece by piece as the body is decompressed, outside of the lock.
"""

import io
import json
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from math import prod

import numpy as np

from serving.savedmodel.servable import Signature, StatusError

#: The most text besides numbers, in bytes, the most values besides the numbers that a model takes, and the most of
#: them that are objects; and the most values of all where a model takes any number of them.
MOST_TEXT, MOST_VALUES, MOST_OBJECTS, MOST_NUMBERS = 4 << 20, 100_000, 10_000, 8_000_000

#: The most bytes of a number with the blanks around it; whatever is longer counts as text.
_NUMBER = 64

#: Text longer than this that compression makes so many times smaller is refused.
_PACKED_TEXT, _RATIO = 1 << 20, 64

_MOST = (
    f"A request holds at most {MOST_VALUES} values, {MOST_OBJECTS} of them objects, and {MOST_TEXT >> 20} MB of text "
    f"besides arrays of numbers; {_PACKED_TEXT >> 20} MB of text that compression makes {_RATIO} times smaller"
)

#: Bytes that are counted or decompressed at once.
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
    """The most that a body may hold: `size` bytes, and `numbers` in `rows` of the model's inputs; `MOST_NUMBERS` where
    the model takes any number of them (None)."""

    size: int
    rows: int = 0
    numbers: int | None = None

    @classmethod
    def of(cls, size: int, signatures: Collection[Signature]) -> "Limits":
        """Those of a model: twice its largest signature, so that a few rows too many are reported by their number."""
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
        if self._limits.numbers is None:
            if self._values > MOST_NUMBERS:
                raise TooMuch
        elif self._values > MOST_VALUES + self._limits.numbers:
            raise TooMuch(f"A request to this model holds at most {self._limits.rows} rows, and this one more numbers")


def count(body: bytes, limits: Limits) -> None:
    """Raises TooLarge or TooMuch where a body holds more than any request needs."""
    counter, view = Counter(limits), memoryview(body)
    for start in range(0, len(body), _PIECE):
        counter.add(view[start : start + _PIECE])


class Decompression:
    """A compressed body on its way back to its content.

    Raises StatusError for an unknown encoding, and in `advance` where the body is not compressed in that way.
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

    def advance(self, size: int) -> bytes | None:
        """The content, if it ends within so many further bytes; otherwise None. Raises TooLarge or TooMuch as soon as
        it holds more than any request needs."""
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
        """The next piece of the content; StatusError where there is none."""
        # Fed in pieces too: what is not yet decompressed is copied each time.
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


class RepeatedKeys(dict):
    """A JSON object with a key that occurs twice, and all its `pairs`. Looked up, each key has its first value, as in
    TensorFlow Serving."""

    def __init__(self, pairs: list[tuple[str, object]]):
        super().__init__(reversed(pairs))
        self.pairs = pairs


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(pairs)


#: Reads as TensorFlow Serving does: what follows the document is ignored, and `Inf` is a number.
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_INF, _LONG_INF = re.compile(r'"(?:[^"\\]|\\.)*"|Inf(?!inity)'), {"Inf": "Infinity"}

#: Numbers that may be too large for a double, and, to pass over them, strings: whole part, decimals, exponent.
_MAYBE_BIG = re.compile(r'"(?:[^"\\]|\\.)*"|-?(\d+)(?:\.(\d*))?(?:[eE]\+?(\d+))?')
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")

#: A tenth of the largest double: a number that is not below it gets no more digits.
_TENTH = 1.7976931348623157e307


def decode(body: bytes):
    """The JSON document in a body. ValueError where there is none, RecursionError where it is nested too deeply."""
    text = body.decode("utf-8-sig", "surrogatepass")
    # Regular expressions take long on megabytes of numbers.
    digits = body.translate(_DIGITS, b"+")
    may_be_big = b"e000" in digits or b"0" * 309 in digits
    try:
        return _decoded(text, may_be_big)
    except ValueError:
        if "Inf" not in text:
            raise
        return _decoded(_INF.sub(lambda found: _LONG_INF.get(found[0], found[0]), text), may_be_big)


def _decoded(text: str, may_be_big: bool):
    """The document at the beginning of a text. ValueError where there is none, and where a number is larger than a
    double holds, by RapidJSON's rule: by the exponent, less the decimals, or the number of digits."""
    start = len(text) - len(text.lstrip(" \t\r\n"))
    document, problem = None, None
    try:
        document, end = _DECODER.raw_decode(text, start)
    except ValueError as error:
        problem, end = error, getattr(error, "pos", len(text))
    if may_be_big:
        for number in _MAYBE_BIG.finditer(text, start, end):
            whole, decimals, exponent = number.groups()
            if whole and (float(exponent or 0) > 308 + len(decimals or "") or float(whole[:-1] or 0) >= _TENTH):
                raise json.JSONDecodeError("Number too big to be stored in double.", text, number.start())
    if problem:
        raise problem
    return document
