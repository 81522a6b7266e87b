"""Bodies of REST requests: one that no model could use is refused after a few megabytes, and before it is decoded."""

import gzip
import json
import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from serving.savedmodel.servable import StatusError, TensorSpec
from serving.server import bodies
from serving.server.bodies import MOST_TEXT, Decompression, Limits, TooLarge, TooMuch, count


def signature(dtype: str, *shape) -> SimpleNamespace:
    """What matters here of a signature with one input and at most 128 rows."""
    return SimpleNamespace(inputs={"x": TensorSpec(np.dtype(dtype), (None, *shape))}, max_rows=128)


IMAGES = signature("float32", 64, 64, 3)
LIMITS = Limits.of(64 << 20, [IMAGES])


def unpack(packed: bytes, limits: Limits = LIMITS, encoding: str = "gzip") -> bytes:
    return Decompression(packed, encoding, limits).advance(1 << 30)


def repeated(before: bytes, value: bytes, times: int, after: bytes) -> bytes:
    return before + b",".join([value] * times) + after


BOMBS = {
    "objects": repeated(b'{"instances": [', b'{"b64": ""}', 1_500_000, b"]}"),
    "strings": repeated(b'{"signature_name": "describe", "instances": [[', b'""', 1_500_000, b"]]}"),
    "wrong numbers": repeated(b'{"instances": [', b"[01]", 6_000_000, b"]}"),
    "numbers": repeated(b'{"instances": [[', b"0", 20_000_000, b"]]}"),
    "empty lists": repeated(b'{"instances": [', b"[]", 12_000_000, b"]}"),
    "open lists": b"[" * 40_000_000,
    "one string": b'{"instances": ["' + b"x" * 40_000_000 + b'"]}',
    "blanks": b'{"instances": [' + b" " * 40_000_000 + b"1]}",
    "zeros": bytes(40_000_000),
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=list(BOMBS))
def test_a_body_that_unpacks_into_too_much_is_refused_early_and_in_little_memory(body):
    packed = gzip.compress(body, 1)
    tracemalloc.start()
    try:
        with pytest.raises(TooMuch, match="A request"):
            unpack(packed)
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()
    with pytest.raises(TooMuch, match="A request"):
        count(body, LIMITS)


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_galaxies_are_unpacked(indent, encoding):
    stamps = np.random.default_rng(0).normal(size=(8, 64, 64, 3))
    body = json.dumps({"instances": [{"image": stamp} for stamp in stamps.tolist()]}, indent=indent).encode()
    packed = gzip.compress(body, 1) if encoding == "gzip" else zlib.compress(body, 1)
    assert unpack(packed, encoding=encoding) == body
    count(body, LIMITS)


def test_the_most_galaxies_pass_and_a_few_more_but_not_thrice_as_many():
    galaxy = "[" + ",".join(["[" + ",".join(["[0,0,0]"] * 64) + "]"] * 64) + "]"
    for rows in (128, 200):
        count(f'{{"instances": [{",".join([galaxy] * rows)}]}}'.encode(), LIMITS)
    with pytest.raises(TooMuch, match="at most 128 rows"):
        count(f'{{"instances": [{",".join([galaxy] * 400)}]}}'.encode(), LIMITS)


def test_text_of_any_number_is_limited_by_its_length():
    limits = Limits.of(64 << 20, [IMAGES, signature("object", None)])
    assert limits.numbers is None
    count(b'{"instances": [[' + b",".join([b"1.0"] * 5_000_000) + b"]]}", limits)
    with pytest.raises(TooMuch):
        count(b"[" * (bodies.MOST_NUMBERS + 1), limits)
    with pytest.raises(TooMuch):
        count(b'["' + b"x" * (MOST_TEXT + 1000) + b'"]', limits)


def test_a_large_body_is_unpacked_in_two_goes():
    body = b"[" + b",".join([b"123456"] * 500_000) + b"]"
    content = Decompression(gzip.compress(body), "gzip", LIMITS)
    assert content.advance(bodies._PIECE) is None
    assert content.advance(1 << 30) == body


def test_bytes_are_limited():
    with pytest.raises(TooLarge, match="at most 1000 bytes"):
        unpack(gzip.compress(bytes(1001)), Limits(1000))


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [(b"", "gzip"), (b"x", "gzip"), (gzip.compress(b"{}" * 999)[:-9], "deflate"), (gzip.compress(b"{}"), "br")],
    ids=["nothing", "a letter", "gzip cut short as deflate", "gzip as brotli"],
)
def test_what_is_not_compressed_so_is_refused(packed, encoding):
    with pytest.raises(StatusError, match="Content-Encoding") as problem:
        unpack(packed, encoding=encoding)
    assert problem.value.status == "INVALID_ARGUMENT"
