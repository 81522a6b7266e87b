"""Every model that a server knows, each with its versions: who answers a request, and how each version fares."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.batching import Batcher, QueueFull
from serving.servable import Refused, Servable, Signature


@dataclass(frozen=True)
class Spec:
    """Which model a request means: the newest version unless a version or a label says otherwise."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = "serving_default"


@dataclass(frozen=True)
class Answer:
    """What a model says to one request: the version that answered, and one array of n rows per output wanted."""

    version: int
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class VersionStatus:
    """How a version fares: `state` is START, LOADING, AVAILABLE, UNLOADING or END, as TensorFlow Serving names
    them; `status` (OK or gRPC's name of the error) and `sentence` say what went wrong."""

    version: int
    state: str
    status: str = "OK"
    sentence: str = ""


@dataclass(frozen=True)
class Observation:
    """One request, as it went. `status` is gRPC's name (OK, NOT_FOUND, ...); `version` is None and `signature`
    empty where none was found; times in seconds: in the queue, in the network, and in all; `entrypoint` is GRPC or
    REST."""

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
    """A loaded version of a model: `servable` has its signatures (inputs, outputs) and their definitions."""

    name: str
    number: int
    servable: Servable
    batchers: dict[str, Batcher] = field(default_factory=dict)

    def signature(self, name: str) -> Signature:
        """One of its signatures, `serving_default` where the name is empty. Refused where there is none."""
        key = name or "serving_default"
        if key not in self.servable.signatures:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{key}" not found.')
        return self.servable.signatures[key]


class Models:
    """The models that a server knows.

    Attributes
    ----------
    observers : each is called with every request's `Observation`, in the event loop; it must be quick.
    """

    def __init__(self):
        self.observers: list[Callable[[Observation], None]] = []
        self._versions: dict[str, list[Version]] = {}

    @property
    def names(self) -> list[str]:
        """The names of the models, in order."""
        return sorted(self._versions)

    @property
    def ready(self) -> bool:
        """Whether every model has a version that answers."""
        return all(self._versions.values())

    def find(self, spec: Spec) -> Version:
        """The version that a request means. Refused, as TensorFlow Serving words it, where there is none."""
        if spec.label is not None:
            raise Refused("FAILED_PRECONDITION", f"Unrecognized servable version label: {spec.label}")
        for version in reversed(self._versions.get(spec.name, [])):
            if spec.version in (None, version.number):
                return version
        asked = f"Latest({spec.name})" if spec.version is None else f"Specific({spec.name}, {spec.version})"
        raise Refused("NOT_FOUND", f"Servable not found for request: {asked}")

    def status(self, spec: Spec) -> list[VersionStatus]:
        """How the versions of a model fare, newest first; or the one that `spec` names. Refused where there is
        no such model or version."""
        found = [VersionStatus(v.number, "AVAILABLE") for v in reversed(self._versions.get(spec.name, []))]
        if not found:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        if spec.version is not None:
            found = [status for status in found if status.version == spec.version]
            if not found:
                raise Refused("NOT_FOUND", f"Could not find version {spec.version} of model {spec.name}")
        return found

    async def predict(
        self,
        spec: Spec,
        inputs: dict[str, np.ndarray],
        wanted: Sequence[str] = (),
        deadline: float | None = None,
        entrypoint: str = "GRPC",
    ) -> Answer:
        """The answer of the model that `spec` names.

        Parameters
        ----------
        inputs : name -> array [n, ...], as the signature takes them.
        wanted : the outputs to send; all if empty.
        deadline : when nobody waits for the answer any more, on `time.monotonic`'s clock.
        entrypoint : how the request came, GRPC or REST.

        Raises Refused where the request cannot be answered.
        """
        start = time.monotonic()
        version, status, rows = None, "OK", 0
        try:
            version = self.find(spec)
            signature = version.signature(spec.signature)
            names = signature.wanted(wanted)
            rows = signature.check(inputs)
            outputs = await version.batchers[signature.name].submit(inputs)
            return Answer(version.number, {name: outputs[name] for name in names})
        except Refused as refusal:
            status = refusal.status
            raise
        except QueueFull:
            status = "RESOURCE_EXHAUSTED"
            raise Refused(status, "The batch scheduling queue to which this task was submitted is full") from None
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            spent = time.monotonic() - start
            number = version.number if version else None
            seen = Observation(spec.name, number, spec.signature, status, rows, 0.0, spent, spent, entrypoint)
            for observer in self.observers:
                observer(seen)

    def add(self, version: Version) -> None:
        """A version is loaded and warm: answer with it from now on."""
        self._versions.setdefault(version.name, []).append(version)
        self._versions[version.name].sort(key=lambda each: each.number)
