"""Several servers of one model as if they were one: the load is spread, and a server that dies is done without."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from morph.errors import InputError
from serving.client import MorphClient, ServerError
from serving.client.errors import Retries

#: Seconds between attempts when no server answers any more: together enough for one to be started again.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

#: gRPC's names for a server that may be back soon.
GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

#: Seconds for which a server that did not answer is asked after all others; twice as many each time, to a limit.
REST, LONGEST_REST = 5.0, 300.0

#: Requests under way at once at each server: it computes one while the next arrives.
IN_FLIGHT = 2

#: What must agree between the servers' models.
SAME = ("name", "version", "run", "size", "answers")

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Server:
    client: MorphClient
    checked: bool = False
    busy: int = 0
    failures: int = 0
    rests_until: float = 0.0


@dataclass
class Endpoints:
    """The servers at some addresses, all with the model `model`; `described` is what the first to answer says of it.

    `answer` may be called by as many threads as `at_once` says.
    """

    servers: list[_Server]
    described: dict[str, Any]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextmanager
    def open(cls, addresses: Sequence[str], model: str) -> "Iterator[Endpoints]":
        """Connect. ServerError when none of the servers answers, InputError when their models differ; one that does
        not answer yet may do so later."""
        with ExitStack() as stack:
            described: dict[str, Any] = {}
            silent: ServerError | None = None
            for address in addresses:
                with MorphClient(address, model) as client:
                    try:
                        described = client.describe()
                        break
                    except ServerError as error:
                        if error.status not in GONE or address == addresses[-1]:
                            raise
                        silent = error
            version = int(described["version"])
            # Asked for by its version, so that what answers is what is written beside the answers, even when a server
            # loads a newer one meanwhile.
            retries = Retries(absent=1)
            servers = [
                _Server(stack.enter_context(MorphClient(address, model, version, retries=retries)))
                for address in addresses
            ]
            endpoints = cls(servers, described)
            for server in servers:
                try:
                    endpoints._check(server)
                except ServerError as error:
                    if error.status not in GONE:
                        raise
                    silent = error
            if silent is not None:
                logger.warning("%s The other servers do its work.", silent)
            yield endpoints

    @property
    def at_once(self) -> int:
        return IN_FLIGHT * len(self.servers)

    def reference_sample(self):
        """The model's reference sample (`MorphClient.reference_sample`)."""
        return self._ask(lambda client: client.reference_sample())

    def answer(self, stamps: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """`outputs` for flux stamps, by whichever server has least to do.

        A server that does not answer is replaced by the others. When none does, they are waited for as long as
        `PAUSES` says. ServerError when they stay away, or when one refuses the request.
        """
        return self._ask(lambda client: client.classify(stamps, outputs))

    def _ask(self, question: Callable[[MorphClient], Any]) -> Any:
        for pause in (*PAUSES, None):
            tried: list[_Server] = []
            while len(tried) < len(self.servers):
                server = self._take(tried)
                try:
                    self._check(server)
                    found = question(server.client)
                    server.failures = 0
                    return found
                except ServerError as error:
                    if error.status not in GONE:
                        raise
                    self._rest(server)
                    gone = error
                finally:
                    with self._lock:
                        server.busy -= 1
                tried.append(server)
            if pause is None:
                break
            logger.warning("%s Waiting for %g s.", gone, pause)
            time.sleep(pause)
        raise gone

    def _take(self, tried: list[_Server]) -> _Server:
        """The server to ask next: of those that were not tried yet one that does not rest, with the least to do."""
        with self._lock:
            now = time.monotonic()
            left = [server for server in self.servers if server not in tried]
            server = min(left, key=lambda each: (each.rests_until > now, each.busy))
            server.busy += 1
            return server

    def _rest(self, server: _Server) -> None:
        if len(self.servers) > 1 and server.rests_until < time.monotonic():
            logger.warning("The server at %s does not answer; the others do its work.", server.client.address)
        server.rests_until = time.monotonic() + min(REST * 2**server.failures, LONGEST_REST)
        server.failures += 1

    def _check(self, server: _Server) -> None:
        """That a server has the very model that the first one described."""
        if server.checked:
            return
        described = server.client.describe()
        different = [name for name in SAME if described.get(name) != self.described.get(name)]
        if different:
            raise InputError(
                f"The server at {server.client.address} has another model than that at "
                f"{self.servers[0].client.address} (other {', '.join(different)}); let all serve the same."
            )
        server.checked = True
