"""Requests and answers as JSON, in the format and with the sentences of TensorFlow Serving's REST interface.

Source: `tensorflow_serving/g3doc/api_rest.md`, `tensorflow_serving/util/json_tensor.cc`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from serving.savedmodel.servable import StatusError, TensorSpec
from serving.server.json_arrays import Block, Repeating, Unusual, joined, loads, loads_plainly, texts

#: What stands in a request under the key of its inputs, and in its answer under that of its outputs.
ROW, COLUMNAR = "instances", "inputs"
_ANSWERS = {ROW: "predictions", COLUMNAR: "outputs"}

#: The longest part of a request that a sentence repeats.
_QUOTED = 200

#: What a value of each kind of type is in JSON, and what TensorFlow Serving calls that.
_TYPES: dict[str, tuple[type, ...]] = {"f": (float, int), "i": (int,), "u": (int,), "b": (bool,)}
_NAMES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}

_MANY_INPUTS = "as multiple input tensors required as per tensorinfo_map"


@dataclass(frozen=True)
class Request:
    """The body of a predict request: its signature (empty for the default one), its inputs as arrays, and the
    format, ROW or COLUMNAR, in which its answer is expected."""

    signature: str
    inputs: dict[str, np.ndarray]
    format: str


def read_request(body: bytes, inputs_of: Callable[[str], Mapping[str, TensorSpec]]) -> Request:
    """The request in a body.

    Parameters
    ----------
    inputs_of : the inputs of a signature by its name; it may raise StatusError.

    Raises Refused in TensorFlow Serving's words where the body is not a request. A number that its type cannot
    hold (300 as uint8) is refused too, where TensorFlow Serving wraps it.
    """
    try:
        return _request(read_document(body), inputs_of)
    except Unusual:
        return _request(read_document(body, loads_plainly), inputs_of)


def read_document(body: bytes, load: Callable[[bytes], object] = loads) -> dict:
    """The JSON object in a body. Refused where there is none."""
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        document = load(body)
    except RecursionError:
        raise _invalid("JSON Parse error: The document is nested too deeply") from None
    except ValueError as error:
        # Bytes that are no text are a ValueError of another kind, with the place under another name.
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


def _request(document: dict, inputs_of: Callable[[str], Mapping[str, TensorSpec]]) -> Request:
    signature = signature_of(document)
    specs = inputs_of(signature)
    if ROW in document and COLUMNAR in document:
        raise _wrong(document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if ROW in document:
        rows = document[ROW]
        if not isinstance(rows, list | Block):
            raise _wrong(document, "Expecting 'instances' to be an list/array")
        if rows == []:
            raise _wrong(document, "No values in 'instances' array")
        return Request(signature, _from_rows(rows, specs), ROW)
    if COLUMNAR in document:
        return Request(signature, _from_columns(document[COLUMNAR], specs), COLUMNAR)
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


def _from_rows(rows: "list | Block", specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    objects = isinstance(rows, list) and _is_object(rows[0])
    if not objects and len(specs) > 1:
        raise _invalid(f"instances is a plain list, but expecting list of objects {_MANY_INPUTS}")
    if isinstance(rows, Block):
        return {name: rows.array(spec.dtype) for name, spec in specs.items()}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for index, row in enumerate(rows):
        if objects != _is_object(row):
            what = "object but got list" if objects else "value/list but got object"
            raise _invalid(f"Expecting {what} at item {index} of input list")
        named = row if objects else {next(iter(specs)): row}
        for name, value in named.pairs if isinstance(named, Repeating) else named.items():
            try:
                if name not in specs:
                    raise _invalid(f"JSON object: does not have named input: {name}")
                columns[name].append(_tensor(value, specs[name].dtype))
                _must_match(columns[name][0], columns[name][-1])
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


def _must_match(first: np.ndarray, array: np.ndarray) -> None:
    if first.size != array.size:
        raise _invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if first.shape != array.shape:
        wanted, given = ("[" + ",".join(map(str, each.shape)) + "]" for each in (first, array))
        raise _invalid(f"Expecting shape {wanted} but got: {given}")


def _tensor(value, dtype: np.dtype) -> np.ndarray:
    """A JSON value, a scalar or nested lists, as an array. Refused where it is none of that type."""
    if isinstance(value, Block):
        return value.array(dtype)
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves: list = []
    _collect(value, 0, shape, dtype, leaves)
    array = np.empty(len(leaves), dtype)
    # As in TensorFlow Serving a number too large for its floating type is infinite.
    with np.errstate(over="ignore"):
        array[:] = leaves
    return array.reshape(shape)


def _collect(value, level: int, shape: list[int], dtype: np.dtype, leaves: list) -> None:
    """Append the scalars in `value` to `leaves`. Refused where a list is not as long as the first at its depth."""
    if isinstance(value, Block):
        raise Unusual
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
    """A JSON value that is no list, if it is of that type."""
    if dtype.kind == "O":
        return _text(value, dtype)
    if type(value) not in _TYPES.get(dtype.kind, ()):
        raise _type_error(value, dtype)
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise _type_error(value, dtype)
    return value


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
    once = isinstance(value, dict) and len(value) == 1 and not isinstance(value, Repeating)
    return once and isinstance(value.get("b64"), str)


def _is_object(value) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def write_answer(outputs: Mapping[str, np.ndarray], format: str) -> bytes:
    """An answer's body. `outputs` are arrays [n, ...]; where there is one, its name is left out, as the format
    wants it. Outputs whose names end in `_bytes` are base64."""
    rows = {name: texts(array, name.endswith("_bytes")) for name, array in sorted(outputs.items())}
    keys = {name: f"{json.dumps(name)}: " for name in rows}
    if format == COLUMNAR:
        columns = {name: f"[{joined(text, ', ')}]" for name, text in rows.items()}
        named = ",\n        ".join(keys[name] + text for name, text in columns.items())
        answer = f"{{\n        {named}\n    }}" if len(columns) > 1 else next(iter(columns.values()))
    else:
        if len(rows) > 1:
            fields = [pc.binary_join_element_wise(keys[name], text, "") for name, text in rows.items()]
            each = pc.binary_join_element_wise("{", pc.binary_join_element_wise(*fields, ", "), "}", "")
        else:
            each = next(iter(rows.values()))
        answer = f"[{joined(each, ',' + chr(10) + '        ')}]"
    return f'{{\n    "{_ANSWERS[format]}": {answer}\n}}\n'.encode()


def _invalid(sentence: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", sentence)


def _wrong(value, what: str) -> StatusError:
    return _invalid(f"JSON Value: {_quoted(value)} {what}")


def _type_error(value, dtype: np.dtype) -> StatusError:
    kind = str(value) if isinstance(value, bool) else _NAMES[type(value)]
    return _invalid(f"JSON Value: {_quoted(value)} Type: {kind} is not of expected type: {_name(dtype)}")


def _name(dtype: np.dtype) -> str:
    """TensorFlow's name of a type."""
    return {"float32": "float", "float64": "double", "object": "string"}.get(dtype.name, dtype.name)


def _quoted(value) -> str:
    """A part of the request for a sentence, cut where it is long."""
    try:
        text = json.dumps(value, default=lambda block: "[...]")
    except RecursionError:
        text = "[...]"
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
