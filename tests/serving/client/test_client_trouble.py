"""The client with servers that are overloaded, absent, limited, or answer nonsense."""

import asyncio
import json
import time

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.client import AsyncMorphClient, MorphClient, Retries, ServerError
from serving.protocol import messages
from serving.protocol.configuration import BatchingParameters
from tests.serving.client.stand_in import DESCRIPTION, StandIn, numbered

BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "The server's queue is full; try again later.")
BUSY_STOCK = (grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
AWAY = (grpc.StatusCode.UNAVAILABLE, "connection reset")


class Refusing:
    """Refuses the first `times` requests, and counts all."""

    def __init__(self, times: int, status: grpc.StatusCode, details: str):
        self.left, self.status, self.details, self.count = times, status, details, 0

    def __call__(self, request, context):
        self.count += 1
        self.left -= 1
        if self.left >= 0:
            context.abort(self.status, self.details)


def classify(address: str, blocking: bool, images=None, **options):
    """The answers by either client."""
    images = numbered(3) if images is None else images
    if blocking:
        with MorphClient(address, **options) as client:
            return client.classify(images)

    async def ask():
        async with AsyncMorphClient(address, **options) as client:
            return await client.classify(images)

    return asyncio.run(ask())


both = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])


@both
@pytest.mark.parametrize("refusal", [BUSY, BUSY_STOCK, AWAY])
def test_a_server_that_comes_round_is_asked_again(blocking, refusal):
    before = Refusing(3, *refusal)
    with StandIn(before) as server:
        answers = classify(server.address, blocking, retries=Retries(first=0.01))
    assert answers["probabilities"][:, 0].tolist() == [0, 1, 2]
    assert before.count == 4


@both
@pytest.mark.parametrize(
    ("status", "retries", "attempts"),
    [
        (AWAY, 2, 3),
        (AWAY, 0, 1),
        (BUSY, 2, 3),
        (BUSY, 0, 1),
        ((grpc.StatusCode.INTERNAL, "broken"), 5, 1),
        ((grpc.StatusCode.INVALID_ARGUMENT, "image is nothing."), 5, 1),
        ((grpc.StatusCode.NOT_FOUND, "Servable not found"), 5, 1),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"), 5, 1),
    ],
)
def test_only_what_passes_is_tried_again_and_only_so_often(blocking, status, retries, attempts):
    before = Refusing(99, *status)
    with StandIn(before) as server, pytest.raises(ServerError) as caught:
        classify(server.address, blocking, images=numbered(1), retries=retries)
    assert before.count == attempts
    assert caught.value.status == status[0].name
    assert caught.value.details == status[1]


@both
def test_a_busy_server_is_asked_until_the_deadline_and_not_longer(blocking):
    before = Refusing(10**9, *BUSY)
    start = time.monotonic()
    # The last attempt may be refused, or be under way when the time is up.
    with StandIn(before) as server, pytest.raises(ServerError, match=r"overloaded|did not answer within 1 s"):
        classify(server.address, blocking, timeout=1.0, retries=Retries(first=0.01, longest=0.1))
    assert 0.5 < time.monotonic() - start < 3
    assert before.count > 8


@both
def test_the_deadline_holds_over_a_silent_server(blocking):
    start = time.monotonic()
    with StandIn(lambda request, context: time.sleep(1.0)) as server:
        with pytest.raises(ServerError, match=r"did not answer within 0.2 s") as caught:
            classify(server.address, blocking, timeout=0.2)
        assert time.monotonic() - start < 0.9
    assert caught.value.status == "DEADLINE_EXCEEDED"


def test_pauses_grow_and_are_not_alike():
    class Busy(grpc.RpcError):
        code, details = staticmethod(lambda: BUSY[0]), staticmethod(lambda: BUSY[1])

    retries = Retries(first=0.1, longest=2.0)
    drawn = [[retries.pause(Busy(), done) for _ in range(200)] for done in range(8)]
    assert all(0 <= pause <= min(2.0, 0.1 * 2**done) for done, pauses in enumerate(drawn) for pause in pauses)
    means = [float(np.mean(pauses)) for pauses in drawn]
    assert means[0] < means[2] < means[4]
    assert len(set(drawn[4])) > 100


def test_a_smaller_server_is_learned_once(model_dir, classifier, flux):
    from serving.server.embedded import Server

    images = np.concatenate([flux, flux])
    few = BatchingParameters(max_batch_size=4)
    with Server(model_dir, batching=few) as small, MorphClient(small.address) as client:
        answers = client.classify(images)
        assert client._protocol.batch_size == 4
        again = client.classify(images)
    np.testing.assert_allclose(answers["embedding"], classifier.answer(images)["embedding"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answers["embedding"], again["embedding"])


@both
def test_stock_servings_words_for_a_large_batch_are_understood(blocking):
    def before(request, context):
        if (rows := request.inputs["image"].tensor_shape.dim[0].size) > 5:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"Task size {rows} is larger than maximum input batch size 5"
            )

    with StandIn(before) as server:
        answers = classify(server.address, blocking, numbered(23))
        assert answers["probabilities"][:, 0].tolist() == list(range(23))
        # Several are under way at once, so they may arrive in any order.
        assert sorted(rows for _, rows in server.asked[-5:]) == [3, 5, 5, 5, 5]


@both
def test_a_server_with_a_limit_on_bytes_gets_smaller_messages(blocking):
    images = numbered(64, size=64)
    with StandIn(max_receive_message_length=1 << 20) as server:
        answers = classify(server.address, blocking, images)
        assert answers["probabilities"][:, 0].tolist() == list(range(64))
        assert max(rows for _, rows in server.asked) == 21


def test_large_images_are_split_by_bytes(monkeypatch):
    monkeypatch.setattr("serving.client.protocol.MESSAGE_BYTES", 400_000)
    with StandIn() as server, MorphClient(server.address) as client:
        client.classify(numbered(9, size=128), ["anomaly"])
        assert sorted(rows for signature, rows in server.asked if signature != "describe") == [1, 2, 2, 2, 2]


def test_one_galaxy_too_large_for_the_server_is_one_sentence():
    with (
        StandIn(max_receive_message_length=10_000) as server,
        pytest.raises(ServerError, match="larger than max") as caught,
    ):
        classify(server.address, True, numbered(2, size=64))
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def answer_with(change):
    """A stand-in that lets `change` alter each answer to a predict request before it is sent."""

    class Altered(StandIn):
        def response(self, request, rows):
            response = super().response(request, rows)
            if request.model_spec.signature_name != "describe":
                change(response)
            return response

    return Altered()


def _set(name: str, array: np.ndarray):
    def change(response):
        response.outputs[name].Clear()
        messages.to_tensor(array, response.outputs[name])

    return change


def _claim(size: int):
    def change(response):
        response.outputs["embedding"].ClearField("tensor_content")
        response.outputs["embedding"].tensor_shape.dim[1].size = size

    return change


@both
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("anomaly", np.zeros(2, "float32")), r"'anomaly' is float32\[2\] for 3 galaxies"),
        (_set("anomaly", np.array("text")), "'anomaly' is object"),
        (_set("probabilities", np.zeros((3, 4), "float32")), "other than 5 answers a galaxy"),
        (_claim(10**12), "0 values only"),
        (_claim(-1), "needs a shape"),
        (lambda response: response.outputs["anomaly"].Clear(), "type 0"),
        (lambda response: response.outputs.clear(), "it holds nothing"),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_sentence(blocking, change, problem):
    with answer_with(change) as server, pytest.raises(ServerError, match=problem) as caught:
        classify(server.address, blocking)
    assert caught.value.status == "INTERNAL"


def test_an_output_that_is_not_sent_is_missed():
    with (
        answer_with(lambda response: response.outputs.pop("anomaly")) as server,
        MorphClient(server.address) as client,
        pytest.raises(ServerError, match="it lacks 'anomaly'"),
    ):
        client.classify(numbered(1), ["anomaly"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
#: Descriptions with one entry replaced by anything, or gone.
NEARLY = st.tuples(st.sampled_from(sorted(DESCRIPTION)), JSON).map(lambda pair: {**DESCRIPTION, pair[0]: pair[1]})


@pytest.fixture(scope="module")
def babbling():
    """A gRPC server that answers `server.words` to everything."""

    class Babbling(StandIn):
        words = b""

        def _answer(self, content, context):
            return self.words

    with Babbling() as server, MorphClient(server.address) as client:
        yield server, client


@settings(deadline=None, max_examples=60)
@given(words=st.binary(max_size=200) | (JSON | NEARLY).map(lambda thing: json.dumps(thing)))
def test_no_nonsense_is_more_than_a_server_error(babbling, words):
    """Random bytes, and well-formed answers whose text is nonsense."""
    if isinstance(words, str):
        response = messages.PredictResponse()
        messages.to_tensor(np.array([words]), response.outputs["description"])
        words = response.SerializeToString()
    server, client = babbling
    server.words = words
    client._protocol._described.clear()
    for call in (
        client.describe,
        client.available_versions,
        client.reference_sample,
        lambda: client.classify(numbered(1)),
    ):
        try:
            found = call()
        except ServerError as error:
            found = str(error).splitlines()
        assert isinstance(found, dict | list | None)


@pytest.mark.parametrize("status", [s for s in grpc.StatusCode if s is not grpc.StatusCode.OK])
@pytest.mark.parametrize("details", ["", "line one\nline two", "ünïcödé {}%s"])
def test_every_status_is_one_sentence_and_keeps_its_name(status, details):
    with StandIn(Refusing(99, status, details)) as server, pytest.raises(ServerError) as caught:
        classify(server.address, True, retries=0)
    assert caught.value.status == status.name
    assert str(caught.value).strip()


def test_versions_with_other_answers_are_not_joined():
    with StandIn() as server, MorphClient(server.address, batch_size=2) as client:

        def before(request, context):
            if request.inputs["image"].tensor_shape.dim[0].size == 1:
                server.description = {**DESCRIPTION, "version": 4, "questions": DESCRIPTION["questions"][::-1]}

        server.before = before
        with pytest.raises(ServerError, match="changed to a model with other outputs"):
            client.classify(numbered(5))
        assert client.classify(numbered(1)).versions.tolist() == [4]


def test_answers_are_named_by_the_version_that_gave_them():
    with StandIn() as server, MorphClient(server.address) as client:
        assert next(iter(client.classify(numbered(1)).columns())) == "bar_yes"
        server.description = {**DESCRIPTION, "version": 4, "questions": DESCRIPTION["questions"][::-1]}
        answers = client.classify(numbered(1))
    assert next(iter(answers.columns())) == "merging_none"
    assert answers.description["version"] == 4
