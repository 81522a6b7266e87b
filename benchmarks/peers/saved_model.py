"""The exported model as the peers call it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

#: The most galaxies in one pass: what morph's own server takes.
MOST = 128

#: Where the environment has this, from so many galaxies on every core takes its share of them in a pass of its own, as
#: in morph's server: quicker than TensorFlow's own way, one pass in which the cores wait for each other.
DIVIDE = "MORPH_PEERS_DIVIDE"
WORTH_DIVIDING = 16


class Network:
    """`serving_default` of the SavedModel in `folder`: galaxies (n, 64, 64, 3) to arrays of n rows by name."""

    def __init__(self, folder: str | Path):
        self._cores = (os.cpu_count() or 1) if os.environ.get(DIVIDE) else 1
        self._threads = ThreadPoolExecutor(self._cores)
        if self._cores > 1:
            tf.config.threading.set_intra_op_parallelism_threads(1)
        # The signature does not keep its model alive.
        self._model = tf.saved_model.load(str(folder))
        self._run = self._model.signatures["serving_default"]
        for size in (2**power for power in range(MOST.bit_length())):
            self(np.zeros((size, 64, 64, 3), "float32"))

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if self._cores == 1 or len(images) < WORTH_DIVIDING:
            return self._pass(images)
        shares = list(self._threads.map(self._pass, np.array_split(images, self._cores)))
        return {name: np.concatenate([share[name] for share in shares]) for name in shares[0]}

    def _pass(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in self._run(image=tf.constant(images)).items()}
