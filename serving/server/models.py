"""The models of a server with their versions: which one answers a request, and the state of each."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from serving.savedmodel.servable import Servable, Signature, StatusError
from serving.server.batcher import Batcher, DeadlineExceeded, Part, QueueFull

#: TensorFlow Serving's message for a full queue.
FULL = "The batch scheduling queue to which this task was submitted is full"


@dataclass(frozen=True)
class Spec:
    """The model of a request: its newest version, unless `version` or `label` chooses another."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"


@dataclass(frozen=True)
class VersionStatus:
    """The state of a version: START, LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving names them;
    `status` (OK, or gRPC's name of the error) and `sentence` describe its error."""

    version: int
    state: str
    status: str = "OK"
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A finished request. `status` is gRPC's name (OK, NOT_FOUND, ...); `version` is None where none was found;
    times in seconds: in the queue, in the network, in total; `entrypoint` is GRPC or REST."""

    model: str
    version: int | None
    signature: str
    status: str
    rows: int
    queue: float
    compute: float
    total: float
    entrypoint: str = "GRPC"


@dataclass(eq=False)
class Version:
    """A loaded version of a model: `servable` has its signatures, `batchers` the queue of each; `requests` counts
    those under way."""

    name: str
    number: int
    servable: Servable
    batchers: dict[str, Batcher]
    requests: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def signature(self, name: str) -> Signature:
        """One of its signatures, `serving_default` for an empty name. StatusError where there is none."""
        name = name or "serving_default"
        found = self.servable.signatures.get(name) or self.servable.initializations.get(name)
        if found is None:
            raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        return found

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """For the time of a request, so that the version is not unloaded meanwhile."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if not self.requests:
                self._idle.set()

    async def drained(self) -> None:
        """Return when no request is under way."""
        while self.requests:
            self._idle.clear()
            await self._idle.wait()


class Models:
    """The models of a server.

    Attributes
    ----------
    observers : called with every request's `RequestRecord`, in the event loop, so they must be quick.
    """

    def __init__(self):
        self.observers: list[Callable[[RequestRecord], None]] = []
        #: The number of requests refused since the server began to stop; None before.
        self.refused: int | None = None
        #: Whether the first versions are still being loaded; requests may then be repeated later.
        self.starting = False
        self._versions: dict[str, list[Version]] = {}
        self._states: dict[str, dict[int, VersionStatus]] = {}
        self._labels: dict[str, dict[str, int]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the models that are to be served, in order, and of those not yet unloaded."""
        return sorted(self._labels.keys() | {name for name, versions in self._versions.items() if versions})

    @property
    def only(self) -> str:
        """The name of the one model that is to be served; empty where there are several, or none."""
        return next(iter(self._labels)) if len(self._labels) == 1 else ""

    @property
    def ready(self) -> bool:
        """Whether every model that is to be served has a version that answers."""
        return all(self._versions.get(name) for name in self._labels)

    def loaded(self, name: str) -> list[Version]:
        """The versions of a model that answer, oldest first."""
        return list(self._versions.get(name, ()))

    def states(self, name: str) -> list[VersionStatus]:
        """The states of a model's versions, newest first; empty for an unknown model."""
        states = self._states.get(name, {})
        return [states[number] for number in sorted(states, reverse=True)]

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model and their versions."""
        return self._labels.get(name, {})

    def configure(self, labels: Mapping[str, dict[str, int]]) -> None:
        """The models that are to be served, with their labels."""
        self._labels = dict(labels)

    def add(self, version: Version) -> None:
        """Answer requests with a loaded version from now on."""
        versions = self._versions.setdefault(version.name, [])
        versions.append(version)
        versions.sort(key=lambda each: each.number)
        self.set_state(version.name, VersionStatus(version.number, "AVAILABLE"))

    def remove(self, version: Version) -> None:
        """Send no more requests to a version."""
        self._versions[version.name].remove(version)
        self.set_state(version.name, VersionStatus(version.number, "UNLOADING"))

    def set_state(self, name: str, status: VersionStatus) -> None:
        """Set the state of a version."""
        self._states.setdefault(name, {})[status.version] = status

    def find(self, spec: Spec) -> Version:
        """The version that answers a request. StatusError, with TensorFlow Serving's message, where there is none, and
        where the server is starting or stopping."""
        if self.refused is not None:
            self.refused += 1
            raise StatusError("UNAVAILABLE", "The server is stopping.")
        if not spec.name:
            raise StatusError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        number = spec.version
        if spec.label is not None:
            number = self.labels(spec.name).get(spec.label)
            if number is None:
                raise StatusError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.label}")
        for version in reversed(self._versions.get(spec.name, ())):
            if number in (None, version.number):
                return version
        if self.starting:
            raise StatusError("UNAVAILABLE", "The server is still loading its models.")
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        raise StatusError("NOT_FOUND", f"Servable not found for request: {asked}")

    def status(self, spec: Spec) -> list[VersionStatus]:
        """The states of a model's versions, newest first, or that of the version in `spec`. As in TensorFlow Serving a
        label is ignored. StatusError where there is no such model or version."""
        states = self.states(spec.name)
        if spec.version is not None:
            states = [status for status in states if status.version == spec.version]
            if not states:
                raise StatusError("NOT_FOUND", f"Could not find version {spec.version} of model {spec.name}")
        if not states:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        return states

    @contextmanager
    def track(self, spec: Spec, entrypoint: str = "GRPC") -> Iterator["PendingRequest"]:
        """Follow a request for the model of `spec` from its arrival to its answer, and call the observers at its end.
        Any error within becomes a StatusError. `entrypoint` is GRPC or REST."""
        request, status = PendingRequest(spec, time.monotonic()), "OK"
        try:
            yield request
        except Exception as error:
            refusal = _refusal(error)
            status = refusal.status
            if refusal is error:
                raise
            raise refusal from None
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            if self.observers:
                seen = request.record(status, entrypoint)
                for observer in self.observers:
                    observer(seen)

    async def predict(
        self,
        request: "PendingRequest",
        read: Callable[[Signature], Mapping[str, np.ndarray]],
        wanted: Sequence[str] = (),
        deadline: float | None = None,
    ) -> tuple[Version, tuple[str, ...], Part]:
        """The model's answer to a request that `track` follows.

        Parameters
        ----------
        request : what `track` returned; its version and rows are filled in here.
        read : returns the inputs for a signature, name -> array [n, ...].
        wanted : the outputs to send; all if empty.
        deadline : when the client stops waiting, on `time.monotonic`'s clock.

        Returns
        -------
        The version, the names of the outputs wanted, and the request's part of its pass through the network.

        Raises
        ------
        StatusError, QueueFull, DeadlineExceeded, ValueError : where there is no answer.
        """
        version = request.version = self.find(request.spec)
        signature = version.signature(request.spec.signature)
        inputs = read(signature)
        names = signature.wanted(wanted)
        request.rows = signature.check(inputs)
        with version.in_use():
            request.part = await version.batchers[signature.name].submit(inputs, request.rows, deadline)
        return version, names, request.part


@dataclass(eq=False, slots=True)
class PendingRequest:
    """A request under way, with what is known so far; `begun` is on `time.monotonic`'s clock."""

    spec: Spec
    begun: float
    version: Version | None = None
    rows: int = 0
    part: Part | None = None

    def record(self, status: str, entrypoint: str) -> RequestRecord:
        """The record of the request at its end."""
        total = time.monotonic() - self.begun
        queue, compute = (self.part.queue, self.part.compute) if self.part else (total, 0.0)
        number = self.version.number if self.version else None
        spec = self.spec
        return RequestRecord(spec.name, number, spec.signature, status, self.rows, queue, compute, total, entrypoint)


def _refusal(error: Exception) -> StatusError:
    """The error of a request in the form in which a client gets it."""
    match error:
        case StatusError():
            return error
        case QueueFull():
            return StatusError("RESOURCE_EXHAUSTED", FULL)
        case DeadlineExceeded():
            return StatusError("DEADLINE_EXCEEDED", "Deadline Exceeded")
        case ValueError():
            return StatusError("INVALID_ARGUMENT", str(error))
        case _:
            return StatusError("INTERNAL", str(error).strip() or type(error).__name__)
