"""TensorFlow Serving's configuration messages that its Python package leaves out.

Source of names, numbers and types: `tensorflow_serving/config/{monitoring_config,ssl_config}.proto` and
`tensorflow_serving/servables/tensorflow/session_bundle_config.proto`.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from morph.errors import InputError

#: Message -> its fields: type, name and number.
_MESSAGES = {
    "PrometheusConfig": ("bool enable 1", "string path 2"),
    "MonitoringConfig": ("PrometheusConfig prometheus_config 1",),
    "SSLConfig": ("string server_key 1", "string server_cert 2", "string custom_ca 3", "bool client_verify 4"),
    "BatchingParameters": (
        "Int64Value max_batch_size 1",
        "Int64Value batch_timeout_micros 2",
        "Int64Value max_enqueued_batches 3",
        "Int64Value num_batch_threads 4",
        "StringValue thread_pool_name 5",
        "repeated int64 allowed_batch_sizes 6",
        "bool pad_variable_length_inputs 7",
        "BoolValue enable_large_batch_splitting 8",
        "Int64Value max_execution_batch_size 9",
    ),
}


def _field(field: descriptor_pb2.FieldDescriptorProto, declaration: str) -> None:
    *repeated, kind, name, number = declaration.split()
    field.name, field.number = name, int(number)
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind in _MESSAGES or kind.endswith("Value"):
        package = "tensorflow.serving" if kind in _MESSAGES else "google.protobuf"
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="configurations.proto", package="tensorflow.serving")
    file.syntax = "proto3"
    file.dependency.append("google/protobuf/wrappers.proto")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declaration in fields:
            _field(message.field.add(), declaration)
    # A pool of its own: the server's process may hold the same names in protobuf's common one.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def message(name: str) -> Message:
    """A new, empty message: MonitoringConfig, SSLConfig or BatchingParameters."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tensorflow.serving.{name}"))()


def parse(text: str, into: Message, file: str) -> Message:
    """Fill the message `into` from protobuf's text format. InputError names the `file`, line and column."""
    try:
        return text_format.Parse(text, into)
    except text_format.ParseError as error:
        raise InputError(f"'{file}' is no {into.DESCRIPTOR.name}: {str(error).rstrip('.')}.") from None


def read(path: str | Path, name: str) -> Message:
    """The message `name` in a file. InputError where there is no such file, or it says something else."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"'{path}' cannot be read ({reason}); give a {name} in protobuf's text format.") from None
    return parse(text, message(name), str(path))
