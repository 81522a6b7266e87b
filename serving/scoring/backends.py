"""Backends: a model in this process, or servers, which answer for the galaxies of a tile.

A small object that can be pickled refers to each, and opens it in whichever process needs it. Several servers of one
model act as one: the load is balanced, and the others take over from a server that dies.
"""

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from morph.domain_shift.sample import Sample
from morph.errors import InputError
from serving.client import MorphClient, ServerError
from serving.client.errors import Retries
from serving.protocol import OUTPUTS
from serving.scores.schema import vector_sizes

logger = logging.getLogger(__name__)

#: Galaxies in one batch of Keras. Fewer are filled up with blanks: a batch of another size would be compiled
#: anew, which takes longer than the blanks do.
BATCH_SIZE = 128

#: Seconds between attempts when no server answers any more: together enough for one to be started again.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

#: gRPC's names for a server that may be back soon.
_UNREACHABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

#: Seconds for which a server that did not answer is asked after all others; twice as many each time, to a limit.
REST, LONGEST_REST = 5.0, 300.0

#: Requests under way at once at each server: it computes one while the next arrives.
IN_FLIGHT = 2

#: What must agree between the servers' models.
_IDENTITY = ("name", "version", "run", "size", "answers")

Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Backend:
    """An open model.

    Attributes
    ----------
    description : the model's own, with ``name``, ``version``, ``size``, ``questions``, ``embedding_size``,
        ``similarity_size`` and ``anomaly_threshold``.
    answer : `OUTPUTS` for flux stamps, float32 [n, size, size, 3] with n >= 1, one row each.
    reference_sample : of the model's training galaxies; None where it has none.
    at_once : how many threads may call `answer` at once, and should.
    """

    description: dict[str, Any]
    answer: Callable[[np.ndarray], Answers]
    reference_sample: Sample | None = None
    at_once: int = 1


class ModelRef(Protocol):
    """A reference to a backend, which can be pickled."""

    def open(self) -> AbstractContextManager[Backend]:
        """The backend, as long as the context lasts. InputError when it cannot be opened."""

    def shared(self, folder: Path) -> "ModelRef":
        """A reference for other machines, which see only the files in `folder`: the model is copied there."""


@dataclass(frozen=True)
class LocalModel:
    """A model by a name that `morph.model.store.load_model` understands.

    Its version is the beginning of its file's SHA-256: the same weights have the same version whatever they are
    called, and a retrained model at the same path has another. `engine` is what computes (`serving.openvino.engine`);
    all give the same answers, within `serving.openvino.conversion.LIMITS`, and the description names it.
    """

    name: str
    engine: str = "auto"

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """InputError when there is no such model, or no such engine."""
        from morph.registry import find_model
        from serving.openvino.engine import opened

        path = find_model(self.name)
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        with opened(path, self.engine) as fast:
            if fast is None:
                backend = _by_keras(path)
            else:
                # One caller's next galaxies keep the threads busy that another's last leave idle.
                at_once = 1 if fast.threads == 1 else 2
                backend = Backend(
                    fast.description, lambda stamps: fast.answer(stamps, OUTPUTS), fast.reference_sample, at_once
                )
            engine = "keras" if fast is None else "openvino"
            yield replace(backend, description={**backend.description, "version": version, "engine": engine})

    def shared(self, folder: Path) -> "LocalModel":
        from morph.registry import find_model

        path = folder / "model.keras"
        shutil.copy(find_model(self.name), path)
        return replace(self, name=str(path))


def _by_keras(path: Path) -> Backend:
    """The model as Keras runs it."""
    from morph.model.store import load_model

    model = load_model(path)

    def answer(stamps: np.ndarray) -> Answers:
        blanks = np.zeros((max(BATCH_SIZE - len(stamps), 0), *stamps.shape[1:]), stamps.dtype)
        outputs = model.answer(np.concatenate([stamps, blanks]), BATCH_SIZE)
        return {name: outputs[name][: len(stamps)] for name in OUTPUTS}

    # Keras ties the containers that a model holds to the model; the description goes to other processes alone.
    return Backend(json.loads(json.dumps(model.describe())), answer, model.reference_sample.sample)


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server, by the server's HOST:PORT and the model's name there.

    Several addresses, separated by commas, are servers of the same model, between which the load is balanced
    (`Endpoints`).
    """

    address: str
    model: str = "morph"

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """InputError (`ServerError`) when no server answers there, or its model lacks an output."""
        addresses = [address.strip() for address in self.address.split(",") if address.strip()]
        if not addresses:
            raise InputError("--server names no server; give its address as HOST:PORT.")
        with Endpoints.open(addresses, self.model) as servers:
            # Every tile would fail for the same reason.
            vector_sizes(servers.described)

            def answer(stamps: np.ndarray) -> Answers:
                return servers.answer(stamps, OUTPUTS)

            yield Backend(servers.described, answer, servers.reference_sample(), servers.at_once)

    def shared(self, folder: Path) -> "RemoteModel":
        return self


@dataclass(eq=False)
class _Server:
    client: MorphClient
    checked: bool = False
    busy: int = 0
    failures: int = 0
    rests_until: float = 0.0


@dataclass
class Endpoints:
    """The servers at some addresses, all with the same model; `described` is its description by the first to answer.

    `answer` may be called by `at_once` threads at a time.
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
                        if error.status not in _UNREACHABLE or address == addresses[-1]:
                            raise
                        silent = error
            version = int(described["version"])
            # By version, so that the version written beside the answers is right even when a server loads a newer one
            # meanwhile.
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
                    if error.status not in _UNREACHABLE:
                        raise
                    silent = error
            if silent is not None:
                logger.warning("%s The other servers take over.", silent)
            yield endpoints

    @property
    def at_once(self) -> int:
        return IN_FLIGHT * len(self.servers)

    def reference_sample(self) -> Sample | None:
        """The model's sample of its training set (`MorphClient.reference_sample`)."""
        return self._ask(lambda client: client.reference_sample())

    def answer(self, stamps: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """`outputs` for flux stamps, by the least busy server.

        The others replace a server that does not answer. When none does, this waits for as long as `PAUSES` says.
        ServerError when they stay unreachable, or when one refuses the request.
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
                    if error.status not in _UNREACHABLE:
                        raise
                    self._rest(server)
                    unreachable = error
                finally:
                    with self._lock:
                        server.busy -= 1
                tried.append(server)
            if pause is None:
                break
            logger.warning("%s Waiting for %g s.", unreachable, pause)
            time.sleep(pause)
        raise unreachable

    def _take(self, tried: list[_Server]) -> _Server:
        """The server to ask next: of those not tried yet, the least busy one that is not resting."""
        with self._lock:
            now = time.monotonic()
            left = [server for server in self.servers if server not in tried]
            server = min(left, key=lambda each: (each.rests_until > now, each.busy))
            server.busy += 1
            return server

    def _rest(self, server: _Server) -> None:
        if len(self.servers) > 1 and server.rests_until < time.monotonic():
            logger.warning("The server at %s does not answer; the others take over.", server.client.address)
        server.rests_until = time.monotonic() + min(REST * 2**server.failures, LONGEST_REST)
        server.failures += 1

    def _check(self, server: _Server) -> None:
        """InputError unless a server has the same model as the first one."""
        if server.checked:
            return
        described = server.client.describe()
        different = [name for name in _IDENTITY if described.get(name) != self.described.get(name)]
        if different:
            raise InputError(
                f"The server at {server.client.address} has another model than that at "
                f"{self.servers[0].client.address} (other {', '.join(different)}); let all serve the same."
            )
        server.checked = True
