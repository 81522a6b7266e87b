"""Every model that a server knows, each with its versions: who answers a request, and how each version fares."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from serving.savedmodel.servable import Servable, Signature, StatusError
from serving.server.batcher import Batcher, DeadlineExceeded, Part, QueueFull

#: What is said of a full queue.
FULL = "The batch scheduling queue to which this task was submitted is full"


@dataclass(frozen=True)
class Spec:
    """Which model a request means: the newest version unless a version or a label says otherwise."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"


@dataclass(frozen=True)
class VersionStatus:
    """How a version fares: `state` is START, LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving names
    them; `status` (OK or gRPC's name of the error) and `sentence` say what went wrong."""

    version: int
    state: str
    status: str = "OK"
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One request, as it went. `status` is gRPC's name (OK, NOT_FOUND, ...); `version` is None where none was
    found; times in seconds: in the queue, in the network, and in all; `entrypoint` is GRPC or REST."""

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
        """One of its signatures, `serving_default` where the name is empty. Refused where there is none."""
        name = name or "serving_default"
        found = self.servable.signatures.get(name) or self.servable.initializations.get(name)
        if found is None:
            raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        return found

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a request is under way, so that the version is not unloaded under it."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if not self.requests:
                self._idle.set()

    async def drained(self) -> None:
        """When no request is under way."""
        while self.requests:
            self._idle.clear()
            await self._idle.wait()


class Models:
    """The models that a server knows.

    Attributes
    ----------
    observers : each is called with every request's `Observation`, in the event loop; it must be quick.
    """

    def __init__(self):
        self.observers: list[Callable[[Observation], None]] = []
        #: How many requests were sent away since the server is stopping; None while it is not.
        self.sent_away: int | None = None
        #: Whether the first versions are still being loaded; then whoever asks for one may ask again.
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
        """How the versions of a model fare, newest first; none where nothing is known of it."""
        states = self._states.get(name, {})
        return [states[number] for number in sorted(states, reverse=True)]

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model, and the version that each stands for."""
        return self._labels.get(name, {})

    def configure(self, labels: Mapping[str, dict[str, int]]) -> None:
        """The models that are to be served, with their labels."""
        self._labels = dict(labels)

    def add(self, version: Version) -> None:
        """A version is loaded and warm: answer with it from now on."""
        versions = self._versions.setdefault(version.name, [])
        versions.append(version)
        versions.sort(key=lambda each: each.number)
        self.tell(version.name, VersionStatus(version.number, "AVAILABLE"))

    def remove(self, version: Version) -> None:
        """Send no more requests to a version."""
        self._versions[version.name].remove(version)
        self.tell(version.name, VersionStatus(version.number, "UNLOADING"))

    def tell(self, name: str, status: VersionStatus) -> None:
        """A version fares differently now."""
        self._states.setdefault(name, {})[status.version] = status

    def find(self, spec: Spec) -> Version:
        """The version that a request means. Refused, as TensorFlow Serving words it, where there is none; and
        where the server is starting or stopping."""
        if self.sent_away is not None:
            self.sent_away += 1
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
        """How the versions of a model fare, newest first; or the one whose number `spec` gives. As in TensorFlow
        Serving a label is not looked at. Refused where there is no such model or version."""
        states = self.states(spec.name)
        if spec.version is not None:
            states = [status for status in states if status.version == spec.version]
            if not states:
                raise StatusError("NOT_FOUND", f"Could not find version {spec.version} of model {spec.name}")
        if not states:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        return states

    @contextmanager
    def under_way(self, spec: Spec, entrypoint: str = "GRPC") -> Iterator["Request"]:
        """A request for the model that `spec` names, from its arrival to its answer. The observers are told at its
        end how it went; whatever goes wrong within comes out as StatusError. `entrypoint` is GRPC or REST."""
        request, status = Request(spec, time.monotonic()), "OK"
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
                seen = request.observation(status, entrypoint)
                for observer in self.observers:
                    observer(seen)

    async def ask(
        self,
        request: "Request",
        read: Callable[[Signature], Mapping[str, np.ndarray]],
        wanted: Sequence[str] = (),
        deadline: float | None = None,
    ) -> tuple[Version, tuple[str, ...], Part]:
        """What the model says to a request that is `under_way`.

        Parameters
        ----------
        read : the inputs, name -> array [n, ...], once the signature that takes them is known.
        wanted : the outputs to send; all if empty.
        deadline : when nobody waits for the answer any more, on `time.monotonic`'s clock.

        Returns
        -------
        The version, the names of the outputs wanted, and the request's part of its pass through the network.

        Raises Refused, QueueFull, TooLate or ValueError where there is no answer.
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
class Request:
    """One request on its way: what is known of it so far; `begun` is on `time.monotonic`'s clock."""

    spec: Spec
    begun: float
    version: Version | None = None
    rows: int = 0
    part: Part | None = None

    def observation(self, status: str, entrypoint: str) -> Observation:
        """How it went, when it is over."""
        total = time.monotonic() - self.begun
        queue, compute = (self.part.queue, self.part.compute) if self.part else (total, 0.0)
        number = self.version.number if self.version else None
        spec = self.spec
        return Observation(spec.name, number, spec.signature, status, self.rows, queue, compute, total, entrypoint)


def _refusal(error: Exception) -> StatusError:
    """What a client is told of what went wrong with its request."""
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
