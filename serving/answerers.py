"""Who answers for the galaxies of a tile: a model in this process, or a server.

Each is named by a small object that can be sent to another process, and opened there.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

#: The outputs that a score file keeps.
OUTPUTS = ("probabilities", "embedding", "reconstruction_error", "anomaly_score", "anomaly")


class Answerer(Protocol):
    """Something that answers.

    `description` is the model's own, with ``name``, ``version``, ``size``, ``questions``, ``embedding_size`` and
    ``anomaly_threshold``.
    """

    description: dict[str, Any]

    def answer(self, stamps: np.ndarray) -> dict[str, np.ndarray]:
        """`OUTPUTS` for flux stamps, float32 [n, size, size, 3], one row each."""


class Source(Protocol):
    """The name of an answerer."""

    def open(self) -> Any:
        """A context manager that gives the `Answerer`."""


@dataclass(frozen=True)
class LocalModel:
    """A model by the name that `morph.model.store.load_model` understands.

    Its version is the beginning of its file's SHA-256: the same weights have the same version whatever they are
    called, and a retrained model at the same path has another.
    """

    name: str

    @contextmanager
    def open(self) -> Iterator["Answerer"]:
        """BadInput when there is no such model."""
        from morph.model.store import find_model, load_model

        path = find_model(self.name)
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        model = load_model(path)
        yield _Opened({**model.describe(), "version": version}, model.answer)


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server, by the server's HOST:PORT."""

    address: str
    model: str = "morph"

    @contextmanager
    def open(self) -> Iterator["Answerer"]:
        """BadInput (`ServerError`) when nobody answers there."""
        from serving.client import MorphClient

        with MorphClient(self.address, self.model) as client:
            description = client.describe()
        # Asked for by its version, so that what answers is what is written beside the answers, even when the
        # server loads a newer one meanwhile.
        with MorphClient(self.address, self.model, version=int(description["version"])) as client:
            yield _Opened(description, lambda stamps: client.classify(stamps, OUTPUTS))


class _Opened:
    def __init__(self, description: dict[str, Any], answer):
        self.description, self.answer = description, answer
