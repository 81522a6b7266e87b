"""Learning rates that fall from the last layers to the first.

The first layers see edges and blobs, which are the same in every survey; the last ones see what the new labels are
about (Howard & Ruder 2018).
"""

from collections.abc import Sequence

import keras


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW in which each variable learns at its own share of the rate.

    Parameters
    ----------
    shares : one a trainable variable, in the model's order.
    """

    def __init__(self, *arguments, shares: Sequence[float], **options):
        super().__init__(*arguments, **options)
        self.shares = list(shares)

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.shares[self._get_variable_index(variable)])


def falling_shares(model: keras.Model, encoder: keras.Model, decay: float) -> list[float]:
    """Shares of the learning rate for the trainable variables of a model that holds the encoder.

    They fall by `decay` with each layer of the encoder that has weights, from its last to its first; what is not the
    encoder's learns at the full rate.
    """
    layers = [layer for layer in encoder.layers if layer.trainable_weights]
    shares = {
        id(variable): decay ** (len(layers) - 1 - depth)
        for depth, layer in enumerate(layers)
        for variable in layer.trainable_weights
    }
    return [shares.get(id(variable), 1.0) for variable in model.trainable_weights]
