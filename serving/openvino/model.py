"""A converted model that runs.

The model runs in parts (`serving.openvino.conversion`), each in a precision of its own: the convolutions beyond the
first block and the decoder in bfloat16 where the processor computes in it, all others in float32. A part writes its
output where the next one reads it, and a chunk of galaxies fits into the processor's cache. More chunks run at once
than there are threads, because a thread would be idle between two parts of one chunk.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from morph.domain_shift.sample import Sample
from morph.parallel import threads_allowed
from morph.stamps.signal_to_noise import border
from serving.openvino.conversion import ABOUT, PARTS

#: Galaxies of a chunk.
CHUNK = 32

#: Chunks that run at once for each of several threads.
LANES = 3

#: The parts that are rounded to bfloat16. The first convolutions look for small differences between large values:
#: rounded too, they would move probabilities by up to 0.017.
ROUNDED = ("network", "decoder")


class FastModel:
    """A converted model; safe to call from several threads.

    Parameters
    ----------
    folder : the conversion (`serving.openvino.engine.converted`).
    threads : number of threads; `threads_allowed` if not given.

    Attributes
    ----------
    description : as `Classifier.describe` gives it.
    reference_sample : as `ReferenceSample.sample` gives it.
    """

    def __init__(self, folder: Path, threads: int | None = None):
        about = json.loads((folder / ABOUT).read_text())
        self.description: dict[str, Any] = about["description"]
        self.reference_sample = (
            None if about["reference_sample"] is None else Sample.from_text(about["reference_sample"])
        )
        self.threads = threads or threads_allowed()
        parts = _compile(folder, self.threads)
        # Where there is one thread, another's chunk would only push its own out of the cache.
        lanes = [_Lane(parts) for _ in range(1 if self.threads == 1 else LANES * self.threads)]
        # OpenVINO's Python side prepares itself at its first use; two threads that do so at once would wait for each
        # other for ever, one with Python's lock and one for it.
        lanes[0].run(np.zeros((1, *lanes[0].shape), "float32"), ())
        self._free: SimpleQueue[_Lane] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._pool = ThreadPoolExecutor(len(lanes), "openvino")

    def answer(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """`outputs` (as `Classifier.from_flux` names them) of flux stamps, float32 [n, s, s, 3] with s >= size: one
        row a galaxy. A larger stamp's margin is cut off."""
        margin = (images.shape[1] - self.description["size"]) // 2
        if margin:
            images = images[:, margin:-margin, margin:-margin]
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        answered = list(self._pool.map(lambda chunk: self._one(chunk, outputs), chunks))
        return {name: np.concatenate([each[name] for each in answered]) for name in outputs}

    def _one(self, chunk: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        lane = self._free.get()
        try:
            return lane.run(chunk, outputs)
        finally:
            self._free.put(lane)

    def __enter__(self) -> "FastModel":
        return self

    def __exit__(self, *_) -> None:
        """End its threads."""
        self._pool.shutdown()


class _Lane:
    """The parts for one chunk at a time, with the memory that they need."""

    def __init__(self, parts: Sequence):
        self._requests = [part.create_infer_request() for part in parts]
        self._tensors: dict[str, Any] = {}
        for part, request in zip(parts, self._requests, strict=True):
            for given in part.inputs:
                name = given.get_any_name()
                if name in self._tensors:
                    request.set_tensor(given, self._tensors[name])
                else:
                    self._tensors[name] = request.get_tensor(given)
            self._tensors |= {made.get_any_name(): request.get_tensor(made) for made in part.outputs}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one galaxy's stamp."""
        return tuple(self._tensors["image"].shape[1:])

    def run(self, chunk: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """`outputs` of at most `CHUNK` galaxies."""
        count = len(chunk)
        image = self._tensors["image"].data
        image[:count] = chunk
        image[count:] = 0
        self._tensors["sky"].data[...], self._tensors["noise"].data[...] = border(image)
        for request in self._requests:
            request.infer()
        return {name: self._tensors[name].data[:count].copy() for name in outputs}


def _compile(folder: Path, threads: int) -> list:
    """The parts, ready to run on as many streams of one thread each."""
    import openvino

    core = openvino.Core()
    rounds = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    compiled = []
    for name in PARTS:
        model = core.read_model(folder / f"{name}.xml")
        model.reshape({given: [CHUNK, *given.partial_shape[1:]] for given in model.inputs})
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if rounds and name in ROUNDED else "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned threads of several workers would all sit on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        compiled.append(core.compile_model(model, "CPU", settings))
    return compiled
