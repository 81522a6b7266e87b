"""A product of experts: the posterior of the latent vector z given any modalities, and the modalities given z.

Every modality has an expert, a Gaussian over z whose precision is its information; the prior N(0, 1) is one more.
Their product is again a Gaussian (Wu & Goodman 2018, eq. 5),

    1 / v = 1 + sum_m 1 / v_m,    mu / v = sum_m mu_m / v_m,

so a missing modality is left out of the sums. The image's expert is the encoder; those of the votes, the photometry,
the size and the redshift are here, with the decoders from z to each of them. The image's decoder is in
`morph.model.autoencoder`.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from morph.decision_tree import VOTE_COLUMNS, question_membership
from morph.model.heads import build_heads

#: The modalities beside the image, in the order in which the columns of the measurements stand.
MEASURED = {"photometry": 3, "radius": 1, "redshift": 1}
MODALITIES = ("image", "votes", *MEASURED)
#: Columns of the measurements as they are given: magnitudes in g, r, i, half-light radius in arcsec, redshift.
MEASUREMENTS = ("mag_g", "mag_r", "mag_i", "radius", "redshift")
#: Gaussians in the redshift's mixture.
COMPONENTS = 3
#: Middle and spread of the transformed measurements (see `transform`), of bright galaxies in SDSS and DES alike.
CENTRE = np.array([16.9, 0.7, 0.4, 0.55, -2.3], dtype="float32")
SPREAD = np.array([1.3, 0.25, 0.12, 0.25, 0.6], dtype="float32")
#: Votes of a question beyond this number are not counted.
ENOUGH_VOTES = 40.0


def transform(measurements):
    """Transform measurements for the experts: r, g - r, r - i, log10 of the radius, ln of the redshift, standardised.

    [n, 5] to [n, 5]; NaN stays NaN, and a value without a logarithm becomes NaN.

    >>> transform([[17.6, 16.9, 16.5, 10**0.55, float("nan")]]).round(2) + 0.0
    array([[ 0.,  0.,  0.,  0., nan]], dtype=float32)
    """
    m = np.asarray(measurements, dtype="float32")
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [m[:, 1], m[:, 0] - m[:, 1], m[:, 1] - m[:, 2], np.log10(m[:, 3]), np.log(m[:, 4])]
    values = (np.stack(columns, axis=1) - CENTRE) / SPREAD
    return np.where(np.isfinite(values), values, np.nan).astype("float32")


def restore(values: np.ndarray) -> np.ndarray:
    """The inverse of `transform`: [..., 5] standardised to magnitudes in g, r, i, arcsec and redshift."""
    r, g_r, r_i, radius, redshift = np.moveaxis(np.asarray(values) * SPREAD + CENTRE, -1, 0)
    return np.stack([r + g_r, r, r - r_i, 10.0**radius, np.exp(redshift)], axis=-1)


def columns_of(modality: str) -> slice:
    """The columns of a measured modality among `MEASUREMENTS`.

    >>> columns_of("radius")
    slice(3, 4, None)
    """
    start = 0
    for name, width in MEASURED.items():
        if name == modality:
            return slice(start, start + width)
        start += width
    raise KeyError(modality)


def bounded(log_variance):
    """An expert's log-variance within what float32 can add up."""
    return ops.clip(log_variance, -8.0, 8.0)


def product(means, log_variances, present):
    """The product of experts and the prior.

    Parameters
    ----------
    means, log_variances : lists of [n, d], one entry an expert.
    present : [n, experts] of zeros and ones; an absent expert is left out.

    Returns
    -------
    mean, log_variance : [n, d].
    """
    precision, weighted = 1.0, 0.0
    for k, (mean, log_variance) in enumerate(zip(means, log_variances, strict=True)):
        each = ops.exp(-log_variance) * present[:, k : k + 1]
        precision = precision + each
        weighted = weighted + each * mean
    return weighted / precision, -ops.log(precision)


@keras.saving.register_keras_serializable(package="morph")
class Experts(keras.layers.Layer):
    """The experts of all modalities but the image, and the decoders from z to each of them.

    Parameters
    ----------
    latent : dimensions of z.
    width : of every hidden layer.
    """

    def __init__(self, latent: int, width: int = 128, **options):
        super().__init__(**options)
        self.latent, self.width = latent, width
        questions = question_membership().shape[1]
        sizes = {"votes": len(VOTE_COLUMNS) + questions, **MEASURED}
        self.experts = {name: _expert(name, size, latent, width) for name, size in sizes.items()}
        self.votes_decoder = build_heads((latent,), width, dropout=0.0, name="votes-from-z")
        self.photometry_decoder = _mixture("photometry-from-z", latent, width, 3, 1)
        self.radius_decoder = _mixture("radius-from-z", latent, width, 1, 1)
        self.redshift_decoder = _mixture("redshift-from-z", latent, width, 1, COMPONENTS)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "latent": self.latent, "width": self.width}

    def call(self, votes, measurements):
        """The Gaussians of all experts but the image's.

        Parameters
        ----------
        votes : [n, vote columns], 0 where not asked.
        measurements : [n, 5] as `transform` gives them, NaN where unknown.

        Returns
        -------
        means, log_variances : lists in the order of `MODALITIES` without the image.
        present : [n, 4], 1 where a modality is known.
        """
        known = ops.isfinite(measurements)
        values = ops.where(known, measurements, 0.0)
        gaussians = [self.experts["votes"](_shares(votes))]
        present = [ops.cast(ops.sum(votes, axis=1) > 0, "float32")]
        for name in MEASURED:
            part = columns_of(name)
            gaussians.append(self.experts[name](ops.clip(values[:, part], -6.0, 6.0)))
            present.append(ops.cast(ops.all(known[:, part], axis=1), "float32"))
        means = [each[:, : self.latent] for each in gaussians]
        log_variances = [bounded(each[:, self.latent :]) for each in gaussians]
        return means, log_variances, ops.stack(present, axis=1)

    def votes_from(self, z):
        """Dirichlet concentrations [n, answers] of the votes given z."""
        return self.votes_decoder([z])

    def measurements_from(self, z) -> dict[str, tuple]:
        """For each measured modality a mixture of Gaussians over its standardised values: log-weights [n, k],
        means [n, k, columns] and logarithms of the standard deviations [n, k, columns]."""
        found = {}
        for name, width in MEASURED.items():
            parts = getattr(self, f"{name}_decoder")(z)
            k = parts.shape[-1] // (1 + 2 * width)
            log_weight = ops.log_softmax(parts[:, :k], axis=-1)
            mean = ops.reshape(parts[:, k : k + k * width], (-1, k, width))
            log_sigma = ops.clip(ops.reshape(parts[:, k + k * width :], (-1, k, width)), -4.0, 2.0)
            found[name] = (log_weight, mean, log_sigma)
        return found


def log_density(mixture: tuple, values):
    """Log-probability density of standardised values [n, columns] under a mixture: [n]."""
    log_weight, mean, log_sigma = mixture
    deviation = (values[:, None, :] - mean) / ops.exp(log_sigma)
    each = -0.5 * ops.square(deviation) - log_sigma - 0.5 * float(np.log(2 * np.pi))
    return ops.logsumexp(log_weight + ops.sum(each, axis=-1), axis=-1)


def _shares(votes):
    """Input of the votes' expert: each column's share of its question's votes, and the number of votes."""
    of = question_membership()
    total = ops.matmul(votes, of)
    shares = votes / ops.maximum(ops.matmul(total, of.T), 1.0)
    return ops.concatenate([shares, ops.minimum(total / ENOUGH_VOTES, 1.0)], axis=1)


def _expert(name: str, size: int, latent: int, width: int) -> keras.Model:
    """Measurements [n, size] to the mean and the log-variance of z, [n, 2 latent]."""
    given = keras.Input((size,))
    x = layers.Dense(width, activation="gelu")(given)
    x = layers.Dense(width, activation="gelu")(x)
    # An untrained expert is about as wide as the prior.
    return keras.Model(given, layers.Dense(2 * latent)(x), name=f"{name}-expert")


def _mixture(name: str, latent: int, width: int, columns: int, components: int) -> keras.Model:
    """z [n, latent] to the parameters of a mixture of Gaussians, [n, components (1 + 2 columns)]."""
    z = keras.Input((latent,))
    x = layers.Dense(width, activation="gelu")(z)
    x = layers.Dense(width, activation="gelu")(x)
    return keras.Model(z, layers.Dense(components * (1 + 2 * columns))(x), name=name)
