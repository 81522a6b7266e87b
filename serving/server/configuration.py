"""A server's configuration in TensorFlow Serving's formats: its models and their versions, and TLS."""

import datetime
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from morph.errors import InputError, first_line
from serving.protocol.configuration import read_configuration
from serving.savedmodel.servable import Location, StatusError


@dataclass(frozen=True)
class Policy:
    """The versions on disk to serve: the `latest` so many, all (None), or the `specific` ones."""

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def choose(self, versions: Iterable[int]) -> list[int]:
        """The versions to serve, in rising order."""
        found = sorted(versions)
        if self.specific is not None:
            return [version for version in found if version in self.specific]
        return found if self.latest is None else found[-self.latest :]


@dataclass(frozen=True)
class ModelConfig:
    """One model: its name, its folder, the versions to serve, and labels that stand for versions."""

    name: str
    base_path: Path
    policy: Policy = Policy()
    labels: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, location: Location, name: str) -> "ModelConfig":
        """The model of one folder: its newest version, or the one that the user chose."""
        policy = Policy(specific=frozenset({location.version})) if location.pinned else Policy()
        return cls(name, location.base_path, policy)


def read_config(path: str | Path) -> list[ModelConfig]:
    """The models in a file of TensorFlow Serving's format. InputError when it is missing or not in that format."""
    try:
        return models_of(read_message(path))
    except StatusError as refusal:
        raise InputError(f"'{path}': {refusal.sentence.rstrip('.')}.") from None


def read_message(path: str | Path):
    """The ModelServerConfig in a file, unchecked. InputError when there is none."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path = Path(path)
    if not path.is_file():
        raise InputError(f"The file '{path}' does not exist; give a models.config of TensorFlow Serving.")
    try:
        return text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not a models.config of TensorFlow Serving: {first_line(error)}.") from None


def models_of(message) -> list[ModelConfig]:
    """The models in a ModelServerConfig. StatusError, with TensorFlow Serving's message, where it cannot be used."""
    if message.WhichOneof("config") != "model_config_list":
        raise StatusError(
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported",
        )
    models: dict[str, ModelConfig] = {}
    for config in message.model_config_list.config:
        name = config.name
        if name in models:
            raise StatusError("INVALID_ARGUMENT", f"Illegal to list model {name} multiple times in config list")
        if "://" in config.base_path:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Model {name} lies at {config.base_path}, and the embedded server reads local folders only",
            )
        if not config.base_path.startswith("/"):
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Expected model {name} to have an absolute path or URI; got base_path()={config.base_path}",
            )
        if config.model_platform != "tensorflow":
            raise StatusError(
                "INVALID_ARGUMENT", f"Model {name} requests unsupported platform {config.model_platform or 'none'}"
            )
        models[name] = ModelConfig(
            name, Path(config.base_path), _policy(name, config.model_version_policy), dict(config.version_labels)
        )
    return list(models.values())


def _policy(name: str, policy) -> Policy:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy(latest=None)
    if kind == "specific":
        if not policy.specific.versions:
            raise StatusError("INVALID_ARGUMENT", f"No specific versions configured for servable {name}.")
        return Policy(specific=frozenset(policy.specific.versions))
    # Protobuf reads a missing number as zero.
    return Policy(latest=policy.latest.num_versions or 1)


@dataclass(frozen=True)
class Tls:
    """A server's key and certificates, and whether clients need one.

    Attributes
    ----------
    key, certificate : the server's, in PEM; the certificates that sign it may follow.
    authority : in PEM, the certificates that sign those of clients; empty for the system's.
    client_verify : whether a client without a valid certificate is refused (mutual TLS).
    """

    key: bytes = field(repr=False)
    certificate: bytes
    authority: bytes = b""
    client_verify: bool = False

    @classmethod
    def read(cls, file: str | Path) -> "Tls":
        """TLS from a file with TensorFlow Serving's SSLConfig: `server_key`, `server_cert` and `custom_ca` contain the
        PEM texts themselves, and `client_verify` is true or false.

        InputError where something is missing, is not PEM, does not belong together, or has expired.
        """
        config = read_configuration(file, "SSLConfig")
        tls = cls(
            config.server_key.encode(), config.server_cert.encode(), config.custom_ca.encode(), config.client_verify
        )
        tls.check(file)
        return tls

    def for_grpc(self) -> grpc.ServerCredentials:
        """For a gRPC server's port."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority or None, require_client_auth=self.client_verify
        )

    def for_http(self) -> ssl.SSLContext:
        """For an HTTP server's port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The library takes key and certificate from files only; the folder is private, and deleted at once.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.write_bytes(self.key.rstrip() + b"\n" + self.certificate)
            context.load_cert_chain(path)
        if self.authority:
            context.load_verify_locations(cadata=self.authority.decode())
        if self.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def check(self, file: str | Path) -> None:
        """Raise InputError, which names `file`, unless key and certificates are whole, valid, and belong together."""
        for name, text in (("server_key", self.key), ("server_cert", self.certificate)):
            if not text:
                raise InputError(f"'{file}' has no {name}; put the PEM text itself there, with \\n for each new line.")
        if self.client_verify and not self.authority:
            raise InputError(
                f"'{file}' has client_verify but no custom_ca; put the PEM text of the clients' CA there."
            )
        try:
            public = load_pem_private_key(self.key, None).public_key()
        except TypeError:
            raise InputError(f"The server_key in '{file}' has a passphrase; give it without one.") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InputError(f"The server_key in '{file}' is not a private key in PEM.") from None
        own, *_ = _certificates(self.certificate, f"The server_cert in '{file}'")
        if own.public_key() != public:
            raise InputError(
                f"The server_key in '{file}' and the server_cert do not match; give a pair made together."
            )
        if self.authority:
            _certificates(self.authority, f"The custom_ca in '{file}'")


def _certificates(text: bytes, what: str) -> list[x509.Certificate]:
    """The certificates in a PEM text. InputError where there is none, or one is not valid today."""
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError:
        raise InputError(f"{what} is not a certificate in PEM.") from None
    now = datetime.datetime.now(datetime.UTC)
    for certificate in found:
        if certificate.not_valid_after_utc < now:
            raise InputError(f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; have it renewed.")
        if certificate.not_valid_before_utc > now:
            raise InputError(f"{what} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on.")
    return found
