"""Whatever is sent, the server says what is wrong and goes on."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from serving.protocol.configuration import BatchingParameters
from serving.protocol.messages import PredictRequest, PredictResponse, from_tensor, to_tensor
from tests.serving.malformed_requests import honest, malformed_requests
from tests.waiting import wait_until

#: What a request can be told that is none or a wrong one.
TOLD = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"}


@pytest.fixture(scope="module")
def predict(server):
    """Predict over bytes."""
    with grpc.insecure_channel(server.address) as channel:
        yield channel.unary_unary("/tensorflow.serving.PredictionService/Predict")


def outcome(call) -> tuple[str, str]:
    try:
        call.result(timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=malformed_requests())
def test_a_malformed_request_gets_a_reason_and_the_next_one_is_answered(predict, content):
    status, sentence = outcome(predict.future(content))
    assert status in TOLD | {"OK"}
    assert status == "OK" or sentence
    assert "Traceback" not in sentence
    assert outcome(predict.future(honest()))[0] == "OK"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45])
def test_pixels_of_any_value_are_answered_and_leave_their_neighbours_alone(predict, flux, value):
    strange = flux[:2].copy()
    strange[0] = value
    request = PredictRequest()
    request.model_spec.name = "morph"
    to_tensor(strange, request.inputs["image"])
    together = PredictResponse.FromString(predict(request.SerializeToString()))
    request.inputs["image"].Clear()
    to_tensor(strange[1:], request.inputs["image"])
    alone = PredictResponse.FromString(predict(request.SerializeToString()))
    for name in ("probabilities", "embedding"):
        both, one = (from_tensor(response.outputs[name]) for response in (together, alone))
        np.testing.assert_allclose(both[1], one[0], rtol=1e-4, atol=1e-5)


def test_a_message_over_the_limit_is_refused_and_the_next_one_answered(model_dir):
    from serving.server.embedded import Server

    brief = BatchingParameters(max_batch_size=64)
    with Server(model_dir, batching=brief, max_message_mb=1) as small, grpc.insecure_channel(small.address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        status, sentence = outcome(predict.future(honest(rows=64)))
        assert (status, "larger than max" in sentence) == ("RESOURCE_EXHAUSTED", True)
        assert outcome(predict.future(honest()))[0] == "OK"


def test_nothing_is_computed_for_a_client_disconnected_or_out_of_time(model_dir):
    from serving.server.embedded import Server

    one_by_one = BatchingParameters(max_batch_size=64, allowed_batch_sizes=())
    with Server(model_dir, batching=one_by_one) as server, grpc.insecure_channel(server.address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        predict(honest())
        rows: list[int] = []
        statuses: Counter = Counter()
        server.models.observers.append(
            lambda seen: (statuses.update([seen.status]), seen.compute and rows.append(seen.rows))
        )
        # They keep the network busy for far longer than a deadline below; what comes then waits.
        busy = [predict.future(honest(rows=64)) for _ in range(10)]
        time.sleep(0.1)
        late = [predict.future(honest(rows=2), timeout=0.05) for _ in range(4)]
        gone = [predict.future(honest(rows=3)) for _ in range(4)]
        time.sleep(0.02)
        for call in gone:
            call.cancel()
        assert [outcome(call)[0] for call in late] == ["DEADLINE_EXCEEDED"] * 4
        assert [outcome(call)[0] for call in busy] == ["OK"] * 10
        assert outcome(predict.future(honest(rows=5)))[0] == "OK"
        assert sorted(rows) == [5, *[64] * 10]
        assert statuses["OK"] == 11


def test_calls_that_never_bring_their_request_hold_up_no_other_and_are_given_up(server, predict, monkeypatch):
    from serving.server import services

    monkeypatch.setattr(services, "ARRIVING", 2.0)
    done = threading.Event()

    def never():
        done.wait()
        yield b""

    with grpc.insecure_channel(server.address) as channel:
        silent = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        calls = [silent.future(never()) for _ in range(2 * services.RECEIVED_AT_ONCE)]
        time.sleep(0.2)
        predict(honest(), timeout=20)
        assert not any(call.done() for call in calls[-services.RECEIVED_AT_ONCE :])
        told = {outcome(call) for call in calls}
        done.set()
    assert told == {("DEADLINE_EXCEEDED", "The request did not arrive within 2 s")}


def test_a_machine_that_has_lost_its_power_does_not_hold_its_connection(model_dir, monkeypatch):
    from serving.server import embedded
    from serving.server import running as server

    monkeypatch.setattr(server, "KEEPALIVE", 1.0)
    monkeypatch.setattr(server, "KEEPALIVE_TIMEOUT", 1.0)
    with embedded.Server(model_dir) as own, socket.create_connection((own.host, own.port), 20) as client:
        # HTTP/2's greeting and empty settings, and then not another word.
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        wait_until(lambda: not client.recv(4096))


#: Sends a message of galaxies to be redrawn several times at once, and says how many bytes came back.
READER = """
import sys, grpc
from tests.waiting import wait_until
from tests.serving.malformed_requests import honest
address, rows, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = (("grpc.max_receive_message_length", -1),)
predict = grpc.insecure_channel(address, options).unary_unary("/tensorflow.serving.PredictionService/Predict")
calls = [predict.future(honest(rows=rows, signature="reconstruct")) for _ in range(times)]
print("sent", flush=True)
print(sum(len(call.result()) for call in calls), flush=True)
"""


def test_a_client_that_stops_reading_holds_up_no_other_and_may_go_on(server, predict):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READER, server.address, "100", "6"]
    answered: list[int] = []
    server.models.observers.append(lambda seen: answered.append(seen.rows))
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert reader.stdout
        assert reader.stdout.readline() == "sent\n"
        wait_until(lambda: 100 in answered)
        reader.send_signal(signal.SIGSTOP)
        for _ in range(20):
            predict(honest(), timeout=60)
        reader.send_signal(signal.SIGCONT)
        assert int(reader.stdout.readline()) > 6 * 100 * 64 * 64 * 3 * 4
    finally:
        server.models.observers.pop()
        reader.kill()
        reader.wait()


def test_overload_is_refused_quickly_and_leaves_the_server_well(model_dir):
    from serving.server.embedded import Server

    tight = BatchingParameters(max_batch_size=8, max_enqueued_batches=2)
    with Server(model_dir, batching=tight) as server, grpc.insecure_channel(server.address) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        predict(honest())
        refusals: list[float] = []
        outcomes: Counter = Counter()
        counted: Counter = Counter()
        server.models.observers.append(lambda seen: counted.update([(seen.model, seen.status)]))
        done = threading.Event()
        calls = []

        def finished(call, begun):
            outcomes.update([call.code().name])
            if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                refusals.append(time.monotonic() - begun)
            if outcomes.total() == 200:
                done.set()

        for _ in range(200):
            begun = time.monotonic()
            calls.append(predict.future(honest()))
            calls[-1].add_done_callback(lambda call, begun=begun: finished(call, begun))
        assert done.wait(60)
        assert set(outcomes) == {"OK", "RESOURCE_EXHAUSTED"}
        # Those that were turned away unread are missed by no dashboard.
        assert counted == {("morph", status): count for status, count in outcomes.items()}
        assert outcomes["OK"] >= 16
        assert np.median(refusals) < 2
        refused = next(call for call in calls if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert refused.details() == "The batch scheduling queue to which this task was submitted is full"
        assert outcome(predict.future(honest()))[0] == "OK"
