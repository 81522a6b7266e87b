"""A part of the model that is fitted to the frozen network after its training."""

from typing import Any

import keras
from keras import ops


class Fitted(keras.layers.Layer):
    """A layer that the training of the network leaves as it is.

    All weights are its own and none a sublayer's, so that it can be left as it is where a file holds none of them.
    """

    def __init__(self, **options):
        super().__init__(**{**options, "trainable": False})
        self.is_fitted = self.fixed("fitted", (), "zeros")

    @property
    def fitted(self) -> bool:
        return bool(ops.convert_to_numpy(self.is_fitted) > 0)

    def fixed(self, name: str, shape: tuple[int, ...], initializer: str):
        """A weight that no gradient changes.

        Parameters
        ----------
        name, shape, initializer : of the weight.
        """
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False, dtype="float32")

    def dense(self, name: str, inputs: int, outputs: int, initializer: str = "glorot_uniform") -> tuple[Any, Any]:
        """The kernel and the bias of a dense layer.

        Parameters
        ----------
        name : of the layer.
        inputs, outputs : numbers of them.
        initializer : of the kernel.
        """
        kernel = self.add_weight(name=f"{name}-kernel", shape=(inputs, outputs), initializer=initializer)
        return kernel, self.add_weight(name=f"{name}-bias", shape=(outputs,), initializer="zeros")

    def load_own_variables(self, store):
        if len(store.keys()):
            super().load_own_variables(store)


def dense(layers: list[tuple[Any, Any]], x, between=ops.gelu, last=None):
    """Dense layers one after another.

    Parameters
    ----------
    layers : kernel and bias of each.
    x : [..., inputs].
    between, last : the activations behind each layer but the last, and behind the last; None for none.
    """
    for number, (kernel, bias) in enumerate(layers):
        x = ops.matmul(x, kernel) + bias
        activation = between if number < len(layers) - 1 else last
        x = x if activation is None else activation(x)
    return x
