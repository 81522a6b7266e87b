"""The latent prior: a normalising flow p(z | anything known of a galaxy), from which galaxies can be sampled.

The product of experts takes z to be N(0, 1), but the embeddings of galaxies fill a small part of that: draws from
N(0, 1) do not look like galaxies. The flow maps standard normal noise to z and back without loss: affine coupling
layers (Dinh et al. 2017) in front of one affine map that has the mean and the covariance of z. The couplings read the
conditions (`morph.model.conditions`), any of which may be missing.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from morph.model.conditions import FEATURES, MOST_SURVEYS, condition_features
from morph.model.fitted import Fitted, dense

#: Coupling layers, units of their hidden layers, and numbers that sum up the conditions.
COUPLINGS, WIDTH, CONTEXT = 10, 128, 64
#: The largest logarithm of the slope of one coupling layer.
STEEPEST = 2.0


@keras.saving.register_keras_serializable(package="morph")
class Prior(Fitted):
    """The conditional flow between noise N(0, 1) and z; a new layer is the identity.

    It has only stock operations and no random state: `sample` is a function of the noise.

    Parameters
    ----------
    latent : dimensions of z.
    couplings, width : how many coupling layers, and the units of each hidden layer in them.
    """

    def __init__(self, latent: int, couplings: int = COUPLINGS, width: int = WIDTH, **options):
        super().__init__(**options)
        self.latent, self.couplings, self.width = latent, couplings, width
        self.centre = self.fixed("centre", (latent,), "zeros")
        self.scale = self.fixed("scale", (latent, latent), "identity")
        self.inverse = self.fixed("inverse", (latent, latent), "identity")
        self.surveys = self.fixed("surveys", (MOST_SURVEYS,), "zeros")
        self.context = [self.dense("context-0", FEATURES, width), self.dense("context-1", width, CONTEXT)]
        self.parts = [_parts(latent, number) for number in range(couplings)]
        self.networks = [
            [
                self.dense(f"coupling-{number}-0", len(kept) + CONTEXT, width),
                self.dense(f"coupling-{number}-1", width, width),
                # All zero at first: the identity.
                self.dense(f"coupling-{number}-2", width, 2 * len(bent), "zeros"),
            ]
            for number, (kept, bent) in enumerate(self.parts)
        ]
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent": self.latent, "couplings": self.couplings, "width": self.width}

    def whiten(self, mean: np.ndarray, covariance: np.ndarray, surveys: np.ndarray) -> None:
        """Set the affine map.

        Parameters
        ----------
        mean, covariance : of z, [d] and [d, d].
        surveys : 1 for each survey that the flow is fitted on and 0 for the others, [`MOST_SURVEYS`].
        """
        scale = np.linalg.cholesky(covariance)
        self.centre.assign(mean)
        self.scale.assign(scale)
        self.inverse.assign(np.linalg.inv(scale))
        self.surveys.assign(surveys)
        self.is_fitted.assign(1.0)

    def call(self, z, conditions):
        return self.log_prob(z, conditions)

    def log_prob(self, z, conditions):
        """Logarithm of the density of z, [n].

        Parameters
        ----------
        z : float32 [n, d].
        conditions : float32 [n, conditions], NaN where free (`morph.model.conditions.CONDITIONS`).
        """
        noise, log_slope = self.noise(z, conditions)
        return -0.5 * ops.sum(ops.square(noise), axis=-1) - 0.5 * self.latent * float(np.log(2 * np.pi)) + log_slope

    def noise(self, z, conditions):
        """The noise that `sample` maps to z, [n, d], and the logarithm of the slope there, [n]."""
        context = self._context(conditions)
        x = ops.matmul(z - self.centre, ops.transpose(self.inverse))
        log_slope = ops.sum(ops.log(ops.diagonal(self.inverse)))
        for (kept, bent), network in zip(self.parts, self.networks, strict=True):
            still = ops.take(x, kept, axis=1)
            moved, slope = bend(ops.take(x, bent, axis=1), dense(network, ops.concatenate([still, context], axis=1)))
            x = _joined(still, moved, kept, bent)
            log_slope = log_slope + ops.sum(slope, axis=-1)
        return x, log_slope

    def sample(self, noise, conditions):
        """Map noise to z, [n, d]: the inverse of `noise`.

        Parameters
        ----------
        noise : float32 [n, d], standard normal.
        conditions : as for `log_prob`.
        """
        context = self._context(conditions)
        x = noise
        for (kept, bent), network in zip(reversed(self.parts), reversed(self.networks), strict=True):
            still = ops.take(x, kept, axis=1)
            moved, _ = bend(ops.take(x, bent, axis=1), dense(network, ops.concatenate([still, context], axis=1)), True)
            x = _joined(still, moved, kept, bent)
        return ops.matmul(x, ops.transpose(self.scale)) + self.centre

    def _context(self, conditions):
        return dense(self.context, condition_features(conditions, self.surveys), last=ops.gelu)


def bend(x, parameters, inverse: bool = False):
    """The affine map of a coupling layer, element by element.

    Parameters
    ----------
    x : [n, k].
    parameters : [n, 2 k], logarithms of the slopes and shifts; all 0 is the identity.
    inverse : whether to go back.

    Returns
    -------
    The mapped x, and the logarithm of the slope of the map, both [n, k].
    """
    log_slope, shift = ops.split(parameters, 2, axis=1)
    log_slope = STEEPEST * ops.tanh(log_slope / STEEPEST)
    return ((x - shift) * ops.exp(-log_slope), -log_slope) if inverse else (x * ops.exp(log_slope) + shift, log_slope)


def _parts(latent: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The dimensions that a coupling layer keeps, and those that it bends; every second layer swaps them."""
    order = np.random.default_rng(number // 2).permutation(latent)
    halves = np.sort(order[: latent // 2]), np.sort(order[latent // 2 :])
    return halves if number % 2 else halves[::-1]


def _joined(still, moved, kept: np.ndarray, bent: np.ndarray):
    return ops.take(ops.concatenate([still, moved], axis=1), np.argsort(np.concatenate([kept, bent])), axis=1)
