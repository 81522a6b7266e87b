"""Functions of image tensors, compiled and applied to arrays of any length."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops


def compiled(model: keras.Model, function: Callable) -> Callable[[np.ndarray], dict]:
    """A function of one image tensor, compiled for inference on whichever backend runs.

    Keras compiles `predict` only, so the function goes through a model of its own that shares the weights.

    Parameters
    ----------
    model : whose weights the function uses.
    function : of a float32 tensor [n, size, size, 3]; gives a dict of tensors [n, ...].
    """

    class Inference(keras.Model):
        def __init__(self):
            super().__init__()
            self.model = model

        def build(self, input_shape=None):
            """The shared model is built already."""

        def call(self, image):
            return function(ops.cast(image, "float32"))

    inference = Inference()
    return lambda images: inference.predict_on_batch(images)


def in_batches(function: Callable, images: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Apply a function batch by batch; every batch has one size, so that it is compiled once.

    Parameters
    ----------
    function : of images [batch, ...], to a dict of tensors [batch, ...].
    images : [n, ...].
    batch_size : images in one batch.

    Returns
    -------
    dict of arrays [n, ...].
    """
    parts: list[dict[str, np.ndarray]] = []
    batch_size = min(batch_size, max(1, len(images)))
    for start in range(0, max(len(images), 1), batch_size):
        batch = images[start : start + batch_size]
        short = batch_size - len(batch)
        padded = np.concatenate([batch, np.zeros((short, *images.shape[1:]), images.dtype)]) if short else batch
        answers = function(padded)
        parts.append({name: ops.convert_to_numpy(value)[: len(batch)] for name, value in answers.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
