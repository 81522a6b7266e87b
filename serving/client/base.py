"""What the client that waits and the client that awaits have in common."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from morph.errors import InputError
from serving.client.connection import Connection
from serving.client.protocol import BATCH_SIZE, ClientProtocol
from serving.client.retries import Retries

#: Messages on their way at once: the server has the next batch while it computes this one.
IN_FLIGHT = 4


class Client:
    """One server's model.

    Parameters
    ----------
    address : ``host:port``. Several IP addresses, separated by commas, are asked in turn; so are the machines behind
        one name (a headless Service of Kubernetes).
    model : the name that the server gives the model.
    version, label : which version, by its number or by a label such as ``stable``; the server's highest if neither is
        given.
    timeout : seconds that one message may take, its wait in the server's queue and its retries included.
    retries : how often a message is sent again when the server is not there (UNAVAILABLE) or has too much to do
        (RESOURCE_EXHAUSTED); no other error is worth it. 0 never; see `Retries` for more than a number.
    tls : whether to speak TLS. True trusts the certificates that gRPC brings along; a path is a PEM file of root
        certificates to trust instead.
    certificate : PEM files of the client's certificate and its key, for a server that asks for them (mutual TLS).
    token : sent with every request as ``authorization: Bearer TOKEN``; over TLS, unless `token_in_clear` allows it
        to be read by everybody on the way.
    batch_size : the most galaxies in a message. Where the server takes fewer, the client finds out.

    Raises InputError when these do not fit together.
    """

    def __init__(
        self,
        address: str,
        model: str = "morph",
        version: int | None = None,
        timeout: float = 60.0,
        *,
        label: str | None = None,
        retries: int | Retries = Retries(),
        tls: bool | str | Path = False,
        certificate: tuple[str | Path, str | Path] | None = None,
        token: str | None = None,
        token_in_clear: bool = False,
        batch_size: int = BATCH_SIZE,
    ):
        self.address, self.model, self.version, self.label, self.timeout = address, model, version, label, timeout
        self._connection = Connection(address, tls, certificate, token, token_in_clear)
        self._talks = ClientProtocol(self._connection, model, version, label, timeout, Retries.of(retries), batch_size)
        self._closed = False

    def _must_be_open(self) -> None:
        """Raises InputError where the client was closed."""
        if self._closed:
            raise InputError(f"This client of {self.address} is closed; make a new one.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.address}', model='{self.model}')"


def names(outputs: Iterable[str]) -> tuple[str, ...]:
    """The names of outputs, of which a single one may be given as it is."""
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def several(galaxies: Any, in_flight: int) -> Any:
    """`galaxies`, where they are what `stream` takes. InputError where they, or `in_flight`, are not."""
    if isinstance(galaxies, (str, os.PathLike)):
        raise InputError(f"A stream takes several galaxies, one after the other; classify '{galaxies}' instead.")
    if in_flight < 1:
        raise InputError(f"At least 1 message must be under way at once; in_flight is {in_flight}.")
    return galaxies
