"""The service `Similar` through the thin client: the index's own hits, and gRPC's statuses for whatever is wrong."""

import asyncio
import http.client
import re
import ssl
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from morph.errors import InputError
from serving.client import AsyncMorphClient, MorphClient, ServerError
from serving.protocol.similar import SEARCH, SERVICE
from serving.server.configuration import Tls
from serving.similarity import Index, searches
from tests.serving.certificates import Authority
from tests.serving.similarity.exploring import Asking
from tests.waiting import wait_until

A, B, C = "DES0001-0000-3", "DES0000-0000-1", "DES0002-0000-2"


@pytest.fixture(scope="module")
def client(explored):
    with MorphClient(explored.server.grpc_address, retries=0) as connected:
        yield connected


def test_the_hits_are_those_of_the_index(explored, client):
    hits = client.similar(like=A, n=15)
    expected = explored.index.search(explored.index.vector_of(A), 15, exclude=[A])
    for name in ("id", "tile", "survey"):
        assert hits[name].tolist() == expected[name].to_pylist()
    for name in ("ra", "dec", "similarity", "mag_r", "bar_strong"):
        np.testing.assert_allclose(hits[name], expected[name].to_numpy(), rtol=1e-6)
        assert hits[name].dtype == expected[name].to_numpy().dtype
    assert np.isnan(hits["mag_g"]).all(), "unknown"
    assert set(hits["anomaly"].tolist()) <= {0, 1}
    assert (hits.model, hits.model_version) == ("morph", "7")
    np.testing.assert_array_equal(hits.vectors[0], explored.index.vector_of(A))
    assert hits.to_arrow()["id"].to_pylist() == hits.to_table()["id"].tolist()


def test_examples_of_every_kind_are_combined(explored, client):
    index = explored.index
    row = index.row_of(B)
    where, cone = "mag_r > 21.3", (0.0, 0.0, 0.06)
    hits = client.similar(
        like=[A],
        position=(row["ra"], row["dec"]),
        vectors=index.vector_of(C),
        weights=[1, 2, 0.5],
        unlike=index.vector_of("DES0001-0000-8")[None],
        where=where,
        cone=cone,
        n=12,
        columns=["id", "similarity"],
    )
    vectors = np.stack([index.vector_of(name) for name in (A, B, C)])
    unlike = index.vector_of("DES0001-0000-8")[None]
    expected = index.search(vectors, 12, [1, 2, 0.5], unlike, where, cone, [A, B])
    assert list(hits) == ["id", "similarity"]
    assert hits["id"].tolist() == expected["id"].to_pylist()
    assert len(hits.vectors) == 4


def test_the_asyncio_client_answers_alike(explored, client):
    async def ask():
        async with AsyncMorphClient(explored.server.grpc_address) as other:
            return await asyncio.gather(*(other.similar(like=name, n=5) for name in (A, B)))

    for name, hits in zip((A, B), asyncio.run(ask()), strict=True):
        assert hits["id"].tolist() == client.similar(like=name, n=5)["id"].tolist()


@pytest.mark.parametrize(
    ("given", "status", "sentence"),
    [
        ({"like": "nowhere"}, "NOT_FOUND", "There is no galaxy 'nowhere' in the index; the nearest ids are DES"),
        ({"position": (10, 20)}, "NOT_FOUND", "No galaxy of the index lies within a degree of 10, 20"),
        ({"position": (10, 120)}, "NOT_FOUND", "There is no position 10, 120"),
        ({"vectors": np.ones(7)}, "INVALID_ARGUMENT", "A vector has 7 numbers; those of the index have 50"),
        ({"vectors": np.zeros(50)}, "INVALID_ARGUMENT", "a vector of zeros"),
        ({"vectors": np.full(50, np.nan)}, "INVALID_ARGUMENT", "not finite"),
        ({"like": A, "where": "colour == 'red'"}, "INVALID_ARGUMENT", "There is no column 'colour' in the index"),
        ({"like": A, "where": "mag_r < 1"}, "INVALID_ARGUMENT", "None of the 102 galaxies of the index passes"),
        ({"like": A, "cone": (0, 0, -1)}, "INVALID_ARGUMENT", "A cone of -1 degrees"),
        ({"like": A, "columns": ["bar_srong"]}, "INVALID_ARGUMENT", "no column 'bar_srong'; it has bar_strong"),
        ({"image": np.zeros((64, 64, 3), "float32")}, "FAILED_PRECONDITION", "Images need a model server"),
    ],
)
def test_what_cannot_be_searched_has_its_status_and_one_sentence(explored, client, given, status, sentence):
    with pytest.raises(ServerError) as caught:
        client.similar(**given)
    assert caught.value.status == status
    assert sentence in str(caught.value)
    assert str(explored.index.folder) not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "nothing to search by"),
        ({"like": A, "n": 0}, "Between 1 and 10,000"),
        ({"like": A, "n": 1_000_000}, "Between 1 and 10,000"),
        ({"like": [A, B], "weights": [1]}, "one for each of the 2 examples"),
        ({"like": A, "weights": [-1]}, "positive numbers"),
        ({"image": "not-there.png"}, "'not-there.png' cannot be read"),
        ({"image": np.zeros((64, 64), "float32")}, "not a batch"),
    ],
)
def test_what_cannot_be_asked_is_not_sent(client, given, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        client.similar(**given)
    assert not isinstance(caught.value, ServerError)


def test_bytes_that_are_not_a_request_are_refused(explored):
    with grpc.insecure_channel(explored.server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SEARCH)(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_server_without_an_index_is_one_sentence(server):
    with (
        MorphClient(server.address) as client,
        pytest.raises(ServerError, match="does not search an index; start one"),
    ):
        client.similar(like=A)


@pytest.fixture
def held(explored, monkeypatch):
    """The index's searches wait until the event is set; how many are waiting."""
    let_go, waiting, search = threading.Event(), [], Index.search

    def slowly(*arguments, **options):
        waiting.append(1)
        assert let_go.wait(60)
        return search(*arguments, **options)

    monkeypatch.setattr(Index, "search", slowly)
    yield let_go, waiting
    let_go.set()


def under_way(explored) -> float:
    page = explored.ask("GET", "/monitoring/prometheus/metrics")[1].decode()
    found = re.search(r"^morph_similar_under_way (\S+)", page, re.MULTILINE)
    assert found
    return float(found[1])


def test_a_search_ends_with_its_deadline(explored, held):
    begun = time.monotonic()
    hasty = MorphClient(explored.server.grpc_address, timeout=0.5, retries=0)
    with hasty, pytest.raises(ServerError) as caught:
        hasty.similar(like=A)
    assert caught.value.status == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 30
    wait_until(lambda: under_way(explored) == 0)


def test_a_cancelled_search_is_not_begun(explored, held):
    let_go, waiting = held
    from serving.client.similar import similar_request

    content = similar_request(like=[A]).SerializeToString()
    with grpc.insecure_channel(explored.server.grpc_address) as channel:
        calls = [channel.unary_unary(SEARCH).future(content, timeout=60) for _ in range(8)]
        wait_until(lambda: under_way(explored) == 8)
        for call in calls:
            call.cancel()
        wait_until(lambda: under_way(explored) == 0)
        let_go.set()
        explored.get("/v1/similar", like=A, n=1)
    # Two threads search; the one above is the last.
    assert len(waiting) <= 3
    page = explored.ask("GET", "/monitoring/prometheus/metrics")[1].decode()
    assert 'entrypoint="GRPC",status="CANCELLED"' in page


def test_a_server_that_is_overloaded_refuses(explored, client, monkeypatch):
    monkeypatch.setattr(searches, "WAITING", 0)
    with pytest.raises(ServerError, match="is overloaded; send less at once") as caught:
        client.similar(like=A)
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def state(address: str, service: str) -> str:
    with grpc.insecure_channel(address) as channel:
        found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(found.status)


def test_health_is_reported_and_stopping_finishes_what_is_under_way(invented_index, monkeypatch):
    let_go, search = threading.Event(), Index.search
    monkeypatch.setattr(Index, "search", lambda *given, **options: let_go.wait(60) and search(*given, **options))
    found = []
    with Asking(invented_index) as explored:
        assert [state(explored.server.grpc_address, name) for name in ("", SERVICE)] == ["SERVING"] * 2
        asking = threading.Thread(target=lambda: found.append(explored.get("/v1/similar", like=A, n=3)))
        asking.start()
        wait_until(lambda: under_way(explored) == 1)
        stopping = threading.Thread(target=explored.server.stop)
        stopping.start()
        time.sleep(0.2)
        let_go.set()
        for thread in (asking, stopping):
            thread.join(60)
    assert len(found[0]["hits"]) == 3


def test_both_ports_speak_tls_and_ask_for_certificates(invented_index, tmp_path):
    ours = Authority(tmp_path)
    key, certificate = (text.encode() for text in ours.sign("server").texts)
    tls = Tls(key, certificate, ours.root.read_bytes(), client_verify=True)
    own = ours.sign("client")
    with Asking(invented_index, tls=tls) as explored:
        address = explored.server.grpc_address.replace("127.0.0.1", "localhost")
        with MorphClient(address, tls=ours.root, certificate=(own.certificate, own.key)) as client:
            assert len(client.similar(like=A, n=3)["id"]) == 3
        with MorphClient(address, tls=ours.root, retries=0, timeout=10) as stranger, pytest.raises(ServerError):
            stranger.similar(like=A)
        context = ssl.create_default_context(cafile=str(ours.root))
        context.load_cert_chain(own.certificate, own.key)
        assert explored.server.url.startswith("https://")
        secure = http.client.HTTPSConnection("localhost", explored.server.port, context=context, timeout=20)
        secure.request("GET", "/healthz/ready")
        assert secure.getresponse().read() == b"ok\n"


def test_a_taken_port_is_one_sentence(explored, invented_index):
    with pytest.raises(InputError, match=f"Port {explored.server.port} of 127.0.0.1 is not free; choose .* --port"):
        Asking(invented_index, port=explored.server.port).__enter__()
    with pytest.raises(InputError, match="is not free; choose another with --grpc-port"):
        Asking(invented_index, grpc_port=explored.server.grpc_port).__enter__()
