"""TLS for both of the server's ports, from the file that TensorFlow Serving takes with --ssl_config_file."""

import datetime
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from morph.errors import InputError
from serving.protocol import protos


@dataclass(frozen=True)
class Tls:
    """What a server shows its clients, and asks of them.

    Attributes
    ----------
    key, certificate : the server's, in PEM; after the certificate may follow those that vouch for it.
    authority : in PEM, the certificates that vouch for clients; empty for those that the system trusts.
    client_verify : whether a client without a valid certificate is turned away (mutual TLS).
    """

    key: bytes = field(repr=False)
    certificate: bytes
    authority: bytes = b""
    client_verify: bool = False

    @classmethod
    def read(cls, file: str | Path) -> "Tls":
        """What a file with TensorFlow Serving's SSLConfig says: `server_key`, `server_cert`, `custom_ca` hold the
        PEM texts themselves, and `client_verify` is true or false.

        InputError where something is missing, no PEM, does not belong together, or is out of date.
        """
        config = protos.read(file, "SSLConfig")
        tls = cls(
            config.server_key.encode(), config.server_cert.encode(), config.custom_ca.encode(), config.client_verify
        )
        tls.check(file)
        return tls

    def for_grpc(self) -> grpc.ServerCredentials:
        """The same for a gRPC server's port."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority or None, require_client_auth=self.client_verify
        )

    def for_http(self) -> ssl.SSLContext:
        """The same for an HTTP server's port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The library takes key and certificate from files only; the folder is nobody else's, and gone at once.
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
            raise InputError(f"The server_key in '{file}' is no private key in PEM.") from None
        own, *_ = _certificates(self.certificate, f"The server_cert in '{file}'")
        if own.public_key() != public:
            raise InputError(f"The server_key in '{file}' does not fit the server_cert; give a pair made together.")
        if self.authority:
            _certificates(self.authority, f"The custom_ca in '{file}'")


def _certificates(text: bytes, what: str) -> list[x509.Certificate]:
    """The certificates in a PEM text. InputError where there is none, or one that is not valid today."""
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError:
        raise InputError(f"{what} is no certificate in PEM.") from None
    now = datetime.datetime.now(datetime.UTC)
    for certificate in found:
        if certificate.not_valid_after_utc < now:
            raise InputError(f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; have it renewed.")
        if certificate.not_valid_before_utc > now:
            raise InputError(f"{what} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on.")
    return found
