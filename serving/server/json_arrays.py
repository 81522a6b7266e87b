"""Long arrays of numbers as JSON, read and written by Arrow.

That is ten times as fast as Python's json and holds Python's global lock for moments only, so that a request of
many galaxies holds up nobody else's. What is unusual or wrong is left to Python's json: `Unusual` says so.
"""

import base64
import io
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from serving.server.bodies import MOST_OBJECTS, MOST_TEXT, MOST_VALUES, TooMuch

#: Characters from which on an array is worth a call of Arrow, the most such arrays looked for, their highest rank.
_LONG, _MOST, _RANK = 512, 10_000, 8

#: What an array holds besides brackets and commas; NaN and Infinity are numbers too.
_NUMBERS = b"0123456789+-.eE \t\r\nNaInfity"
_ONE_A_LINE = bytes.maketrans(b"[],\n\r", b"  \n  ")

#: Bytes that are translated at once: Python's other threads get their turn in between.
_PIECE = 1 << 20


#: What Arrow takes for a number and JSON does not: `+1`, `.5`, `1.`, `01`; and what may be too large for a double.
_NO_JSON = r"(?:^|[\[,\s])-?(?:[+.]|0[0-9])|\.(?:[^0-9]|$)|[eE]\+?(?:309|3[1-9][0-9]|[04-9][0-9]{2}|[0-9]{4})"


class Unusual(Exception):
    """This is no plain array of numbers: Python's json has to read it."""


@dataclass(frozen=True)
class Block:
    """A long array of numbers, still as text, which is a part of the body: its type is known once the request's
    signature is."""

    text: memoryview

    def array(self, dtype: np.dtype) -> np.ndarray:
        """The array. Raises Unusual unless it holds numbers that are the same in that type."""
        if dtype.kind not in "fiu":
            raise Unusual
        shape = self._shape()
        # Arrow's own search runs outside Python's lock.
        offsets = pa.py_buffer(np.array([0, len(self.text)], np.int32))
        text = pa.BinaryArray.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(self.text)])
        if pc.match_substring_regex(text, _NO_JSON)[0].as_py():
            raise Unusual
        try:
            table = pyarrow.csv.read_csv(
                pa.py_buffer(_translated(self.text, _ONE_A_LINE)),
                pyarrow.csv.ReadOptions(use_threads=False, column_names=["value"]),
                pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
                pyarrow.csv.ConvertOptions(
                    column_types={"value": pa.from_numpy_dtype(dtype)}, null_values=[], strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            raise Unusual from None
        array = table["value"].to_numpy()
        if len(array) != np.prod(shape):
            raise Unusual
        return array.reshape(shape)

    def _shape(self) -> tuple[int, ...]:
        """The lengths of the nested lists. Unusual unless all lists at one depth are equally long."""
        skeleton = _translated(self.text, None, _NUMBERS)
        rank = len(skeleton) - len(skeleton.lstrip(b"["))
        expected, shape = b"", []
        if rank > _RANK:
            raise Unusual
        for depth in range(1, rank + 1):
            # From the innermost lists outwards: the first one of each depth tells how long all should be.
            first = skeleton[rank - depth : skeleton.find(b"]" * depth) + depth]
            shape.append((len(first) - 1) // (len(expected) + 1))
            expected = b"[" + ((expected + b",") * shape[-1])[:-1] + b"]"
        if expected != skeleton:
            raise Unusual
        return tuple(reversed(shape))


def loads(body: bytes):
    """What Python's json makes of a body, but with its long arrays of numbers as `Block`s. ValueError where it is
    no JSON (inside the blocks nothing is checked), RecursionError where it is nested too deeply."""
    # Nobody can guess it, so no string of the body is taken for the place of a block.
    mark = secrets.token_hex(8)
    blocks: list[Block] = []
    parts: list[bytes] = []
    done, view = 0, memoryview(body)
    for start, stop in _blocks(body):
        parts += [body[done:start], f'"{mark}{len(blocks)}"'.encode()]
        blocks.append(Block(view[start:stop]))
        done = stop

    def restored(value):
        if isinstance(value, str) and value.startswith(mark):
            return blocks[int(value.removeprefix(mark))]
        if isinstance(value, list):
            return [restored(each) for each in value]
        if isinstance(value, Repeating):
            return Repeating([(key, restored(each)) for key, each in value.pairs])
        if isinstance(value, dict):
            return {key: restored(each) for key, each in value.items()}
        return value

    if not blocks:
        return loads_plainly(body)
    try:
        return restored(loads_plainly(b"".join([*parts, body[done:]])))
    except ValueError:
        # Either what looked like an array was part of a string, or the body is wrong and json says where.
        return loads_plainly(body)


def loads_plainly(body: bytes):
    """What Python's json makes of a body. TooMuch where it holds more than `MOST_TEXT` bytes, `MOST_VALUES` values or
    `MOST_OBJECTS` objects: they are counted before any is read."""
    if len(body) > MOST_TEXT:
        raise TooMuch
    objects = body.count(b"{")
    if objects > MOST_OBJECTS or body.count(b",") + body.count(b"[") + objects > MOST_VALUES:
        raise TooMuch
    text = body.decode("utf-8-sig", "surrogatepass")
    if "Inf" not in text:
        return _decoded(text)
    try:
        return _decoded(text)
    except ValueError:
        return _decoded(_INF.sub(lambda found: _LONG_INF.get(found[0], found[0]), text))


class Repeating(dict):
    """An object in which a key is there twice, with all its `pairs`. Looked up, each key has its first value, as in
    TensorFlow Serving."""

    def __init__(self, pairs: list[tuple[str, object]]):
        super().__init__(reversed(pairs))
        self.pairs = pairs


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeating(pairs)


#: Reads as TensorFlow Serving does: what follows the document is not looked at, and `Inf` is a number.
_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_INF, _LONG_INF = re.compile(r'"(?:[^"\\]|\\.)*"|Inf(?!inity)'), {"Inf": "Infinity"}

#: Numbers that may be too large for a double, and, to pass over them, strings: whole part, decimals, exponent.
_MAYBE_BIG = re.compile(r'"(?:[^"\\]|\\.)*"|-?(\d+)(?:\.(\d*))?(?:[eE]\+?(\d+))?')
_ANY_BIG = re.compile(r"[eE]\+?\d{3}|\d{309}")

#: A tenth of the largest double: a number that is not below it gets no more digits.
_TENTH = 1.7976931348623157e307


def _decoded(text: str):
    """The document at the beginning of a text. ValueError where there is none, and where a number is larger than a
    double holds, as RapidJSON has it: by the exponent, less the decimals, or the number of digits."""
    start = len(text) - len(text.lstrip(" \t\r\n"))
    document, problem = None, None
    try:
        document, end = _DECODER.raw_decode(text, start)
    except ValueError as error:
        problem, end = error, getattr(error, "pos", len(text))
    if _ANY_BIG.search(text, start, end):
        for number in _MAYBE_BIG.finditer(text, start, end):
            whole, decimals, exponent = number.groups()
            if whole and (float(exponent or 0) > 308 + len(decimals or "") or float(whole[:-1] or 0) >= _TENTH):
                raise json.JSONDecodeError("Number too big to be stored in double.", text, number.start())
    if problem:
        raise problem
    return document


def _blocks(body: bytes) -> Iterator[tuple[int, int]]:
    """Where in a body long texts stand between brackets, with no string and no object inside."""
    position = 0
    marks = dict.fromkeys((b'"', b"{", b"}"), -1)
    for _ in range(_MOST):
        # Where each mark comes next is kept until it is passed, so that the body is searched once.
        for mark, place in marks.items():
            if place < position:
                found = body.find(mark, position)
                marks[mark] = len(body) if found < 0 else found
        end = min(marks.values())
        if end - position >= _LONG:
            first, last = body.find(b"[", position, end), body.rfind(b"]", position, end)
            if 0 <= first < last - _LONG:
                yield first, last + 1
        position = end + 1
        if position >= len(body):
            return


def _translated(text: memoryview, table: bytes | None, without: bytes = b"") -> bytes:
    # Unlike a list of pieces it becomes one text without a copy.
    written = io.BytesIO()
    for start in range(0, len(text), _PIECE):
        written.write(bytes(text[start : start + _PIECE]).translate(table, without))
    return written.getvalue()


def texts(array: np.ndarray, as_bytes: bool = False) -> pa.Array:
    """Each row of an array [n, ...] as JSON.

    Floating numbers have the fewest digits that give them back, and a point or an exponent; text is UTF-8, or an
    object with base64 if `as_bytes`.
    """
    if array.ndim > 1:
        count, length = array.shape[:2]
        inner = texts(array.reshape(count * length, *array.shape[2:]), as_bytes)
        offsets = pa.array(np.arange(count + 1, dtype="int32") * length)
        lists = pa.ListArray.from_arrays(offsets, inner)
        return pc.binary_join_element_wise("[", pc.binary_join(lists, ", "), "]", "")
    if array.dtype.kind == "O":
        return pa.array([_string(value, as_bytes) for value in array.tolist()], pa.string())
    written = pc.cast(pa.array(array), pa.string())
    if array.dtype.kind != "f":
        return written
    finite = np.isfinite(array)
    if not finite.all():
        for name, token in (("nan", "NaN"), ("inf", "Infinity"), ("-inf", "-Infinity")):
            written = pc.if_else(pc.equal(written, name), token, written)
    whole = finite & (array == np.trunc(array))
    if whole.any():
        bare = pc.and_(pa.array(whole), pc.invert(pc.match_substring(written, "e")))
        written = pc.if_else(bare, pc.binary_join_element_wise(written, ".0", ""), written)
    return written


def _string(value: bytes, as_bytes: bool) -> str:
    if as_bytes:
        return json.dumps({"b64": base64.b64encode(value).decode()})
    return json.dumps(value.decode(errors="replace"), ensure_ascii=False)


def joined(rows: pa.Array, separator: str) -> str:
    """All rows in one text."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
    return pc.binary_join(whole, separator)[0].as_py()
