"""Who answers for the galaxies of a tile: a model in this process, or a server.

Each is named by a small object that can be sent to another process, and opened there.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from morph.shift.sample import Sample

#: The outputs that a score file keeps.
OUTPUTS = (
    "probabilities",
    "tree_probabilities",
    "concentration",
    "embedding",
    "reconstruction_error",
    "anomaly_score",
    "anomaly",
)

#: Galaxies in one batch of a local model. Fewer are filled up with blanks: a batch of another size would be compiled
#: anew, which takes longer than the blanks do.
BATCH_SIZE = 128

#: Seconds between attempts to reach a server that answered before: together enough for it to be started again.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

#: gRPC's names for a server that may be back soon.
PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED")

Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answerer:
    """Something that answers.

    Attributes
    ----------
    description : the model's own, with ``name``, ``version``, ``size``, ``questions``, ``embedding_size`` and
        ``anomaly_threshold``.
    answer : `OUTPUTS` for flux stamps, float32 [n, size, size, 3] with n >= 1, one row each.
    remembered : the model's sample of the galaxies that taught it; None where it has none.
    """

    description: dict[str, Any]
    answer: Callable[[np.ndarray], Answers]
    remembered: Sample | None = None


class Source(Protocol):
    """The name of an answerer."""

    def open(self) -> AbstractContextManager[Answerer]:
        """The answerer, as long as the context lasts. BadInput when there is none."""


@dataclass(frozen=True)
class LocalModel:
    """A model by the name that `morph.model.store.load_model` understands.

    Its version is the beginning of its file's SHA-256: the same weights have the same version whatever they are
    called, and a retrained model at the same path has another.
    """

    name: str

    @contextmanager
    def open(self) -> Iterator[Answerer]:
        """BadInput when there is no such model."""
        from morph.model.store import find_model, load_model

        path = find_model(self.name)
        model = load_model(path)
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]

        def answer(stamps: np.ndarray) -> Answers:
            blanks = np.zeros((max(BATCH_SIZE - len(stamps), 0), *stamps.shape[1:]), stamps.dtype)
            outputs = model.answer(np.concatenate([stamps, blanks]), BATCH_SIZE)
            return {name: outputs[name][: len(stamps)] for name in OUTPUTS}

        # Keras ties the containers that a model holds to the model; the description goes to other processes alone.
        description = json.loads(json.dumps(model.describe()))
        yield Answerer({**description, "version": version}, answer, model.memory.sample)


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server, by the server's HOST:PORT and the model's name there."""

    address: str
    model: str = "morph"

    @contextmanager
    def open(self) -> Iterator[Answerer]:
        """BadInput (`ServerError`) when nobody answers there."""
        from serving.client import MorphClient, ServerError

        with MorphClient(self.address, self.model) as client:
            description = client.describe()
        # Asked for by its version, so that what answers is what is written beside the answers, even when the
        # server loads a newer one meanwhile.
        with MorphClient(self.address, self.model, version=int(description["version"])) as client:

            def answer(stamps: np.ndarray) -> Answers:
                for pause in PAUSES:
                    try:
                        return client.classify(stamps, OUTPUTS)
                    except ServerError as error:
                        if error.status not in PASSING:
                            raise
                    time.sleep(pause)
                return client.classify(stamps, OUTPUTS)

            yield Answerer(description, answer, client.recall())
