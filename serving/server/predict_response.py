"""PredictResponses written as bytes: apart from its numbers, an answer is the same for all of its size."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from serving.protocol.messages import PredictResponse, TensorProto, to_tensor, value_field
from serving.server.batcher import Part


def write(
    model: str, version: int, signature: str, names: Sequence[str], part: Part, as_content: bool = False
) -> bytes:
    """A serialised PredictResponse.

    Parameters
    ----------
    model, version, signature : of the model that answered.
    names : the outputs to send.
    part : the request's part of a pass through the network.
    as_content : send numbers in `tensor_content`, as TensorFlow Serving does with
        `--enable_serialization_as_tensor_content`, instead of in `float_val`, `int_val` and so on. Text is in
        `string_val` either way.

    Returns
    -------
    The message's bytes.
    """
    outputs = [part.outputs[name] for name in names]
    if any(output.dtype.kind == "O" for output in outputs):
        return _message(model, version, signature, zip(names, outputs, strict=True), part).SerializeToString()
    kinds = tuple((name, output.dtype, output.shape[1:]) for name, output in zip(names, outputs, strict=True))
    rows = [output[part.start : part.stop] for output in outputs]
    content: list[bytes | memoryview]
    if as_content:
        content, sizes = [each.data for each in rows], None
    else:
        content = [_values(each) for each in rows]
        sizes = tuple(map(len, content))
        # A field of no values is left out.
        if not all(sizes):
            return _message(model, version, signature, zip(names, outputs, strict=True), part).SerializeToString()
    pieces, end = _frame(model, version, signature, kinds, part.stop - part.start, sizes)
    response: list[bytes | memoryview] = []
    for piece, each in zip(pieces, content, strict=True):
        response.append(piece)
        response.append(each)
    response.append(end)
    return b"".join(response)


def _message(model: str, version: int, signature: str, outputs, part: Part):
    response = PredictResponse()
    for name, output in outputs:
        to_tensor(output[part.start : part.stop], response.outputs[name], by_value=True)
    response.model_spec.name, response.model_spec.signature_name = model, signature
    response.model_spec.version.value = version
    return response


def _values(array: np.ndarray) -> bytes | memoryview:
    """An array's values as a packed field of protobuf: floating numbers as in memory, others as varints."""
    if array.dtype.kind == "f":
        return array.data.cast("B") if array.size else b""
    numbers = array.ravel()
    # True, false and small numbers are one byte each.
    if not numbers.size or (numbers.min() >= 0 and numbers.max() < 128):
        return numbers.astype("uint8").tobytes()
    return b"".join([_varint(number & (1 << 64) - 1) for number in numbers.tolist()])


@lru_cache(maxsize=1024)
def _frame(
    model: str, version: int, signature: str, kinds, rows: int, sizes: tuple[int, ...] | None
) -> tuple[list[bytes], bytes]:
    """The bytes of a response before each output's numbers, and after the last.

    Field numbers and types are those of `predict.proto`: `outputs` (1) is a map, so each entry is a message of
    key (1) and value (2), a TensorProto, whose last field here holds the numbers: the packed field of its type, of so
    many bytes (`sizes`), or `tensor_content` (4) where `sizes` is None.
    """
    pieces = []
    for index, (name, dtype, shape) in enumerate(kinds):
        tensor = to_tensor(np.empty((0, *shape), dtype))
        tensor.tensor_shape.dim[0].size = rows
        tensor.tensor_content = b""
        size = rows * int(np.prod(shape, dtype=int)) * dtype.itemsize if sizes is None else sizes[index]
        field = TensorProto.DESCRIPTOR.fields_by_name["tensor_content" if sizes is None else value_field(dtype)]
        # Both, bytes and packed numbers, are written with their length in front (wire type 2).
        head = tensor.SerializeToString() + _varint(field.number << 3 | 2) + _varint(size)
        key = b"\x0a" + _varint(len(name.encode())) + name.encode()
        value = b"\x12" + _varint(len(head) + size) + head
        pieces.append(b"\x0a" + _varint(len(key) + len(value) + size) + key + value)
    end = PredictResponse()
    end.model_spec.name, end.model_spec.signature_name = model, signature
    end.model_spec.version.value = version
    return pieces, end.SerializeToString()


def _varint(number: int) -> bytes:
    """A number in protobuf's encoding: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
