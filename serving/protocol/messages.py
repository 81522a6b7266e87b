"""TensorFlow Serving's messages, without TensorFlow.

The official Python classes live in `tensorflow-serving-api`, whose import loads all of TensorFlow. These are
the same messages (same names, numbers and types, so the same bytes on the wire), built from the table below in
a descriptor pool of their own. A process may therefore use both: protobuf never sees one name twice.

Only what a client needs is here. A field that this table leaves out (a newer server may send one) is kept as
an unknown field and ignored. Source of names and numbers: `tensorflow_serving/apis/*.proto` and
`tensorflow/core/framework/{tensor,tensor_shape,types}.proto`.
"""

import math

import numpy as np
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from google.protobuf.message import Message

#: Message -> its fields in proto syntax. A dotted type is a message of this table or of `google.protobuf`;
#: a field "oneof NAME" belongs to that union.
_FIELDS = {
    "tensorflow.TensorShapeProto.Dim": ("int64 size = 1", "string name = 2"),
    "tensorflow.TensorShapeProto": ("repeated tensorflow.TensorShapeProto.Dim dim = 2", "bool unknown_rank = 3"),
    "tensorflow.TensorProto": (
        "enum tensorflow.DataType dtype = 1",
        "tensorflow.TensorShapeProto tensor_shape = 2",
        "int32 version_number = 3",
        "bytes tensor_content = 4",
        "repeated float float_val = 5",
        "repeated int32 int_val = 7",
        "repeated bytes string_val = 8",
        "repeated int64 int64_val = 10",
        "repeated bool bool_val = 11",
    ),
    "tensorflow.serving.ModelSpec": (
        "string name = 1",
        "oneof version_choice google.protobuf.Int64Value version = 2",
        "oneof version_choice string version_label = 4",
        "string signature_name = 3",
    ),
    "tensorflow.serving.PredictRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "map tensorflow.TensorProto inputs = 2",
        "repeated string output_filter = 3",
    ),
    "tensorflow.serving.PredictResponse": (
        "map tensorflow.TensorProto outputs = 1",
        "tensorflow.serving.ModelSpec model_spec = 2",
    ),
    "tensorflow.serving.GetModelMetadataRequest": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "repeated string metadata_field = 2",
    ),
    "tensorflow.serving.GetModelMetadataResponse": (
        "tensorflow.serving.ModelSpec model_spec = 1",
        "map google.protobuf.Any metadata = 2",
    ),
    "tensorflow.serving.StatusProto": ("int32 error_code = 1", "string error_message = 2"),
    "tensorflow.serving.ModelVersionStatus": (
        "int64 version = 1",
        "enum tensorflow.serving.ModelVersionStatus.State state = 2",
        "tensorflow.serving.StatusProto status = 3",
    ),
    "tensorflow.serving.GetModelStatusRequest": ("tensorflow.serving.ModelSpec model_spec = 1",),
    "tensorflow.serving.GetModelStatusResponse": (
        "repeated tensorflow.serving.ModelVersionStatus model_version_status = 1",
    ),
}

_ENUMS = {
    "tensorflow.DataType": {
        "DT_INVALID": 0,
        "DT_FLOAT": 1,
        "DT_UINT8": 4,
        "DT_STRING": 7,
        "DT_INT64": 9,
        "DT_BOOL": 10,
    },
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    },
}

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
    """A pool that holds the messages of `_FIELDS`, one file a package, in proto3."""
    pool = descriptor_pool.DescriptorPool()
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for package in ("tensorflow", "tensorflow.serving"):
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        file.dependency.extend(
            ["google/protobuf/any.proto", "google/protobuf/wrappers.proto", *(made.name for made in files.values())]
        )
        files[package] = file
    homes: dict[str, descriptor_pb2.DescriptorProto] = {}
    # A message that holds others ("TensorShapeProto.Dim") is made before them, whatever the table's order.
    for name in sorted(_FIELDS, key=lambda name: name.count(".")):
        parent = name.rsplit(".", 1)[0]
        home = homes[parent].nested_type if parent in homes else files[parent].message_type
        homes[name] = home.add(name=name.rsplit(".", 1)[1])
    for name, values in _ENUMS.items():
        parent, short = name.rsplit(".", 1)
        enum = (homes.get(parent) or files[parent]).enum_type.add(name=short)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in _FIELDS.items():
        for field in fields:
            _add_field(homes[name], name, field)
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    for file in files.values():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, owner: str, text: str) -> None:
    """Add one field, written as in `_FIELDS`, to `message`, whose full name is `owner`."""
    declaration, number = text.split(" = ")
    *words, kind, name = declaration.split()
    field = message.field.add(name=name, number=int(number), label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    if words[:1] == ["oneof"]:
        if words[1] not in [union.name for union in message.oneof_decl]:
            message.oneof_decl.add(name=words[1])
        field.oneof_index = len(message.oneof_decl) - 1
    if words in (["repeated"], ["map"]):
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    if words == ["map"]:
        # On the wire a map is a repeated message of key and value.
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, f"{owner}.{entry.name}", "string key = 1")
        _add_field(entry, f"{owner}.{entry.name}", f"{kind} value = 2")
        kind = f"{owner}.{entry.name}"
    if "." in kind:
        field.type_name = f".{kind}"
        is_enum = words == ["enum"]
        field.type = field.TYPE_ENUM if is_enum else field.TYPE_MESSAGE
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")


_POOL = _pool()


def _message(name: str):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = _message("tensorflow.TensorProto")
TensorShapeProto = _message("tensorflow.TensorShapeProto")
ModelSpec = _message("tensorflow.serving.ModelSpec")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus = _message("tensorflow.serving.ModelVersionStatus")

#: State of a model that answers requests.
AVAILABLE = 30


#: The largest tensor whose missing values are filled in: a few bytes may claim to be a terabyte.
MOST_FILLED = 1 << 26


def value_field(dtype: np.dtype) -> str:
    """The field of a TensorProto that holds an array's values one by one."""
    return _KINDS[dtype][1]


def to_tensor(array: np.ndarray, into: Message | None = None, by_value: bool = False) -> Message:
    """An array as a TensorProto.

    Parameters
    ----------
    array : float32, uint8, int64 or bool of any shape; or text (str, bytes, object), which becomes bytes, str
        as UTF-8.
    into : the message to fill, this module's TensorProto or TensorFlow's; a new one if not given.
    by_value : write the values one by one (`float_val`, ...) instead of in `tensor_content`.

    Raises TypeError for any other dtype: nothing is converted behind the caller's back.
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
    elif by_value:
        getattr(proto, _KINDS[dtype][1]).extend(array.ravel().tolist())
    else:
        # The format is little-endian whatever the machine is.
        proto.tensor_content = np.ascontiguousarray(array, dtype=dtype.newbyteorder("<")).tobytes()
    return proto


def from_tensor(proto: Message) -> np.ndarray:
    """A TensorProto (this module's or TensorFlow's) as an array; text comes back as an object array of bytes.

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
