"""The similarity vector: what two images of alike galaxies have in common, however each is turned.

The embedding must say how a galaxy is turned, or the decoder could not reconstruct it, so near neighbours in it lie in
the same direction on the sky. A small head on the encoder's features gives a vector for search instead, in which shape
counts and orientation, noise, seeing and neighbours do not (`training.fitting.similarity` fits it).
"""

import itertools

import keras
import numpy as np
from keras import ops

from morph.model.fitted import Fitted, dense

#: Numbers in a similarity vector.
SIMILARITY_SIZE = 50
#: Units of the head's hidden layer.
WIDTH = 256

#: Squared length below which a vector has no direction.
_SHORTEST = 1e-12


@keras.saving.register_keras_serializable(package="morph")
class Similarity(Fitted):
    """The encoder's features [n, f] and the embedding [n, d] to vectors of unit length, float32 [n, 50].

    Two dense layers with a ReLU between them; then the centre of the most common galaxies is subtracted, or they would
    be near everything (a hub: Radovanović et al. 2010). Those of a new layer are random: a projection of the features
    that leaves out nothing.

    Parameters
    ----------
    features, latent : f and d.
    """

    def __init__(self, features: int, latent: int, **options):
        super().__init__(**options)
        self.features, self.latent = features, latent
        self.layers = [self.dense("hidden", features + latent, WIDTH), self.dense("last", WIDTH, SIMILARITY_SIZE)]
        self.centre = self.fixed("centre", (SIMILARITY_SIZE,), "zeros")
        self.built = True

    def get_config(self):
        return {**super().get_config(), "features": self.features, "latent": self.latent}

    def set_layers(self, *weights: np.ndarray) -> None:
        """Replace the weights, in their order: kernel and bias of the hidden layer, those of the last, the centre."""
        for weight, value in zip([*itertools.chain(*self.layers), self.centre], weights, strict=True):
            weight.assign(value)
        self.is_fitted.assign(1.0)

    def call(self, features, embedding):
        vectors = dense(self.layers, ops.concatenate([features, embedding], axis=-1), ops.relu)
        return unit(unit(vectors) - self.centre)


def unit(vectors):
    """Vectors [n, k] divided by their length; all components equal where a vector has none."""
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    scaled = vectors * ops.rsqrt(ops.maximum(squared, _SHORTEST))
    return ops.where(squared > _SHORTEST, scaled, float(vectors.shape[-1] ** -0.5))
