"""Models of a few weights, exported in a moment, for tests of what a server does with versions."""

from pathlib import Path

import numpy as np


def write_small_model(folder: Path, adds: float = 0.0, outputs: tuple[str, ...] = ("sum",), width: int = 2) -> Path:
    """A SavedModel in `folder` whose `serving_default` takes `x`, float32 [n, width], and answers each of `outputs`
    with the sum of a row plus `adds`, float32 [n]."""
    import tensorflow as tf

    class Small(tf.Module):
        def __init__(self):
            self.adds = tf.Variable(adds)

        @tf.function(input_signature=[tf.TensorSpec((None, width), tf.float32, name="x")])
        def __call__(self, x):
            return {name: tf.reduce_sum(x, axis=1) + self.adds for name in outputs}

    small = Small()
    tf.saved_model.save(small, str(folder), signatures={"serving_default": small.__call__})
    return folder


def small_request(name: str = "small", rows: int = 1, width: int = 2, **spec):
    """A PredictRequest of ones for a small model."""
    from serving.protocol.messages import PredictRequest, to_tensor

    request = PredictRequest()
    request.model_spec.name = name
    for key, value in spec.items():
        if key == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, key, value)
    to_tensor(np.ones((rows, width), "float32"), request.inputs["x"])
    return request
