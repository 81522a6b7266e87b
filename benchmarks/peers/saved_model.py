"""The exported model as the peers call it."""

from pathlib import Path

import numpy as np
import tensorflow as tf

#: The most galaxies in one pass: what morph's own server takes.
MOST = 128


class Network:
    """`serving_default` of the SavedModel in `folder`: galaxies (n, 64, 64, 3) to arrays of n rows by name."""

    def __init__(self, folder: str | Path):
        # The signature does not keep its model alive.
        self._model = tf.saved_model.load(str(folder))
        self._run = self._model.signatures["serving_default"]
        for size in (2**power for power in range(MOST.bit_length())):
            self(np.zeros((size, 64, 64, 3), "float32"))

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in self._run(image=tf.constant(images)).items()}
