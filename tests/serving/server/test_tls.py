"""TLS and mutual TLS on both ports, and what is told of a configuration that cannot work."""

import asyncio
import http.client
import socket
import ssl
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from morph.errors import InputError
from serving.client import AsyncMorphClient, MorphClient, ServerError
from serving.server.configuration import Tls
from tests.serving.certificates import Authority


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture(scope="module")
def pair(ours) -> tuple[str, str]:
    return ours.sign("server").texts


def config(folder: Path, key: str = "", certificate: str = "", authority: str = "", verify: bool = False) -> Path:
    """A file as TensorFlow Serving takes it."""
    fields = (("server_key", key), ("server_cert", certificate), ("custom_ca", authority))
    lines = [f'{name}: "{text.encode("unicode_escape").decode()}"' for name, text in fields if text]
    file = folder / "ssl.config"
    file.write_text("\n".join([*lines, f"client_verify: {str(verify).lower()}"]))
    return file


@pytest.fixture(scope="module", params=[False, True], ids=["TLS", "mutual TLS"])
def served(request, model_dir, ours, pair, tmp_path_factory):
    """A server with TLS, and whether it asks clients for a certificate."""
    from serving.server.embedded import Server

    tls = Tls.read(config(tmp_path_factory.mktemp("tls"), *pair, ours.root.read_text(), request.param))
    with Server(model_dir, tls=tls, rest_port=0) as server:
        yield server, request.param


def health(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """What a gRPC client gets: SERVING, or the name of its error."""
    options = (("grpc.enable_retries", 0),)
    if credentials is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address.replace("127.0.0.1", "localhost"), credentials, options)
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        except grpc.RpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def http_status(port: int, context: ssl.SSLContext) -> int:
    opened = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        opened.request("GET", "/v1/models/morph")
        return opened.getresponse().status
    finally:
        opened.close()


def test_only_a_client_with_the_right_certificates_is_answered(served, ours, theirs):
    server, mutual = served
    key, certificate = (text.encode() for text in ours.sign("client").texts)
    stranger = [text.encode() for text in theirs.sign("stranger").texts]
    root = ours.root.read_bytes()

    def credentials(*arguments) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(*arguments)

    assert health(server.address, None) == "UNAVAILABLE"
    assert health(server.address, credentials(theirs.root.read_bytes())) == "UNAVAILABLE"
    assert health(server.address, credentials(root)) == ("UNAVAILABLE" if mutual else "SERVING")
    assert health(server.address, credentials(root, *stranger)) == ("UNAVAILABLE" if mutual else "SERVING")
    assert health(server.address, credentials(root, key, certificate)) == "SERVING"


def test_rest_asks_for_the_same_certificates(served, ours, theirs, tmp_path):
    server, mutual = served
    assert server.rest_address.startswith("https://")
    own = tmp_path / "client.pem"
    own.write_text("".join(ours.sign("client").texts))
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as plain:
        plain.sendall(b"GET /v1/models/morph HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/1.1 2")
    with pytest.raises(ssl.SSLCertVerificationError):
        http_status(server.rest_port, ssl.create_default_context(cafile=theirs.root))
    context = ssl.create_default_context(cafile=ours.root)
    if mutual:
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            http_status(server.rest_port, context)
        context.load_cert_chain(own)
    assert http_status(server.rest_port, context) == 200


def test_the_clients_get_in_with_a_token_and_the_certificates_that_are_asked_for(served, ours, theirs, flux):
    server, mutual = served
    mine, strange = ours.sign("mine"), theirs.sign("strange")
    address = f"localhost:{server.port}"
    allowed = {"tls": ours.root, "token": "open-sesame"}
    if mutual:
        allowed["certificate"] = (mine.certificate, mine.key)

    async def classified():
        async with AsyncMorphClient(address, **allowed) as client:
            return await client.classify(flux)

    with MorphClient(address, **allowed) as client:
        answers = client.classify(flux)
    assert answers["embedding"].shape == (len(flux), 64)
    np.testing.assert_allclose(asyncio.run(classified())["embedding"], answers["embedding"], rtol=1e-4, atol=1e-5)
    refused = [{}, {"tls": theirs.root}]
    if mutual:
        refused += [{"tls": ours.root}, {"tls": ours.root, "certificate": (strange.certificate, strange.key)}]
    for options in refused:
        with MorphClient(address, retries=0, timeout=10, **options) as client:
            with pytest.raises(ServerError, match=f"No server answers at {address}") as caught:
                client.classify(flux)
            assert caught.value.status == "UNAVAILABLE"


def test_the_verb_classifies_over_tls(morph, served, ours, composites, tmp_path):
    from PIL import Image

    server, mutual = served
    mine = ours.sign("verb")
    Image.fromarray(composites[0]).save(tmp_path / "a.png")
    own = ("--certificate", mine.certificate, "--key", mine.key) if mutual else ()
    command = ("classify", tmp_path / "a.png", "--server", f"localhost:{server.port}", "--json", "--token", "sesame")
    status, output, _ = morph(*command, "--ca", ours.root, *own)
    assert (status, len(output.splitlines())) == (0, 1)
    if mutual:
        assert morph(*command, "--ca", ours.root)[0] == 2


def other(text: str) -> str:
    return text.replace("PRIVATE", "PUBLIC")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (lambda ca, key, cert: ("", cert), "has no server_key; put the PEM text itself there"),
        (lambda ca, key, cert: (key, ""), "has no server_cert"),
        (lambda ca, key, cert: (other(key), cert), "The server_key in .* is not a private key in PEM."),
        (lambda ca, key, cert: (key, "server.crt"), "The server_cert in .* is not a certificate in PEM."),
        (
            lambda ca, key, cert: (ca.sign("x").texts[0], cert),
            "and the server_cert do not match; give a pair made together.",
        ),
        (lambda ca, key, cert: ca.sign("old", days=-1).texts, "The server_cert in .* expired on .*; have it renewed."),
        (lambda ca, key, cert: ca.sign("x", passphrase=b"secret").texts, "The server_key in .* has a passphrase"),
        (lambda ca, key, cert: (key, cert, "ca.pem"), "The custom_ca in .* is not a certificate in PEM."),
        (lambda ca, key, cert: (key, cert, "", True), "has client_verify but no custom_ca"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_sentence(ours, pair, tmp_path, fields, sentence):
    with pytest.raises(InputError, match=sentence):
        Tls.read(config(tmp_path, *fields(ours, *pair)))


def test_a_file_that_is_none_is_one_sentence(morph, model_dir, tmp_path):
    status, _, errors = morph("serve", model_dir, "--embedded", "--ssl-config", tmp_path / "none")
    assert status == 2
    assert "cannot be read (No such file or directory); give a SSLConfig in protobuf's text format." in errors
    (tmp_path / "wrong").write_text("server_kee: 1")
    status, _, errors = morph("serve", model_dir, "--embedded", "--ssl-config", tmp_path / "wrong")
    assert status == 2
    assert "is not a SSLConfig" in errors


def test_the_key_is_not_shown(ours, pair, tmp_path):
    assert "PRIVATE" not in repr(Tls.read(config(tmp_path, *pair)))
