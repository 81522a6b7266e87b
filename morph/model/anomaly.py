"""Is this galaxy unlike anything the model knows?

Reconstruction error alone ranks galaxies by brightness and noise as much as by strangeness. The score joins two
questions, how badly the decoder redraws the galaxy and how far its embedding lies from those of normal galaxies
(Mahalanobis distance), by Fisher's method, and turns the result into a p-value on held-out normal galaxies of
the same survey (conformal: Vovk et al. 2005). A flag at 1 % then flags 1 % of normal galaxies.
"""

import keras
import numpy as np
from keras import ops

#: How many quantiles of the normal galaxies' statistics are kept.
QUANTILES = 1024


@keras.saving.register_keras_serializable(package="morph")
class Anomaly(keras.layers.Layer):
    """Embedding [n, d] and reconstruction error [n] to the p-value [n].

    Fresh from the constructor it knows no normal galaxies and answers 1 for every galaxy; `fit` teaches it.
    """

    def __init__(self, latent: int, **options):
        super().__init__(trainable=False, **options)
        self.latent = latent
        self.centre = self.add_weight(shape=(latent,), initializer="zeros", trainable=False, name="centre")
        self.whitening = self.add_weight(
            shape=(latent, latent), initializer="zeros", trainable=False, name="whitening"
        )
        references = {"shape": (QUANTILES,), "initializer": _infinite, "trainable": False}
        self.errors = self.add_weight(name="errors", **references)
        self.distances = self.add_weight(name="distances", **references)
        self.joint = self.add_weight(name="joint", **references)
        self.built = True

    def get_config(self):
        return {**super().get_config(), "latent": self.latent}

    def call(self, embedding, error):
        return self._exceeded(self.joint, self._statistic(embedding, error))

    def fit(self, embedding: np.ndarray, error: np.ndarray) -> None:
        """Learn what is normal from held-out galaxies.

        The first half gives the embeddings' mean and covariance and the two statistics' distributions, the
        second half the joint p-value: what is normal for it was settled without it, which makes the p-value exact.

        Parameters
        ----------
        embedding : [n, d]; error : [n]; both of galaxies that the network was not trained on. n >= 40. The smallest
            p-value is one in n / 2 + 1, so fewer than 200 can flag nothing at 1 %.
        """
        if len(error) < 40:
            raise ValueError(f"{len(error)} galaxies are too few to say what is normal; 40 is the least.")
        half = len(error) // 2
        mean = embedding[:half].mean(axis=0)
        covariance = np.cov(embedding[:half].T)
        # Shrinking towards the diagonal keeps the inverse stable when galaxies are few (Ledoit & Wolf 2004).
        shrinkage = min(0.9, self.latent / half)
        covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        covariance += 1e-6 * np.trace(covariance) / self.latent * np.eye(self.latent)
        self.centre.assign(mean)
        self.whitening.assign(np.linalg.inv(np.linalg.cholesky(covariance)).T)
        grid = (np.arange(QUANTILES) + 0.5) / QUANTILES
        distance = ops.convert_to_numpy(self._distance(ops.convert_to_tensor(embedding, "float32")))
        self.distances.assign(np.quantile(distance[:half], grid))
        self.errors.assign(np.quantile(error[:half], grid))
        joint = ops.convert_to_numpy(
            self._statistic(ops.convert_to_tensor(embedding, "float32"), ops.convert_to_tensor(error, "float32"))
        )
        self.joint.assign(_steps(joint[half:]))

    def _distance(self, embedding):
        return ops.sum(ops.square(ops.matmul(embedding - self.centre, self.whitening)), axis=-1)

    def _statistic(self, embedding, error):
        """Fisher's combination; beyond the reference's range it goes on growing, so that the strangest
        galaxies keep their order."""
        distance = self._distance(embedding)
        return (
            -ops.log(self._exceeded(self.errors, error))
            - ops.log(self._exceeded(self.distances, distance))
            + ops.log1p(ops.maximum(error / ops.maximum(self.errors[-1], 1e-6) - 1.0, 0.0))
            + ops.log1p(ops.maximum(distance / ops.maximum(self.distances[-1], 1e-6) - 1.0, 0.0))
        )

    @staticmethod
    def _exceeded(reference, value):
        """Share of the reference at or above each value, never 0: (1 + how many) / (1 + all)."""
        below = ops.cast(ops.searchsorted(reference, value, side="left"), "float32")
        return (1.0 + QUANTILES - below) / (1.0 + QUANTILES)


def _steps(reference: np.ndarray) -> np.ndarray:
    """The reference spread over `QUANTILES` places so that counting places gives (1 + how many) / (1 + all): each
    value stands in its share of them, and the last share, which nothing exceeds, is infinite."""
    ordered = np.append(np.sort(reference), 3e38)
    places = np.arange(QUANTILES) * len(ordered) // (QUANTILES + 1)
    return ordered[places].astype("float32")


def _infinite(shape, dtype=None):
    return ops.full(shape, 3e38, dtype=dtype)
