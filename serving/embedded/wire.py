"""PredictResponses, written as bytes: what an answer holds besides its numbers is the same for all of its size."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from serving.embedded.batcher import Part
from serving.messages import PredictResponse, to_tensor


def write(model: str, version: int, signature: str, names: Sequence[str], part: Part) -> bytes:
    """The PredictResponse with a part's outputs `names`, serialised."""
    outputs = [part.outputs[name] for name in names]
    if any(output.dtype.kind == "O" for output in outputs):
        return _message(model, version, signature, zip(names, outputs, strict=True), part).SerializeToString()
    kinds = tuple((name, output.dtype, output.shape[1:]) for name, output in zip(names, outputs, strict=True))
    pieces, end = _frame(model, version, signature, kinds, part.stop - part.start)
    response: list[bytes | memoryview] = []
    for piece, output in zip(pieces, outputs, strict=True):
        response.append(piece)
        response.append(output[part.start : part.stop].data)
    response.append(end)
    return b"".join(response)


def _message(model: str, version: int, signature: str, outputs, part: Part):
    response = PredictResponse()
    for name, output in outputs:
        to_tensor(output[part.start : part.stop], response.outputs[name])
    response.model_spec.name, response.model_spec.signature_name = model, signature
    response.model_spec.version.value = version
    return response


@lru_cache(maxsize=1024)
def _frame(model: str, version: int, signature: str, kinds, rows: int) -> tuple[list[bytes], bytes]:
    """The bytes of a response before each output's numbers, and after the last.

    Field numbers and types are those of `predict.proto`: `outputs` (1) is a map, so each entry is a message of
    key (1) and value (2), a TensorProto, whose last field here is `tensor_content` (4).
    """
    pieces = []
    for name, dtype, shape in kinds:
        tensor = to_tensor(np.empty((0, *shape), dtype))
        tensor.tensor_shape.dim[0].size = rows
        tensor.tensor_content = b""
        size = rows * int(np.prod(shape, dtype=int)) * dtype.itemsize
        head = tensor.SerializeToString() + b"\x22" + _varint(size)
        key = b"\x0a" + _varint(len(name.encode())) + name.encode()
        value = b"\x12" + _varint(len(head) + size) + head
        pieces.append(b"\x0a" + _varint(len(key) + len(value) + size) + key + value)
    end = PredictResponse()
    end.model_spec.name, end.model_spec.signature_name = model, signature
    end.model_spec.version.value = version
    return pieces, end.SerializeToString()


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
