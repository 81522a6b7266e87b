"""TLS, certificates and tokens: the client gets in where it may, and says why where it may not."""

import asyncio

import grpc
import pytest

from morph.errors import InputError
from serving.client import AsyncMorphClient, MorphClient, ServerError
from tests.serving.certificates import Authority
from tests.serving.client.stand_in import StandIn, numbered
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(authority):
    return authority.sign("server")


def credentials(signed, root=None):
    """A server's; with `root`, of one that wants to see its clients' certificates."""
    pair = (signed.key.read_bytes(), signed.certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], root and root.read_bytes(), root is not None)


@pytest.fixture(scope="module")
def secure(signed):
    with StandIn(credentials=credentials(signed)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(signed, authority):
    with StandIn(credentials=credentials(signed, authority.root)) as server:
        yield server


def ask(server, **options):
    with MorphClient(server.address, retries=0, timeout=5, **options) as client:
        return client.classify(numbered(1))


def test_tls_with_a_root_of_ones_own_and_a_token(secure, authority):
    assert len(ask(secure, tls=authority.root, token="open-sesame")["anomaly"]) == 1
    assert secure.metadata[-1]["authorization"] == "Bearer open-sesame"


def test_the_asyncio_client_speaks_tls_and_shows_its_token(mutual, authority):
    mine = authority.sign("async")

    async def classify():
        options = {"tls": authority.root, "certificate": (mine.certificate, mine.key), "token": "open"}
        async with AsyncMorphClient(mutual.address, **options) as client:
            return await client.classify(numbered(1))

    assert len(asyncio.run(classify())["anomaly"]) == 1
    assert mutual.metadata[-1]["authorization"] == "Bearer open"


def test_mutual_tls_lets_in_only_signed_clients(mutual, authority, tmp_path):
    mine, strangers = authority.sign("client"), Authority(tmp_path, "stranger").sign("client")
    assert len(ask(mutual, tls=authority.root, certificate=(mine.certificate, mine.key))["anomaly"]) == 1
    for certificate in (None, (strangers.certificate, strangers.key)):
        with pytest.raises(ServerError, match="over TLS") as caught:
            ask(mutual, tls=authority.root, certificate=certificate)
        assert caught.value.status == "UNAVAILABLE"


@pytest.mark.parametrize("tls", [True, "stranger", False])
def test_a_server_that_is_not_trusted_or_not_spoken_to_rightly_is_one_sentence(secure, tmp_path, tls):
    trusted = Authority(tmp_path, "stranger").root if tls == "stranger" else tls
    with pytest.raises(ServerError, match=r"No server answers at localhost:\d+") as caught:
        ask(secure, tls=trusted)
    assert caught.value.status == "UNAVAILABLE"


def test_a_plain_server_asked_over_tls_is_one_sentence(authority):
    with StandIn() as plain, pytest.raises(ServerError, match="over TLS"):
        ask(plain, tls=authority.root)


def test_a_token_goes_in_clear_only_when_that_is_allowed():
    with StandIn() as server:
        with pytest.raises(InputError, match="without TLS can be read by anyone"):
            ask(server, token="secret")
        assert not server.metadata
        ask(server, token="secret", token_in_clear=True)
        assert server.metadata[-1]["authorization"] == "Bearer secret"


def test_a_token_that_is_refused_is_one_sentence(secure, authority):
    def before(request, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "token expired")

    with StandIn(before) as server, pytest.raises(ServerError, match=r"does not let you in \(token expired\)"):
        ask(server, token="old", token_in_clear=True)


def test_several_servers_are_asked_in_turn():
    with StandIn() as first, StandIn() as second:
        with MorphClient(f"127.0.0.1:{first.port},127.0.0.1:{second.port}", batch_size=1) as client:
            # Both connections must stand before the turns are even.
            wait_until(lambda: client.classify(numbered(1)) and first.asked and second.asked)
            first.asked.clear()
            second.asked.clear()
            client.classify(numbered(20))
        assert len(first.asked) == len(second.asked) == 10


def test_versions_and_labels_are_asked_for():
    specs = []
    with StandIn(lambda request, context: specs.append(request.model_spec)) as server:
        for options in ({"version": 7}, {"label": "stable"}, {}):
            ask(server, **options)
    assert [(spec.version.value, spec.version_label) for spec in specs] == [(7, ""), (0, "stable"), (0, "")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"version": 1, "label": "stable"}, "not by both"),
        ({"batch_size": 0}, "at least 1 galaxy"),
        ({"timeout": 0}, "more than 0 seconds"),
        ({"certificate": ("a.pem", "a.key")}, "over TLS only"),
        ({"tls": "nothing.pem"}, r"'nothing.pem' cannot be read \(No such file"),
        ({"tls": __file__}, "contains no certificate; give a PEM file"),
        ({"tls": True, "token": ""}, "A token is one line"),
        ({"tls": True, "token": "a\nb"}, "A token is one line"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(options, problem):
    with pytest.raises(InputError, match=problem):
        MorphClient("127.0.0.1:1", **options)


def test_a_token_is_not_shown():
    client = MorphClient("127.0.0.1:1", token="secret", token_in_clear=True)
    assert "secret" not in repr(client) + repr(client._connection)


def test_a_closed_client_says_so():
    client = MorphClient("127.0.0.1:1")
    client.close()
    with pytest.raises(InputError, match="is closed; make a new one"):
        client.describe()

    async def awaited():
        async with AsyncMorphClient("127.0.0.1:1") as client:
            pass
        with pytest.raises(InputError, match="is closed; make a new one"):
            await client.describe()

    asyncio.run(awaited())


def test_the_verb_speaks_tls_and_shows_its_token(morph, mutual, authority, tmp_path, monkeypatch):
    from PIL import Image

    mine = authority.sign("verb")
    Image.fromarray(numbered(1, 60, "uint8", 64)[0]).save(tmp_path / "a.png")
    monkeypatch.setenv("MORPH_TOKEN", "from-the-environment")
    options = ("--server", mutual.address, "--ca", authority.root, "--certificate", mine.certificate)
    status, _, errors = morph("classify", tmp_path / "a.png", *options)
    assert status == 2
    assert "give --certificate and --key" in errors
    # The stand-in's model is none of the verb's, which asks it for all that it prints.
    status, _, errors = morph("classify", tmp_path / "a.png", *options, "--key", mine.key)
    assert status == 2
    assert mutual.metadata[-1]["authorization"] == "Bearer from-the-environment"
