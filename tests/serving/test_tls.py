"""TLS and mutual TLS on both ports, and what is told of a configuration that cannot work."""

import datetime
import http.client
import socket
import ssl
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from morph.errors import BadInput
from serving.embedded.tls import Tls


class Authority:
    """A throwaway CA that makes pairs of key and certificate, in PEM."""

    def __init__(self, name: str):
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), name
        self.pem = self._certificate(self._key, name, 1, authority=True)

    def pair(self, name: str, days: int = 1, passphrase: bytes | None = None) -> tuple[str, str]:
        """A key and its certificate, which is valid until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        kept = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept)
        return pem.decode(), self._certificate(key, name, days)

    def _certificate(self, key, name: str, days: int, authority: bool = False) -> str:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * day)
            .not_valid_after(now + days * day)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def ours() -> Authority:
    return Authority("ours")


@pytest.fixture(scope="module")
def pair(ours) -> tuple[str, str]:
    return ours.pair("server")


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
    from serving.server import Server

    tls = Tls.read(config(tmp_path_factory.mktemp("tls"), *pair, ours.pem, request.param))
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


def test_only_a_client_with_the_right_certificates_is_answered(served, ours):
    server, mutual = served
    key, certificate = (text.encode() for text in ours.pair("client"))
    strangers = Authority("theirs")
    stranger = [text.encode() for text in strangers.pair("stranger")]
    root = ours.pem.encode()

    def credentials(*arguments) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(*arguments)

    assert health(server.address, None) == "UNAVAILABLE"
    assert health(server.address, credentials(strangers.pem.encode())) == "UNAVAILABLE"
    assert health(server.address, credentials(root)) == ("UNAVAILABLE" if mutual else "SERVING")
    assert health(server.address, credentials(root, *stranger)) == ("UNAVAILABLE" if mutual else "SERVING")
    assert health(server.address, credentials(root, key, certificate)) == "SERVING"


def test_rest_asks_for_the_same_certificates(served, ours, tmp_path):
    server, mutual = served
    assert server.rest_address.startswith("https://")
    own = tmp_path / "client.pem"
    own.write_text("".join(ours.pair("client")))
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as plain:
        plain.sendall(b"GET /v1/models/morph HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/1.1 2")
    with pytest.raises(ssl.SSLCertVerificationError):
        http_status(server.rest_port, ssl.create_default_context(cadata=Authority("theirs").pem))
    context = ssl.create_default_context(cadata=ours.pem)
    if mutual:
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            http_status(server.rest_port, context)
        context.load_cert_chain(own)
    assert http_status(server.rest_port, context) == 200


def other(text: str) -> str:
    return text.replace("PRIVATE", "PUBLIC")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (lambda ca, key, cert: ("", cert), "has no server_key; put the PEM text itself there"),
        (lambda ca, key, cert: (key, ""), "has no server_cert"),
        (lambda ca, key, cert: (other(key), cert), "The server_key in .* is no private key in PEM."),
        (lambda ca, key, cert: (key, "server.crt"), "The server_cert in .* is no certificate in PEM."),
        (lambda ca, key, cert: (ca.pair("x")[0], cert), "does not fit the server_cert; give a pair made together."),
        (lambda ca, key, cert: ca.pair("old", days=-1), "The server_cert in .* expired on .*; have it renewed."),
        (lambda ca, key, cert: ca.pair("x", passphrase=b"secret"), "The server_key in .* has a passphrase"),
        (lambda ca, key, cert: (key, cert, "ca.pem"), "The custom_ca in .* is no certificate in PEM."),
        (lambda ca, key, cert: (key, cert, "", True), "has client_verify but no custom_ca"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_sentence(ours, pair, tmp_path, fields, sentence):
    with pytest.raises(BadInput, match=sentence):
        Tls.read(config(tmp_path, *fields(ours, *pair)))


def test_a_file_that_is_none_is_one_sentence(morph, model_dir, tmp_path):
    status, _, errors = morph("serve", model_dir, "--embedded", "--ssl-config", tmp_path / "none")
    assert status == 2
    assert "cannot be read (No such file or directory); give a SSLConfig in protobuf's text format." in errors
    (tmp_path / "wrong").write_text("server_kee: 1")
    status, _, errors = morph("serve", model_dir, "--embedded", "--ssl-config", tmp_path / "wrong")
    assert status == 2
    assert "is no SSLConfig" in errors


def test_the_key_is_not_shown(ours, pair, tmp_path):
    assert "PRIVATE" not in repr(Tls.read(config(tmp_path, *pair)))
