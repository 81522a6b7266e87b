"""TensorFlow Serving's messages, without TensorFlow.

The official Python classes are in `tensorflow-serving-api`, whose import loads all of TensorFlow. These are the same
messages (same names, numbers and types, so the same bytes on the wire) in a descriptor pool of their own, so that one
process can use both: protobuf accepts a name once in a pool. They are the subset that morph needs; other fields, which
a newer server may send, are kept as unknown fields.

`serving.proto` declares them, and ``serving.binpb`` holds what protoc (of the package grpcio-tools) makes of it and
of the service in `similar.proto`::

    cd serving/protocol
    python -m grpc_tools.protoc -I. --include_imports --descriptor_set_out=serving.binpb serving.proto similar.proto
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

#: Arrays of text hold bytes objects.
_TEXT = np.dtype("object")

#: dtype of an array -> number of its tensorflow.DataType, and the field that holds its values one by one.
_KINDS: dict[np.dtype, tuple[int, str]] = {
    np.dtype("float32"): (1, "float_val"),
    np.dtype("uint8"): (4, "int_val"),
    _TEXT: (7, "string_val"),
    np.dtype("int64"): (9, "int64_val"),
    np.dtype("bool"): (10, "bool_val"),
}
_DTYPES = {number: (dtype, field) for dtype, (number, field) in _KINDS.items()}


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    compiled = Path(__file__).with_name("serving.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def descriptor_of(name: str) -> Descriptor:
    """The descriptor of a message of `serving.proto` or `similar.proto`, such as ``tensorflow.serving.ModelSpec``."""
    return _POOL.FindMessageTypeByName(name)


def message_class(name: str) -> type[Message]:
    """The class of such a message."""
    return message_factory.GetMessageClass(descriptor_of(name))


TensorProto = message_class("tensorflow.TensorProto")
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = message_class("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = message_class("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = message_class("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message_class("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus = message_class("tensorflow.serving.ModelVersionStatus")

#: State of a model that answers requests.
AVAILABLE = 30

#: The largest tensor whose missing values are filled in: a few bytes may claim to be a terabyte.
MOST_FILLED = 1 << 26


def to_tensor(array: np.ndarray, into: Message | None = None, by_value: bool = False) -> Message:
    """Write an array as a TensorProto.

    Parameters
    ----------
    array : float32, uint8, int64 or bool of any shape; or text (str, bytes, object), which becomes bytes, str
        as UTF-8.
    into : the message to fill, this module's TensorProto or TensorFlow's; a new one if not given.
    by_value : write the values one by one (`float_val`, ...) instead of in `tensor_content`.

    Raises
    ------
    TypeError : any other dtype; nothing is converted silently.

    Examples
    --------
    >>> from_tensor(to_tensor(np.arange(3, dtype="int64"))).tolist()
    [0, 1, 2]
    """
    array = np.asarray(array)
    proto = TensorProto() if into is None else into
    dtype = _TEXT if array.dtype.kind in "SUO" else array.dtype
    if dtype not in _KINDS:
        raise TypeError(f"An array of {array.dtype} cannot be sent; use float32, uint8, int64, bool or text.")
    proto.dtype = _KINDS[dtype][0]
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if dtype is _TEXT:
        proto.string_val.extend(v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist())
    elif by_value and dtype.kind == "f":
        _extend_floats(proto, array)
    elif by_value:
        getattr(proto, _KINDS[dtype][1]).extend(array.ravel().tolist())
    else:
        # The format is little-endian whatever the machine is.
        proto.tensor_content = np.ascontiguousarray(array, dtype=dtype.newbyteorder("<")).tobytes()
    return proto


def _extend_floats(proto: Message, array: np.ndarray) -> None:
    """Fill `float_val` from memory: merging the packed field is 200 times faster than passing Python's floats."""
    field = TensorProto.DESCRIPTOR.fields_by_name["float_val"].number << 3 | 2
    length, size = bytearray(), array.nbytes
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    content = np.ascontiguousarray(array, dtype="<f4").tobytes()
    proto.MergeFromString(bytes([field, *length, size]) + content)


def from_tensor(proto: Message) -> np.ndarray:
    """Read a TensorProto (this module's or TensorFlow's) as an array; text becomes an object array of bytes.

    Values may stand in `tensor_content` or one by one in `float_val`, `int_val` and so on. Of the latter there
    may be fewer than the shape asks for: the last one then fills the rest, and none at all means zeros
    (`tensor.proto`).

    Raises ValueError when dtype, shape and content do not belong together, and where more than `MOST_FILLED` values
    would have to be filled in.
    """
    if proto.dtype not in _DTYPES:
        raise ValueError(f"a tensor of TensorFlow type {proto.dtype} cannot be read")
    dtype, field = _DTYPES[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(length < 0 for length in shape):
        raise ValueError("a tensor needs a shape")
    size = math.prod(shape)
    if proto.tensor_content:
        content = proto.tensor_content
        if dtype is _TEXT or len(content) != size * dtype.itemsize:
            raise ValueError(f"a tensor of shape {shape} has {len(content)} bytes of content")
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
    values = getattr(proto, field)
    if len(values) > size:
        raise ValueError(f"a tensor of shape {shape} has {len(values)} values")
    if len(values) < size > MOST_FILLED:
        raise ValueError(f"a tensor of shape {shape} has {len(values)} values only")
    rest = values[-1] if len(values) else b"" if dtype is _TEXT else 0
    try:
        array = np.full(size, rest, dtype)
        array[: len(values)] = values
    except OverflowError:
        raise ValueError(f"a tensor of {dtype} has a value that does not fit") from None
    return array.reshape(shape)


def predict_response(
    model: str, version: int, signature: str, outputs: Mapping[str, np.ndarray], as_content: bool = False
) -> Message:
    """Write the PredictResponse to one request.

    Parameters
    ----------
    model, version, signature : of the model that answered.
    outputs : its arrays by name.
    as_content : write numbers to `tensor_content`, as TensorFlow Serving does with
        `--enable_serialization_as_tensor_content`, and not one by one.
    """
    response = PredictResponse()
    for name, output in outputs.items():
        to_tensor(output, response.outputs[name], by_value=not as_content)
    response.model_spec.name, response.model_spec.signature_name = model, signature
    response.model_spec.version.value = version
    return response
