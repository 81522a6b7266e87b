"""The embedded server over REST beside TensorFlow Serving 2.19.1: what its source says that each call is answered.

Sources: `model_servers/http_rest_api_{handler,util}.cc`, `http_server.cc`, `server_core.cc`,
`get_model_status_impl.cc`, `util/json_tensor.cc`, and RapidJSON 1.1.0's `reader.h`.
"""

import http.client
import json

import pytest

STATUS, METADATA = "model_version_status", "model_spec"
MALFORMED = "Malformed request: {method} {path}"
SMALL = "/v1/models/small"


@pytest.fixture(scope="module")
def rest(asked):
    """Send a request; returns the status and the answer, from JSON where it is that."""
    connection = http.client.HTTPConnection("127.0.0.1", asked.server.rest_port, timeout=30)

    def send(method: str, path: str, body: str | None = None):
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text else {}

    yield send
    connection.close()


#: Method, path, status; the key of a good answer, or the sentence of an error.
PATHS = [
    ("GET", SMALL, 200, STATUS),
    ("GET", "/V1/MODELS/small", 200, STATUS),
    ("GET", f"{SMALL}/versions/1", 200, STATUS),
    ("GET", f"{SMALL}/versions/0001", 200, STATUS),
    ("GET", f"{SMALL}/versions/0000000000000000000000001", 200, STATUS),
    ("GET", f"{SMALL}/VERSIONS/1", 200, STATUS),
    ("GET", f"{SMALL}/labels/stable", 200, STATUS),
    # The status does not look at labels.
    ("GET", f"{SMALL}/labels/none", 200, STATUS),
    ("GET", f"{SMALL}/metadata", 200, METADATA),
    ("GET", f"{SMALL}/versions/1/metadata", 200, METADATA),
    ("GET", f"{SMALL}/labels/stable/metadata", 200, METADATA),
    # The path is matched in any case, the word is compared as it is.
    ("GET", f"{SMALL}/METADATA", 200, STATUS),
    ("GET", f"{SMALL}/Metadata", 200, STATUS),
    ("GET", "/v1/models/%73mall", 200, STATUS),
    ("GET", f"{SMALL}/versions/9", 404, "Could not find version 9 of model small"),
    ("GET", f"{SMALL}/versions/0", 404, "Could not find version 0 of model small"),
    ("GET", f"{SMALL}/versions/9223372036854775807", 404, "Could not find version 9223372036854775807 of model small"),
    (
        "GET",
        f"{SMALL}/versions/9223372036854775808",
        400,
        "Failed to convert version: 9223372036854775808 to numeric.",
    ),
    ("GET", f"{SMALL}/versions/{'9' * 50}", 400, f"Failed to convert version: {'9' * 50} to numeric."),
    ("GET", f"{SMALL}/versions/9/metadata", 404, "Servable not found for request: Specific(small, 9)"),
    ("GET", f"{SMALL}/labels/none/metadata", 400, "Unrecognized servable version label: none"),
    ("GET", "/v1/models/SMALL", 404, "Could not find any versions of model SMALL"),
    ("GET", "/v1/models/other", 404, "Could not find any versions of model other"),
    ("GET", "/v1/models/other/metadata", 404, "Servable not found for request: Latest(other)"),
    ("GET", "/v1/models/metadata", 404, "Could not find any versions of model metadata"),
    # A query is a part of the path.
    ("GET", f"{SMALL}?x=1", 404, "Could not find any versions of model small?x=1"),
    ("GET", f"{SMALL}/metadata?x", 400, MALFORMED),
    ("GET", f"{SMALL}/versions/1?x", 400, MALFORMED),
    ("GET", "/v1/models", 400, "Missing model name in request."),
    ("GET", "/v1/models/", 400, MALFORMED),
    ("GET", f"{SMALL}/", 400, MALFORMED),
    ("GET", f"{SMALL}/versions", 400, MALFORMED),
    ("GET", f"{SMALL}/versions/", 400, MALFORMED),
    ("GET", f"{SMALL}/versions/x", 400, MALFORMED),
    ("GET", f"{SMALL}/versions/-1", 400, MALFORMED),
    ("GET", f"{SMALL}/versions/1/labels/stable", 400, MALFORMED),
    ("GET", f"{SMALL}:predict", 400, MALFORMED),
    ("GET", "/v1/", 400, MALFORMED),
    ("GET", "/v1/other", 400, MALFORMED),
    ("PUT", SMALL, 400, MALFORMED),
    ("DELETE", SMALL, 400, MALFORMED),
    ("PATCH", f"{SMALL}:predict", 400, MALFORMED),
    ("POST", SMALL, 400, MALFORMED),
    ("POST", f"{SMALL}/metadata", 400, MALFORMED),
    ("POST", f"{SMALL}:PREDICT", 400, MALFORMED),
    ("POST", f"{SMALL}:Classify", 400, MALFORMED),
    ("POST", f"{SMALL}:explain", 400, MALFORMED),
    ("POST", f"{SMALL}:predict?x=1", 400, MALFORMED),
    ("POST", f"{SMALL}:predict/", 400, MALFORMED),
    ("POST", f"{SMALL}/versions/x:predict", 400, MALFORMED),
    ("POST", "/v1/models:predict", 400, MALFORMED),
    ("POST", f"{SMALL}/versions/99999999999999999999:PREDICT", 400, "Failed to convert version: 99999999999999999999"),
]


@pytest.mark.parametrize(("method", "path", "status", "said"), PATHS)
def test_paths(rest, method, path, status, said):
    code, answer = rest(method, path)
    assert code == status
    if status == 200:
        assert said in answer
    else:
        assert answer["error"].startswith(said.format(method=method, path=path))


ROW = '{"instances": [[1, 2]]}'
ELEMENT = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
NO_FLOAT = "JSON Value: {} Type: {} is not of expected type: float"

#: Path, body, the answer.
GOOD = [
    (":predict", ROW, {"predictions": [5.0]}),
    ("/versions/1:predict", ROW, {"predictions": [4.0]}),
    ("/versions/002:predict", ROW, {"predictions": [5.0]}),
    ("/labels/stable:predict", ROW, {"predictions": [4.0]}),
    (":predict", '{"instances": [[1, 2], [3, 4]]}', {"predictions": [5.0, 9.0]}),
    (":predict", '{"instances": [{"x": [1, 2]}]}', {"predictions": [5.0]}),
    (":predict", '{"inputs": [[1, 2]]}', {"outputs": [5.0]}),
    (":predict", '{"inputs": {"x": [[1, 2]]}}', {"outputs": [5.0]}),
    (":predict", '{"inputs": {"x": [[1, 2]], "y": 1}}', {"outputs": [5.0]}),
    (":predict", '{"signature_name": "serving_default", "instances": [[1, 2]]}', {"predictions": [5.0]}),
    (":predict", '{"signature_name": "", "instances": [[1, 2]]}', {"predictions": [5.0]}),
    (":predict", '{"instances": [[1, 2]], "other": {"a": []}}', {"predictions": [5.0]}),
    # What follows the document is not looked at.
    (":predict", ROW + " trailing", {"predictions": [5.0]}),
    (":predict", ROW + "}", {"predictions": [5.0]}),
    (":predict", ROW + ROW, {"predictions": [5.0]}),
    (":predict", " \n\t" + ROW, {"predictions": [5.0]}),
    # Of a key that is there twice the first is found.
    (":predict", '{"instances": [[1, 2]], "instances": [[3, 4]]}', {"predictions": [5.0]}),
    (":predict", '{"inputs": {"x": [[1, 2]], "x": 3}}', {"outputs": [5.0]}),
    (":predict", '{"instances": [{"x": [1, 2], "x": [3, 4]}]}', {"predictions": [5.0]}),
    # An input that a row repeats is one more row, and only as many as there are objects are kept.
    (":predict", '{"instances": [{"x": [1, 2], "x": [3, 4]}, {"x": [5, 6]}]}', {"predictions": [5.0, 9.0]}),
    (":predict", '{"signature_name": "", "signature_name": 1, "instances": [[1, 2]]}', {"predictions": [5.0]}),
    (":predict", '{"instances": [[Inf, 2]]}', {"predictions": [float("inf")]}),
    (":predict", '{"Inf": "Inf", "instances": [[-Inf, 2]]}', {"predictions": [float("-inf")]}),
    (":predict", '{"instances": [[Infinity, 2]]}', {"predictions": [float("inf")]}),
    (":predict", '{"instances": [[-Infinity, 2]]}', {"predictions": [float("-inf")]}),
    (":predict", '{"instances": [[1e39, 2]]}', {"predictions": [float("inf")]}),
    # Only the exponent and the decimals decide whether a number is too large for a double.
    (":predict", '{"instances": [[9e308, 2]]}', {"predictions": [float("inf")]}),
    (":predict", '{"instances": [[1.5e309, 2]]}', {"predictions": [float("inf")]}),
    (":predict", '{"instances": [[1e-400, 2]]}', {"predictions": [4.0]}),
    (":predict", f'{{"instances": [[{"1" * 309}, 2]]}}', {"predictions": [float("inf")]}),
    (":predict", ROW + " 1e400", {"predictions": [5.0]}),
    (":predict", '{"1e400": "1e400", "instances": [[1, 2]]}', {"predictions": [5.0]}),
    (":predict", '{"instances": [[16777217, -2]]}', {"predictions": [16777216.0]}),
    (":predict", '{"instances": [[1e0, 0.2E1]]}', {"predictions": [5.0]}),
]


@pytest.mark.parametrize(("path", "body", "answer"), GOOD)
def test_good_requests(rest, path, body, answer):
    assert rest("POST", SMALL + path, body) == (200, answer)


TOO_BIG = "JSON Parse error: Number too big to be stored in double. at offset: "
INIT = "__saved_model_init_op"

#: Path, body, status, how the sentence begins.
BAD = [
    (":predict", "", 400, "JSON Parse error: The document is empty"),
    (":predict", "{", 400, "JSON Parse error: "),
    (":predict", '{"instances": [[nan, 1]]}', 400, "JSON Parse error: "),
    (":predict", '{"instances": [[01, 1]]}', 400, "JSON Parse error: "),
    (":predict", '{"instances": [[1e400, 1]]}', 400, TOO_BIG + "16"),
    (":predict", '{"instances": [[2, -1e309]]}', 400, TOO_BIG + "19"),
    (":predict", '{"instances": [[0e309, 1]]}', 400, TOO_BIG + "16"),
    (":predict", '{"instances": [[1.5e310, 1]]}', 400, TOO_BIG + "16"),
    (":predict", f'{{"instances": [[{"1" * 310}, 1]]}}', 400, TOO_BIG + "16"),
    (":predict", f'{{"instances": [[{"2" * 309}, 1]]}}', 400, TOO_BIG + "16"),
    (":predict", '{"instances": [[1e400, 1]], x', 400, TOO_BIG + "16"),
    (":predict", '{"inputs": [' + "[1, 2], " * 300 + "[1, 1e400]]}", 400, TOO_BIG + "2416"),
    (":predict", '{"inputs": 1e400} trailing', 400, TOO_BIG + "11"),
    (":predict", '{"instances": [[1, 2],]}', 400, "JSON Parse error: "),
    (":predict", "[]", 400, "JSON Value: [] Is not object"),
    (":predict", "1", 400, "JSON Value: 1 Is not object"),
    (":predict", "null", 400, "JSON Value: null Is not object"),
    (":predict", '"a"', 400, 'JSON Value: "a" Is not object'),
    (":predict", "true", 400, "JSON Value: true Is not object"),
    (":predict", "{}", 400, "Missing 'inputs' or 'instances' key"),
    (":predict", '{"instances": 1}', 400, "JSON Value: {"),
    (":predict", '{"instances": []}', 400, "JSON Value: {"),
    (":predict", '{"instances": [[1, 2]], "inputs": [[1, 2]]}', 400, "JSON Value: {"),
    (":predict", '{"signature_name": 1, "instances": [[1, 2]]}', 400, "JSON Value: {"),
    (
        ":predict",
        '{"signature_name": "no", "instances": [[1, 2]]}',
        400,
        'Serving signature name: "no" not found in signature def',
    ),
    (
        ":predict",
        f'{{"signature_name": "{INIT}", "instances": [[1, 2]]}}',
        400,
        f"Failed to get input map for signature: {INIT}",
    ),
    (
        ":classify",
        f'{{"signature_name": "{INIT}", "examples": [{{"x": 1}}]}}',
        400,
        "Expected classification signature method_name to be tensorflow/serving/classify. Was: ",
    ),
    (
        ":predict",
        '{"instances": [{"x": [1, 2], "x": [3]}]}',
        400,
        "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting tensor size: 2 but got: 1",
    ),
    # What repeats its key is not base64.
    (
        ":predict",
        '{"instances": [{"b64": "", "b64": ""}]}',
        400,
        "Failed to process element: 0 key: b64 of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
        "does not have named input: b64",
    ),
    (":predict", '{"instances": [["a", 2]]}', 400, ELEMENT + NO_FLOAT.format('"a"', "String")),
    (":predict", '{"instances": [[null, 2]]}', 400, ELEMENT + NO_FLOAT.format("null", "Null")),
    (":predict", '{"instances": [[true, 2]]}', 400, ELEMENT + NO_FLOAT.format("true", "True")),
    (":predict", '{"instances": [[false, 2]]}', 400, ELEMENT + NO_FLOAT.format("false", "False")),
    (":predict", '{"instances": [[{}, 2]]}', 400, ELEMENT + NO_FLOAT.format("{}", "Object")),
    (
        ":predict",
        '{"instances": [[[1], 2]]}',
        400,
        ELEMENT + "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (":predict", '{"instances": [[1, [2]]]}', 400, ELEMENT + "Encountered list at unexpected level: 1 expected < 1"),
    (
        ":predict",
        '{"instances": [[1, 2], [1]]}',
        400,
        ELEMENT.replace("0", "1") + "Expecting tensor size: 2 but got: 1",
    ),
    (
        ":predict",
        '{"instances": [[[1, 2]], [1, 2]]}',
        400,
        ELEMENT.replace("0", "1") + "Expecting shape [1,2] but got: [2]",
    ),
    (":predict", '{"instances": [{"x": [1, 2]}, [1, 2]]}', 400, "Expecting object but got list at item 1 of input"),
    (":predict", '{"instances": [[1, 2], {"x": 1}]}', 400, "Expecting value/list but got object at item 1 of input"),
    (
        ":predict",
        '{"instances": [{"y": 1}]}',
        400,
        "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
        "does not have named input: y",
    ),
    (":predict", '{"inputs": {"y": 1}}', 400, "Missing named input: x in 'inputs' object."),
    (
        ":predict",
        '{"inputs": [[1, 2], [1]]}',
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (":predict", '{"inputs": [[1, "a"]]}', 400, NO_FLOAT.format('"a"', "String")),
    ("/versions/9:predict", ROW, 404, "Servable not found for request: Specific(small, 9)"),
    ("/labels/none:predict", ROW, 400, "Unrecognized servable version label: none"),
    # The body is looked at before the model.
    ("/versions/9:predict", "{", 400, "JSON Parse error: "),
    ("/versions/9:predict", '{"signature_name": 1}', 400, "JSON Value: {"),
    ("/versions/9:predict", "{}", 404, "Servable not found for request: Specific(small, 9)"),
    (":classify", "", 400, "JSON Parse error: The document is empty"),
    (":classify", "[]", 400, "JSON Value: [] Is not object"),
    (":classify", '{"examples": [{"x": 1}]}', 400, "Expected classification signature method_name to be"),
    (":regress", '{"examples": [{"x": 1}]}', 400, "Expected regression signature method_name to be"),
    ("/versions/9:regress", '{"examples": [{"x": 1}]}', 404, "Servable not found for request: Specific(small, 9)"),
    (
        ":classify",
        '{"examples": [{"x": 1}], "signature_name": "no"}',
        400,
        "No signature was found with the name: no",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "sentence"), BAD)
def test_bad_requests(rest, path, body, status, sentence):
    code, answer = rest("POST", SMALL + path, body)
    assert (code, answer["error"][: len(sentence)]) == (status, sentence)


def test_metadata_holds_everything_that_the_model_says(rest):
    _, answer = rest("GET", f"{SMALL}/metadata")
    assert set(answer["metadata"]["signature_def"]["signature_def"]) == {"serving_default", "__saved_model_init_op"}
    assert answer["model_spec"] == {"name": "small", "signature_name": "", "version": "2"}


#: Method, path, body; the status and the sentence, where TensorFlow Serving answers something else, as the docs list.
DIFFERENT = [
    # The model's own words.
    ("POST", f"{SMALL}:predict", '{"instances": [[1, 2, 3]]}', 400, "x has shape (1, 3) float32; signature"),
    # No limit.
    ("POST", f"{SMALL}:predict", "[" * 100_000, 400, "JSON Parse error: The document is nested too deeply"),
    # "Missing a name for object member."
    ("POST", f"{SMALL}:predict", "{1", 400, "JSON Parse error: Expecting property name"),
    # HTML.
    ("GET", "/v1", None, 404, "There is nothing at /v1"),
    ("GET", "/", None, 404, "There is nothing at /"),
    ("GET", "/v2/models/small", None, 404, "There is nothing at /v2/models/small"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "sentence"), DIFFERENT)
def test_what_is_different(rest, method, path, body, status, sentence):
    code, answer = rest(method, path, body)
    assert (code, answer["error"][: len(sentence)]) == (status, sentence)
