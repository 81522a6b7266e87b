"""The connection to a server: its address, TLS, certificates and token."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from morph.errors import InputError

#: gRPC's own limit is 4 MiB; a batch of stamps is 6 MiB.
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

_OPTIONS = (
    *CHANNEL_OPTIONS,
    # The machines behind one name are asked in turn.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # After a failure gRPC refuses calls for so long without trying the server; a retry would be in vain.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


@dataclass(frozen=True)
class Connection:
    """How to reach a server.

    Attributes
    ----------
    address : ``host:port``. Several IP addresses, separated by commas, are asked in turn; so are the machines behind
        one name (a headless Service of Kubernetes).
    tls : use TLS. True trusts the root certificates that come with gRPC; a path is a PEM file of root
        certificates to trust instead.
    certificate : PEM files of the client's certificate and its key, for a server that asks for them (mutual TLS).
    token : sent with every request as ``authorization: Bearer TOKEN``.
    token_in_clear : allow a token without TLS, where anyone on the network can read it.

    Raises
    ------
    InputError : when the parts contradict each other.
    """

    address: str
    tls: bool | str | Path = False
    certificate: tuple[str | Path, str | Path] | None = None
    token: str | None = field(default=None, repr=False)
    token_in_clear: bool = False

    def __post_init__(self):
        for each in self.address.split(","):
            host, _, port = each.rpartition(":")
            if not host or not port.isdigit():
                raise InputError(f"'{each}' is not a server's address; write HOST:PORT, for example 127.0.0.1:8500.")
        if self.certificate and not self.tls:
            raise InputError("A client's certificate is used over TLS only; ask for TLS too.")
        if self.token is not None:
            if not self.token or not self.token.isascii() or not self.token.isprintable():
                raise InputError("A token is one line of printable ASCII characters.")
            if not self.tls and not self.token_in_clear:
                raise InputError(
                    "A token without TLS can be read by anyone on the network; ask for TLS, or allow it in clear."
                )

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of every request."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def open(self, grpc_api: Any = grpc) -> Any:
        """A channel of `grpc`, or of `grpc.aio`. InputError when a PEM file cannot be used."""
        target = f"ipv4:{self.address}" if "," in self.address else self.address
        if not self.tls:
            return grpc_api.insecure_channel(target, options=_OPTIONS)
        return grpc_api.secure_channel(target, self._credentials(), options=_OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials:
        roots = None if self.tls is True else _pem(self.tls, "CERTIFICATE")
        if not self.certificate:
            return grpc.ssl_channel_credentials(roots)
        chain, key = self.certificate
        return grpc.ssl_channel_credentials(roots, _pem(key, "PRIVATE KEY"), _pem(chain, "CERTIFICATE"))


def _pem(path: Any, what: str) -> bytes:
    """The content of a PEM file; gRPC would report a wrong one much later, in log lines of its own."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}); give a PEM file.") from None
    if f"{what}-----".encode() not in content:
        raise InputError(f"'{path}' contains no {what.lower()}; give a PEM file that does.")
    return content
