"""ssl.config, the file from which TensorFlow Serving takes its key and certificate."""

from pathlib import Path

from google.protobuf import text_format

from morph.atomic import atomic
from morph.errors import InputError
from serving.protocol.protos import message
from serving.server.tls import Tls


def write_ssl_config(to: Path, certificate: Path, key: Path, clients: Path | None = None) -> None:
    """Write the file `to` from PEM files; only its owner may read it.

    Parameters
    ----------
    certificate, key : the server's, which must belong together.
    clients : the certificate that signs those of the clients; every client must then show one.

    Raises InputError where a file is missing or no PEM, or key and certificate do not belong together.
    """
    tls = Tls(_read(key), _read(certificate), _read(clients) if clients else b"", bool(clients))
    tls.check(to)
    config = message("SSLConfig")
    config.server_key, config.server_cert, config.custom_ca = tls.key, tls.certificate, tls.authority
    config.client_verify = tls.client_verify
    with atomic(to) as building:
        # Made unreadable for others before it holds anything.
        building.touch(0o600, exist_ok=False)
        building.write_text(text_format.MessageToString(config))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(f"'{path}' cannot be read as a PEM file.") from None
