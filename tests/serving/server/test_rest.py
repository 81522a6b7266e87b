"""The REST port answers as TensorFlow Serving's does, over real HTTP."""

import asyncio
import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.errors import InputError


@pytest.fixture(scope="module")
def connection(server):
    opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ask(connection):
    """Send a request; returns the status and the answer, from JSON."""

    def send(method: str, path: str, content=None, **headers):
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        response = connection.getresponse()
        answer = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            answer = gzip.decompress(answer)
        assert response.headers["Content-Type"].startswith("application/json")
        return response.status, json.loads(answer)

    return send


def test_predict_gives_the_numbers_of_grpc(ask, client, flux, composites):
    images = flux.tolist()
    expected = client.classify(flux, ["probabilities", "embedding", "anomaly"])
    for path in ("/v1/models/morph:predict", "/v1/models/morph/versions/3:predict", "/V1/MODELS/morph:predict"):
        status, answer = ask("POST", path, {"instances": images})
        assert status == 200
        for name in ("probabilities", "embedding", "anomaly"):
            np.testing.assert_allclose([row[name] for row in answer["predictions"]], expected[name], atol=1e-5)
    status, answer = ask("POST", "/v1/models/morph:predict", {"inputs": {"image": images}})
    assert status == 200
    np.testing.assert_allclose(answer["outputs"]["probabilities"], expected["probabilities"], atol=1e-5)
    pictures = {"instances": [{"image": each} for each in composites.tolist()], "signature_name": "composite"}
    status, answer = ask("POST", "/v1/models/morph:predict", pictures)
    assert status == 200
    wanted = client.classify(composites, ["probabilities"])["probabilities"]
    np.testing.assert_allclose([row["probabilities"] for row in answer["predictions"]], wanted, atol=1e-5)


def test_text_goes_in_and_comes_out(ask):
    asked = {"instances": ["?", {"b64": "Pw=="}], "signature_name": "describe"}
    status, answer = ask("POST", "/v1/models/morph:predict", asked)
    assert status == 200
    assert [json.loads(each)["survey"] for each in answer["predictions"]] == ["des", "des"]


def test_a_large_answer_is_compressed_for_who_can_read_it(ask, connection, flux):
    asked = {"instances": flux.tolist(), "signature_name": "reconstruct"}
    status, plain = ask("POST", "/v1/models/morph:predict", asked)
    assert status == 200
    assert np.shape(plain["predictions"]) == flux.shape
    body = gzip.compress(json.dumps(asked).encode())
    sent = {"Accept-Encoding": "gzip, br", "Content-Encoding": "gzip"}
    connection.request("POST", "/v1/models/morph:predict", body, sent)
    response = connection.getresponse()
    assert response.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(response.read())) == plain


def test_the_status_and_the_metadata_are_tensorflow_servings(ask):
    status, answer = ask("GET", "/v1/models/morph")
    available = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert (status, answer) == (200, {"model_version_status": [available]})
    assert ask("GET", "/v1/models/morph/versions/3") == (status, answer)
    # TensorFlow Serving does not look at the label here.
    assert ask("GET", "/v1/models/morph/labels/none") == (status, answer)
    status, answer = ask("GET", "/v1/models/morph/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "morph", "signature_name": "", "version": "3"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["composite"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image"]["dtype"] == "DT_UINT8"
    sizes = [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "64", "64", "3"]


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None)])
def test_an_answer_is_compressed_only_for_who_accepts_it(connection, flux, accepted, encoding):
    body = json.dumps({"instances": flux.tolist(), "signature_name": "reconstruct"})
    connection.request("POST", PREDICT, body, {"Accept-Encoding": accepted})
    response = connection.getresponse()
    response.read()
    assert response.headers["Content-Encoding"] == encoding


@pytest.mark.parametrize(("headers", "status"), [({"Origin": "https://a.example"}, 200), ({}, 400)])
def test_options_are_answered_without_a_body(connection, headers, status):
    connection.request("OPTIONS", PREDICT, headers=headers)
    response = connection.getresponse()
    assert (response.status, response.read()) == (status, b"")


PREDICT = "/v1/models/morph:predict"
EXAMPLES = {"examples": [{"x": 1}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("GET", "/v1/models/other", None, 404, "Could not find any versions of model other"),
        ("GET", "/v1/models/morph/versions/9", None, 404, "Could not find version 9 of model morph"),
        ("GET", "/v1/models/morph/versions/99999999999999999999", None, 400, "Failed to convert version: 9999"),
        ("GET", "/v1/models/other/metadata", None, 404, "Servable not found for request: Latest(other)"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", "/v1/models/morph/x", None, 400, "Malformed request: GET /v1/models/morph/x"),
        ("DELETE", "/v1/models/morph", None, 400, "Malformed request: DELETE /v1/models/morph"),
        ("POST", "/v1/models/morph", {}, 400, "Malformed request: POST /v1/models/morph"),
        ("POST", "/v1/models/morph:explain", {}, 400, "Malformed request: POST /v1/models/morph:explain"),
        ("GET", "/", None, 404, "There is nothing at /"),
        ("POST", "/v1/models/m%C3%B6rph:predict", {"inputs": 1}, 404, "Servable not found for request: Latest(mörph)"),
        ("POST", "/v1/models/morph/versions/9:predict", {}, 404, "Servable not found for request: Specific(morph, 9)"),
        ("POST", PREDICT, b"", 400, "JSON Parse error: The document is empty"),
        ("POST", PREDICT, {"instances": [1], "signature_name": "x"}, 400, 'Serving signature name: "x" not found'),
        ("POST", PREDICT, {"instances": [[1.0, 2.0]]}, 400, "image"),
        ("POST", PREDICT, {"inputs": []}, 400, "image"),
        ("POST", "/v1/models/morph:classify", {}, 400, "When method is classify, key 'examples' is expected"),
        ("POST", "/v1/models/morph:classify", {"examples": []}, 400, "'examples' value is an empty array"),
        ("POST", "/v1/models/morph:regress", {"examples": 1}, 400, "Expecting 'examples' value to be an list/array"),
        (
            "POST",
            "/v1/models/morph:classify",
            EXAMPLES,
            400,
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict",
        ),
        ("POST", "/v1/models/morph:regress", EXAMPLES, 400, "Expected regression signature method_name to be"),
        ("POST", "/v1/models/morph:regress", {**EXAMPLES, "signature_name": "x"}, 400, "No signature was found with"),
        ("POST", "/v1/models/other:regress", EXAMPLES, 404, "Servable not found for request: Latest(other)"),
    ],
)
def test_a_wrong_request_gets_tensorflow_servings_code_and_words(ask, method, path, body, status, sentence):
    code, answer = ask(method, path, body)
    assert list(answer) == ["error"]
    assert sentence in answer["error"]
    assert code == status


def test_a_body_over_the_limit_is_refused_before_it_is_all_there(ask, server, monkeypatch):
    from serving.server import rest

    monkeypatch.setattr(rest, "MAX_BODY", 1000)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as client:
        client.sendall(head + b" " * 2000)
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    refused = 413, {"error": "A request's body holds at most 1000 bytes"}
    assert ask("POST", PREDICT, b" " * 1001) == refused
    assert ask("POST", PREDICT, gzip.compress(b" " * 10_000_000)[:900], Content_Encoding="gzip") == refused


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("method", ["predict", "classify"])
def test_a_body_of_many_values_is_refused_before_it_is_read(ask, monkeypatch, packed, method):
    from serving.server import rest

    monkeypatch.setattr(rest, "read_request", None)
    monkeypatch.setattr(rest, "read_document", None)
    body = b'{"instances": [' + b",".join([b'{"b64": ""}'] * 1_500_000) + b"]}"
    headers = {"Content-Encoding": "gzip"} if packed else {}
    status, answer = ask("POST", f"/v1/models/morph:{method}", gzip.compress(body, 1) if packed else body, **headers)
    assert (status, answer["error"][:40]) == (400, "A request holds at most 100000 values, 1")


def test_more_rows_than_the_model_takes_are_reported_in_tensorflow_servings_words(ask):
    asked = {"instances": ["?"] * 129, "signature_name": "describe"}
    sentence = "Task size 129 is larger than maximum input batch size 128"
    assert ask("POST", PREDICT, asked) == (400, {"error": sentence})


@pytest.mark.parametrize("packed", [True, False])
def test_a_large_body_holds_up_no_small_one(ask, server, flux, monkeypatch, packed):
    """However long large ones take to read: here for ever, or nearly so."""
    from serving.server import rest

    read, let_go = rest.read_document, threading.Event()

    def slowly(body):
        if len(body) > 1 << 21:
            assert let_go.wait(60)
        return read(body)

    monkeypatch.setattr(rest, "read_document", slowly)
    large = json.dumps({"instances": np.repeat(flux, 10, 0).tolist()}).encode()
    small = json.dumps({"instances": flux[:1].tolist()}).encode()
    sent = [(gzip.compress(body, 1) if packed else body) for body in (large, small)]
    headers = {"Content-Encoding": "gzip"} if packed else {}

    def send(body: bytes) -> int:
        opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        opened.request("POST", PREDICT, body, headers)
        return opened.getresponse().status

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(send, sent[0]) for _ in range(4)]
        try:
            for _ in range(3):
                assert ask("POST", PREDICT, sent[1], **headers)[0] == 200
            assert not any(each.done() for each in waiting)
        finally:
            let_go.set()
        assert [each.result() for each in waiting] == [200] * 4


def test_bodies_together_hold_no_more_than_the_limit(ask, monkeypatch):
    from serving.server import rest

    monkeypatch.setattr(rest, "MAX_BODIES", 1000)
    assert ask("POST", PREDICT, b" " * 1001)[0] == 429
    assert ask("POST", PREDICT, b"{}" + b" " * 500)[0] == 400


def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch):
    from serving.server import rest

    monkeypatch.setattr(rest, "ARRIVING", 0.2)
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as client:
        client.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_clients_that_disconnect_or_do_not_read_harm_no_other(ask, server, flux, monkeypatch):
    from serving.server import rest

    send, done = rest.Rest._send, threading.Event()

    async def noted(self, request, response):
        port = request.transport.get_extra_info("peername")[1]
        answer = await send(self, request, response)
        if port == slow.getsockname()[1]:
            done.set()
        return answer

    slow = socket.socket()
    monkeypatch.setattr(rest.Rest, "_send", noted)
    monkeypatch.setattr(rest, "FETCHING", 0.5)
    asked = {"instances": np.repeat(flux, 20, 0).tolist(), "signature_name": "reconstruct"}
    body = json.dumps(asked).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    address = ("127.0.0.1", server.rest_port)
    for part in (body[: len(body) // 2], body):
        with socket.create_connection(address, 10) as client:
            client.sendall(head + part)
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(address)
    slow.sendall(head + body)
    assert ask("GET", "/v1/models/morph")[0] == 200
    assert ask("POST", PREDICT, {"instances": flux.tolist()})[0] == 200
    # The one who does not read is cut off: what it never fetched is gone.
    end, received = time.monotonic() + 30, 0
    assert done.wait(60)
    slow.settimeout(10)
    try:
        while piece := slow.recv(1 << 20):
            received += len(piece)
            assert time.monotonic() < end
    except ConnectionResetError:
        pass
    slow.close()
    assert received < 4_000_000


def test_a_client_that_never_ends_its_header_is_cut_off(monkeypatch):
    from serving.server import rest
    from serving.server.models import Models

    monkeypatch.setattr(rest, "IDLE", 0.5)

    async def pieces_sent() -> int:
        served = await rest.start_rest(Models(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        sent = 0
        while not reader.at_eof() and sent < 100:
            writer.write(b"x")
            sent += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)
        writer.close()
        await served.close()
        return sent

    assert asyncio.run(pieces_sent()) < 100


def test_a_large_request_does_not_hold_up_the_others(ask, server, flux):
    body = json.dumps({"instances": np.repeat(flux, 20, 0).tolist()}).encode()

    def send() -> int:
        opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        opened.request("POST", PREDICT, body)
        return opened.getresponse().status

    waits = []
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(send)
        while not large.done():
            begun = time.monotonic()
            assert ask("GET", "/v1/models/morph")[0] == 200
            waits.append(time.monotonic() - begun)
            time.sleep(0.005)
        assert large.result() == 200
    assert len(waits) > 3
    assert np.median(waits) < 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda text: json.dumps({"instances": [text], "signature_name": text}).encode()),
        st.lists(st.floats() | st.text() | st.none(), max_size=5).map(lambda v: json.dumps({"inputs": v}).encode()),
        st.binary(max_size=50).map(lambda end: b'{"instances": [[' + end),
    ),
    st.sampled_from(["predict", "classify", "regress"]),
    st.sampled_from([{}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "deflate"}, {"Content-Encoding": "br"}]),
)
def test_a_malformed_body_gets_an_error_and_the_server_lives(server, body, method, headers):
    opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    opened.request("POST", f"/v1/models/morph:{method}", body, headers)
    response = opened.getresponse()
    assert response.status == 400
    assert json.loads(response.read())["error"]
    opened.close()


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_bytes_other_than_http_harm_no_client(server, noise):
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as client:
        client.sendall(noise)
    opened = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    opened.request("GET", "/healthz/live")
    assert opened.getresponse().status == 200
    opened.close()


def test_a_taken_port_is_bad_input(server, model_dir):
    from serving.server.embedded import Server

    with pytest.raises(
        InputError, match=f"Port {server.rest_port} of 127.0.0.1 is not free; choose another with --rest-port"
    ):
        Server(model_dir, rest_port=server.rest_port).start()
