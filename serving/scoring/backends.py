"""Who answers for the galaxies of a tile: a model in this process, or a server.

Each is named by a small object that can be sent to another process, and opened there.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from morph.domain_shift.sample import Sample
from morph.errors import InputError
from serving.protocol import OUTPUTS

#: Galaxies in one batch of Keras. Fewer are filled up with blanks: a batch of another size would be compiled
#: anew, which takes longer than the blanks do.
BATCH_SIZE = 128

Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Backend:
    """Something that answers.

    Attributes
    ----------
    description : the model's own, with ``name``, ``version``, ``size``, ``questions``, ``embedding_size`` and
        ``anomaly_threshold``.
    answer : `OUTPUTS` for flux stamps, float32 [n, size, size, 3] with n >= 1, one row each.
    reference_sample : of the model's training galaxies; None where it has none.
    at_once : how many threads may call `answer` at once, and should.
    """

    description: dict[str, Any]
    answer: Callable[[np.ndarray], Answers]
    reference_sample: Sample | None = None
    at_once: int = 1


class ModelRef(Protocol):
    """The name of an answerer."""

    def open(self) -> AbstractContextManager[Backend]:
        """The answerer, as long as the context lasts. InputError when there is none."""

    def shared(self, folder: Path) -> "ModelRef":
        """The same for other machines, which see no files but those in `folder`: what is needed is put there."""


@dataclass(frozen=True)
class LocalModel:
    """A model by the name that `morph.model.store.load_model` understands.

    Its version is the beginning of its file's SHA-256: the same weights have the same version whatever they are
    called, and a retrained model at the same path has another. `engine` is what computes (`serving.openvino.engine`);
    all give the same answers, within `serving.openvino.conversion.LIMITS`, and the description says which one it was.
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
                # One caller's next galaxies fill the threads that another's last leave idle.
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

    Several addresses, separated by commas, are servers of the same model, between which the load is spread (see
    `serving.scoring.endpoints`).
    """

    address: str
    model: str = "morph"

    @contextmanager
    def open(self) -> Iterator[Backend]:
        """InputError (`ServerError`) when nobody answers there."""
        from serving.scoring.endpoints import Endpoints

        addresses = [address.strip() for address in self.address.split(",") if address.strip()]
        if not addresses:
            raise InputError("--server names no server; give its address as HOST:PORT.")
        with Endpoints.open(addresses, self.model) as servers:

            def answer(stamps: np.ndarray) -> Answers:
                return servers.answer(stamps, OUTPUTS)

            yield Backend(servers.described, answer, servers.reference_sample(), servers.at_once)

    def shared(self, folder: Path) -> "RemoteModel":
        return self
