"""Predict requests and answers as JSON, in the format and with the messages of TensorFlow Serving's REST interface.

Source: `tensorflow_serving/g3doc/api_rest.md`, `tensorflow_serving/util/json_tensor.cc`.
"""

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from aiohttp import web
from google.protobuf import json_format

from serving.savedmodel.servable import StatusError, TensorSpec
from serving.server.bodies import RepeatedKeys, decode

#: The key of a request's inputs, and that of the outputs in its answer.
ROW, COLUMNAR = "instances", "inputs"
_ANSWERS = {ROW: "predictions", COLUMNAR: "outputs"}

#: gRPC's statuses as HTTP's, where they are not 500.
HTTP_STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}

#: The longest part of a request that an error message repeats, in characters.
_QUOTED = 200

#: The JSON types of a value of each kind of array, and TensorFlow Serving's names of JSON types.
_TYPES: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}
_NAMES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}

log = logging.getLogger("morph.serving")

_MANY_INPUTS = "as multiple input tensors required as per tensorinfo_map"


@dataclass(frozen=True)
class PredictBody:
    """The body of a predict request: its signature (empty for the default one), its inputs as arrays, and the format
    of its answer, ROW or COLUMNAR."""

    signature: str
    inputs: dict[str, np.ndarray]
    format: str


def read_document(body: bytes) -> dict:
    """The JSON object in a body. StatusError where there is none."""
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = decode(body)
    except RecursionError:
        raise _invalid("JSON Parse error: The document is nested too deeply") from None
    except ValueError as error:
        # A body that is not UTF-8 raises another ValueError, with the position under another name.
        place = getattr(error, "pos", getattr(error, "start", 0))
        raise _invalid(f"JSON Parse error: {getattr(error, 'msg', 'Invalid value')} at offset: {place}") from None
    if not isinstance(document, dict):
        raise _wrong(document, "Is not object")
    return document


def signature_of(document: dict) -> str:
    """The signature that a request names; empty where it names none."""
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise _wrong(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return signature


def read_request(document: dict, inputs_of: Callable[[str], Mapping[str, TensorSpec]]) -> PredictBody:
    """The predict request in a document.

    `inputs_of` returns the inputs of a signature by its name, and may raise StatusError. Raises StatusError with
    TensorFlow Serving's message where the document is not such a request, and where a number does not fit its type
    (300 as uint8), which TensorFlow Serving wraps.
    """
    signature = signature_of(document)
    specs = inputs_of(signature)
    if ROW in document and COLUMNAR in document:
        raise _wrong(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if ROW in document:
        rows = document[ROW]
        if not isinstance(rows, list):
            raise _wrong(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise _wrong(document, "No values in 'instances' array")
        return PredictBody(signature, _from_rows(rows, specs), ROW)
    if COLUMNAR in document:
        return PredictBody(signature, _from_columns(document[COLUMNAR], specs), COLUMNAR)
    raise _invalid("Missing 'inputs' or 'instances' key")


def _from_columns(value, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    if _is_object(value):
        for name in specs:
            if name not in value:
                raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: _tensor(value[name], spec.dtype) for name, spec in specs.items()}
    if len(specs) > 1:
        raise _invalid(f"inputs is a plain value/list, but expecting an object {_MANY_INPUTS}")
    return {name: _tensor(value, spec.dtype) for name, spec in specs.items()}


def _from_rows(rows: list, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    objects = _is_object(rows[0])
    if not objects and len(specs) > 1:
        raise _invalid(f"instances is a plain list, but expecting list of objects {_MANY_INPUTS}")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for index, row in enumerate(rows):
        if objects != _is_object(row):
            what = "object but got list" if objects else "value/list but got object"
            raise _invalid(f"Expecting {what} at item {index} of input list")
        named = row if objects else {next(iter(specs)): row}
        for name, value in named.pairs if isinstance(named, RepeatedKeys) else named.items():
            try:
                if name not in specs:
                    raise _invalid(f"JSON object: does not have named input: {name}")
                columns[name].append(_tensor(value, specs[name].dtype))
                _require_same_shape(columns[name][0], columns[name][-1])
            except StatusError as refusal:
                where = f"{index} key: {name}" if objects else f"{index}"
                error = f"{refusal.status}: {refusal.sentence}"
                raise _invalid(f"Failed to process element: {where} of 'instances' list. Error: {error}") from None
        if set(named) != set(specs):
            raise _invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_quoted(row)} "
                f"keys must be equal to: {','.join(sorted(specs))}"
            )
    # As in TensorFlow Serving an input that a row repeats is one more row, and the last ones are then too many.
    return {name: np.stack(column[: len(rows)]) for name, column in columns.items()}


def _require_same_shape(first: np.ndarray, array: np.ndarray) -> None:
    if first.size != array.size:
        raise _invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if first.shape != array.shape:
        wanted, given = ("[" + ",".join(map(str, each.shape)) + "]" for each in (first, array))
        raise _invalid(f"Expecting shape {wanted} but got: {given}")


def _tensor(value, dtype: np.dtype) -> np.ndarray:
    """A JSON value, a scalar or nested lists, as an array. StatusError where it does not fit the type."""
    shape, leaves = [], [value]
    # One depth at a time, by calls that loop in C.
    while leaves and set(map(type, leaves)) == {list} and len(set(map(len, leaves))) == 1:
        shape.append(len(leaves[0]))
        leaves = list(chain.from_iterable(leaves))
    if not set(map(type, leaves)) <= _TYPES.get(dtype.kind, set()):
        # Text, or something wrong, of which the first is reported.
        shape, leaves = _shape(value), []
        _collect(value, 0, shape, dtype, leaves)
    array = np.empty(len(leaves), dtype)
    try:
        # As in TensorFlow Serving a number too large for its floating type is infinite.
        with np.errstate(over="ignore"):
            array[:] = leaves
    except OverflowError:
        raise _type_error(next(leaf for leaf in leaves if not _in_range(leaf, dtype)), dtype) from None
    return array.reshape(shape)


def _shape(value) -> list[int]:
    """The lengths of the first list at each depth."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _collect(value, level: int, shape: list[int], dtype: np.dtype, leaves: list) -> None:
    """Append the scalars in `value` to `leaves`. StatusError where a list is not as long as the first at its depth."""
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {_quoted(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        leaves.append(_scalar(value, dtype))
    elif level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    elif len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    else:
        for each in value:
            _collect(each, level + 1, shape, dtype, leaves)


def _scalar(value, dtype: np.dtype):
    """A JSON value other than a list, if it fits the type."""
    if dtype.kind == "O":
        return _text(value, dtype)
    if type(value) not in _TYPES.get(dtype.kind, ()) or not _in_range(value, dtype):
        raise _type_error(value, dtype)
    return value


def _in_range(value, dtype: np.dtype) -> bool:
    return dtype.kind not in "iu" or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _text(value, dtype: np.dtype) -> bytes:
    """A string, or an object with base64, as bytes."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise _invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
    if not isinstance(value, dict):
        raise _type_error(value, dtype)
    if not _is_base64(value):
        raise _wrong(value, "not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("Unable to base64 decode") from None


def _is_base64(value) -> bool:
    once = isinstance(value, dict) and len(value) == 1 and not isinstance(value, RepeatedKeys)
    return once and isinstance(value.get("b64"), str)


def _is_object(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def write_answer(outputs: Mapping[str, np.ndarray], format: str) -> bytes:
    """The body of an answer, from arrays [n, ...].

    A single output stands there without its name, as the format requires. Floating numbers have the fewest digits
    that give them back. Text is UTF-8, or base64 in outputs whose names end in `_bytes`.
    """
    rows = {
        # One call per row, so that other threads get their turn in between.
        name: [json.dumps(row, ensure_ascii=False) for row in _values(array, name.endswith("_bytes"))]
        for name, array in sorted(outputs.items())
    }
    keys = [json.dumps(name) for name in rows]
    if format == COLUMNAR:
        columns = [f"[{', '.join(column)}]" for column in rows.values()]
        named = ",\n        ".join(f"{key}: {column}" for key, column in zip(keys, columns, strict=True))
        answer = f"{{\n        {named}\n    }}" if len(columns) > 1 else columns[0]
    else:
        each = zip(*rows.values(), strict=True)
        if len(rows) > 1:
            items = (zip(keys, row, strict=True) for row in each)
            objects = ["{" + ", ".join(f"{key}: {value}" for key, value in item) + "}" for item in items]
        else:
            objects = [value for (value,) in each]
        answer = "[" + ",\n        ".join(objects) + "]"
    return f'{{\n    "{_ANSWERS[format]}": {answer}\n}}\n'.encode()


def _values(array: np.ndarray, as_bytes: bool) -> list:
    """The rows of an array as values for JSON."""
    if array.dtype.kind == "O":
        values = np.empty(array.size, object)
        values[:] = [_string(value, as_bytes) for value in array.ravel().tolist()]
        return values.reshape(array.shape).tolist()
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        # By way of the shortest decimals of its own type: as a double, 0.1 in float32 has 17 digits.
        decimals = pc.cast(pa.array(array.ravel()), pa.string())
        array = pc.cast(decimals, pa.float64()).to_numpy().reshape(array.shape)
    return array.tolist()


def _string(value: bytes, as_bytes: bool) -> str | dict[str, str]:
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode(errors="replace")


def _invalid(sentence: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", sentence)


def _wrong(value, problem: str) -> StatusError:
    return _invalid(f"JSON Value: {_quoted(value)} {problem}")


def _type_error(value, dtype: np.dtype) -> StatusError:
    kind = str(value) if isinstance(value, bool) else _NAMES.get(type(value), "Object")
    expected = {"float32": "float", "float64": "double", "object": "string"}.get(dtype.name, dtype.name)
    return _wrong(value, f"Type: {kind} is not of expected type: {expected}")


def _quoted(value) -> str:
    """A part of the request for an error message, cut where it is long."""
    pieces, length = [], 0
    try:
        for piece in json.JSONEncoder().iterencode(value):
            pieces.append(piece)
            length += len(piece)
            if length > _QUOTED:
                return "".join(pieces)[:_QUOTED] + "..."
    except RecursionError:
        return "[...]"
    return "".join(pieces)


@web.middleware
async def errors_as_json(request: web.Request, handler: Callable) -> web.StreamResponse:
    """Every error as TensorFlow Serving's JSON."""
    try:
        return await handler(request)
    except StatusError as refusal:
        return error_response(HTTP_STATUSES.get(refusal.status, 500), refusal.sentence)
    except web.HTTPException as error:
        return error_response(error.status, error.reason)
    except Exception as error:
        log.exception("A request to %s could not be answered", request.path)
        return error_response(500, str(error).strip() or type(error).__name__)


def message_to_json(message) -> dict:
    """A protobuf message as TensorFlow Serving writes it as JSON."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def json_response(content: dict, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(content, indent=1) + "\n", status=status, content_type="application/json")


def error_response(status: int, sentence: str) -> web.Response:
    return json_response({"error": sentence}, status)
