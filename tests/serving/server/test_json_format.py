"""Requests and answers as JSON: what TensorFlow Serving accepts, and its messages for what it does not."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.savedmodel.servable import StatusError, TensorSpec
from serving.server.json_format import COLUMNAR, ROW, read_document, read_request, write_answer


def spec(dtype: str, *shape) -> TensorSpec:
    return TensorSpec(np.dtype(dtype), (None, *shape))


IMAGE = {"image": spec("float32", 16, 16, 3)}
PAIR = {"a": spec("float32", 2), "b": spec("object")}


def read(document, specs) -> dict[str, np.ndarray]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_request(read_document(body), lambda signature: specs).inputs


def refusal(document, specs) -> str:
    with pytest.raises(StatusError) as caught:
        read(document, specs)
    assert caught.value.status == "INVALID_ARGUMENT"
    return caught.value.sentence


STAMPS = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
STAMPS[1, 2, 3] = np.nan
STAMPS[2, 0, 0] = np.inf, -np.inf, 2.0**25


@pytest.mark.parametrize("stamps", [STAMPS[:1], STAMPS[:2], STAMPS], ids=["plain", "NaN", "infinite"])
def test_every_way_of_writing_a_request_means_the_same(stamps):
    nested = stamps.tolist()
    for document in (
        {"instances": nested},
        {"instances": [{"image": stamp} for stamp in nested]},
        {"inputs": nested, "signature_name": "serving_default"},
        {"signature_name": "serving_default", "inputs": {"image": nested}},
    ):
        for indent in (None, 1):
            got = read(json.dumps(document, indent=indent).encode(), IMAGE)["image"]
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, stamps)


def test_the_answers_format_follows_the_requests():
    body = b'{"signature_name": "x", "%s": [1.5]}'
    for key in (ROW, COLUMNAR):
        document = read_document(body % key.encode())
        request = read_request(document, lambda signature: {"v": spec("float32")})
        assert (request.signature, request.format) == ("x", key)


def test_several_inputs_come_as_objects_or_as_columns():
    rows = {"instances": [{"a": [1, 2], "b": "x"}, {"a": [3, 4.5], "b": {"b64": "AP8="}}]}
    columns = {"inputs": {"a": [[1, 2], [3, 4.5]], "b": ["x", {"b64": "AP8="}]}}
    for document in (rows, columns):
        got = read(document, PAIR)
        assert got["a"].tolist() == [[1, 2], [3, 4.5]]
        assert got["b"].tolist() == [b"x", b"\x00\xff"]


LONG = np.zeros((1, 16, 16, 3)).tolist()


@pytest.mark.parametrize(
    ("document", "specs", "sentence"),
    [
        (b"", IMAGE, "JSON Parse error: The document is empty"),
        (b"{", IMAGE, "JSON Parse error: Expecting property name enclosed in double quotes at offset: 1"),
        (b"\xff\xfe\xfd", IMAGE, "JSON Parse error"),
        (b"[" * 100_000, IMAGE, "JSON Parse error: The document is nested too deeply"),
        ([1], IMAGE, "JSON Value: [1] Is not object"),
        ({}, IMAGE, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, IMAGE, "Not formatted correctly expecting only one of"),
        ({"instances": 1}, IMAGE, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, IMAGE, "No values in 'instances' array"),
        ({"instances": [1], "signature_name": 1}, IMAGE, "'signature_name' key must be a string value."),
        ({"instances": [[1, 2]]}, PAIR, "instances is a plain list, but expecting list of objects as multiple input"),
        ({"inputs": [[1, 2]]}, PAIR, "inputs is a plain value/list, but expecting an object as multiple input"),
        ({"inputs": {"a": [[1, 2]]}}, PAIR, "Missing named input: b in 'inputs' object."),
        (
            {"instances": [{"a": [1, 2]}]},
            PAIR,
            "process element: 0 of 'instances' list. JSON object: {\"a\": [1, 2]} keys must be equal to: a,b",
        ),
        (
            {"instances": [{"c": 1}]},
            PAIR,
            "key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not",
        ),
        ({"instances": [1, {"x": 1}]}, IMAGE, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"image": 1}, 1]}, IMAGE, "Expecting object but got list at item 1 of input list"),
        ({"instances": [[1, 2], [1]]}, IMAGE, "Expecting tensor size: 2 but got: 1"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, IMAGE, "Expecting shape [1,2] but got: [2,1]"),
        ({"inputs": [[1, 2], [1]]}, IMAGE, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        (
            {"inputs": [[1], 2]},
            IMAGE,
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ({"inputs": [1, [2]]}, IMAGE, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": ["x"]}, IMAGE, 'JSON Value: "x" Type: String is not of expected type: float'),
        ({"inputs": [None]}, IMAGE, "JSON Value: null Type: Null is not of expected type: float"),
        ({"inputs": [True]}, IMAGE, "JSON Value: true Type: True is not of expected type: float"),
        ({"inputs": [1.5]}, {"v": spec("uint8")}, "JSON Value: 1.5 Type: Number is not of expected type: uint8"),
        ({"inputs": [300]}, {"v": spec("uint8")}, "JSON Value: 300 Type: Number is not of expected type: uint8"),
        ({"inputs": [1]}, {"v": spec("object")}, "JSON Value: 1 Type: Number is not of expected type: string"),
        ({"inputs": [{"b64": "?"}]}, {"v": spec("object")}, "Unable to base64 decode"),
        ({"inputs": [{"b": "?"}]}, {"v": spec("object")}, 'JSON Value: {"b": "?"} not formatted correctly for base64'),
        (b'{"inputs": ["\\ud800"]}', {"v": spec("object")}, "The surrogate pair in string is invalid."),
        (json.dumps({"inputs": LONG}).encode()[:-4] + b"}", IMAGE, "JSON Parse error"),
        (json.dumps({"inputs": LONG}).replace("0.0", "", 1).encode(), IMAGE, "JSON Parse error"),
        (json.dumps({"inputs": LONG}).replace("0.0", '"x"', 1).encode(), IMAGE, "is not of expected type: float"),
        (json.dumps({"inputs": LONG}).replace("0.0, ", "", 1).encode(), IMAGE, "unexpected size: 3 at level: 3"),
        ({"inputs": LONG}, {"v": spec("uint8")}, "JSON Value: 0.0 Type: Number is not of expected type: uint8"),
        ({"inputs": LONG}, {"v": spec("object")}, "JSON Value: 0.0 Type: Number is not of expected type: string"),
    ],
)
def test_a_wrong_request_gets_tensorflow_servings_message(document, specs, sentence):
    assert sentence in refusal(document, specs)


def test_a_sentence_does_not_repeat_a_large_request():
    assert len(refusal({"inputs": LONG, "instances": LONG}, IMAGE)) < 500


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_array_is_read_as_pythons_json_reads_it(data):
    text = json.dumps({"inputs": STAMPS[:2].tolist()})
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(12, len(text)))
        text = text[:at] + data.draw(st.sampled_from(list('[],{}"- 1Nx:\n\\+.0'))) + text[at:]
    # As in TensorFlow Serving the first of two equal keys counts, and what follows the document does not.
    decoder = json.JSONDecoder(object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    try:
        expected = np.array(decoder.raw_decode(text)[0]["inputs"], "float32")
    except (ValueError, TypeError, KeyError):
        refusal(text.encode(), IMAGE)
    else:
        np.testing.assert_array_equal(read(text.encode(), IMAGE)["image"], expected)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["image", "b64", "a", "b"]), inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional={"instances": VALUES, "inputs": VALUES, "signature_name": VALUES, "examples": VALUES}
    ),
    st.sampled_from([IMAGE, PAIR, {"v": spec("object")}, {"v": spec("uint8", 3)}, {"v": spec("bool")}]),
)
def test_any_json_is_a_request_or_is_refused(document, specs):
    with contextlib.suppress(StatusError):
        got = read(document, specs)
        assert set(got) == set(specs)
        assert all(got[name].dtype == specs[name].dtype for name in specs)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays("float32", st.tuples(st.just(3), st.integers(0, 3), st.integers(1, 3))),
    st.lists(st.text(), min_size=3, max_size=3),
    st.sampled_from([ROW, COLUMNAR]),
)
def test_an_answer_is_json_that_gives_its_numbers_back(numbers, words, key):
    outputs = {
        "numbers": numbers,
        "words": np.array([word.encode() for word in words], object),
        "raw_bytes": np.array([b"\xff\x00"] * 3, object),
        "flags": np.array([True, False, True]),
        "counts": np.array([[1], [-2], [3]], "int64"),
    }
    answer = json.loads(write_answer(outputs, key))
    if key == ROW:
        (rows,) = answer.values()
        columns = {name: [row[name] for row in rows] for name in outputs}
    else:
        columns = answer["outputs"]
    np.testing.assert_array_equal(np.array(columns["numbers"], "float32").reshape(numbers.shape), numbers)
    assert columns["words"] == words
    assert columns["raw_bytes"] == [{"b64": "/wA="}] * 3
    assert columns["flags"] == [True, False, True]
    assert columns["counts"] == [[1], [-2], [3]]


def test_one_output_has_no_name_and_a_whole_decimal_has_a_point():
    one = {"x": np.array([[1, 0.1], [1e20, np.nan]], "float32")}
    assert json.loads(write_answer(one, ROW)) == {
        "predictions": [[1.0, 0.1], [1e20, pytest.approx(np.nan, nan_ok=True)]]
    }
    assert b"[[1.0, 0.1], [1e+20, NaN]]" in write_answer(one, COLUMNAR)
    assert list(json.loads(write_answer(one, COLUMNAR))) == ["outputs"]
