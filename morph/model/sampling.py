"""Sampling galaxies: noise to z by the latent prior, z to a picture by a decoder, and the other properties from z.

Size, brightness and noise are no part of z: the network sees galaxies without them. They follow from what is drawn
beside the picture, when it is rendered.
"""

from functools import cache
from typing import Any

import numpy as np
from keras import ops

from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS, SURVEY
from morph.model.detail import noise_size
from morph.model.experts import CENTRE, MEASURED, MEASUREMENTS, SPREAD, columns_of, restore, transform
from morph.sizes import FIELD, NETWORK_SIZE
from morph.surveys import NANOMAGGY_ZERO_POINT, SURVEYS

#: The columns of the measurements among the conditions.
MEASURED_COLUMNS = [CONDITIONS.index(name) for name in MEASUREMENTS]
#: The decoders that draw samples, as requests and datasets name them: the likelihood decoder, and that decoder with
#: the detail decoder after it.
PLAIN, DETAIL = "plain", "detail"
DECODERS = (PLAIN, DETAIL)
#: Pictures that are drawn with detail at once.
TOGETHER = 128
#: Standardised measurements are drawn no farther from the middle than this.
FARTHEST = 4.5
#: Magnitudes in g, r, i from r, g - r and r - i.
_MAGNITUDES = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, -1.0]])


def choose_decoder(classifier: Classifier, wanted: str | None = None) -> str:
    """The decoder that draws samples: by default that with detail, where the model has learned it.

    Parameters
    ----------
    classifier : the model.
    wanted : one of `DECODERS`.

    Raises
    ------
    InputError : detail is wanted, and the model has not learned it.
    """
    if wanted == DETAIL and not classifier.detail.fitted:
        raise InputError("This model has learned no detail decoder; draw with the decoder 'plain'.")
    return wanted or (DETAIL if classifier.detail.fitted else PLAIN)


def decode(classifier: Classifier, z, noise=None):
    """The stretched pictures of z: float32 [n, size, size, 3], without noise.

    This is the one place that decides which decoder draws samples. The likelihood decoder gives the mean of all
    pictures that z allows, so its samples are smooth: they hold no detail that z does not. The detail decoder adds
    detail of its own invention (`morph.model.detail`).

    Parameters
    ----------
    classifier : the model.
    z : float32 [n, d].
    noise : of the detail, float32 [n, `morph.model.detail.noise_size()`], standard normal; NaN in the rows to which
        none is added. None for all of them.
    """
    picture = classifier.decoder(z, training=False)
    if noise is None:
        return picture
    return ops.where(ops.isnan(noise[:, :1, None, None]), picture, classifier.detail(z, picture, noise))


def pictures(classifier: Classifier, z, noise=None):
    """The pictures of z in linear brightness, relative to each galaxy's own: float32 [n, size, size, 3].

    Parameters
    ----------
    classifier, z, noise : as for `decode`.
    """
    return classifier.preprocessing.restore(decode(classifier, z, noise), 0.0, 1.0)


def draw_pictures(
    classifier: Classifier, z: np.ndarray, decoder: str = PLAIN, random: np.random.Generator | None = None
) -> np.ndarray:
    """The `pictures` of z as an array.

    Parameters
    ----------
    classifier, z : as for `decode`.
    decoder : one of `DECODERS`.
    random : random numbers for the detail; a galaxy's do not depend on the number of those after it.
    """
    if decoder == PLAIN:
        return ops.convert_to_numpy(pictures(classifier, z))
    random = random or np.random.default_rng()
    noise = random.standard_normal((len(z), noise_size()), dtype="float32")
    parts = [slice(start, start + TOGETHER) for start in range(0, len(z), TOGETHER)]
    return np.concatenate([ops.convert_to_numpy(pictures(classifier, z[part], noise[part])) for part in parts])


def sample(classifier: Classifier, noise, conditions) -> dict:
    """The signature ``sample``: galaxies without noise, in nanomaggies per pixel.

    A galaxy has the magnitudes that are given. One that is free is the most likely one: the magnitude in r given z and
    what else is known, and in g and i the picture's own colour. The stamp is `morph.sizes.FIELD` half-light radii
    across `NETWORK_SIZE` pixels, so a pixel is FIELD / NETWORK_SIZE radii.

    Parameters
    ----------
    classifier : the model.
    noise : float32 [n, d], standard normal; for samples with detail, `morph.model.detail.noise_size()` more numbers
        a galaxy follow, as `decode` takes them.
    conditions : float32 [n, conditions] (`morph.model.conditions.CONDITIONS`), NaN where free.

    Returns
    -------
    dict : ``image``, float32 [n, size, size, 3].
    """
    size = classifier.latent
    z = classifier.prior.sample(noise[:, :size], conditions)
    picture = pictures(classifier, z, noise[:, size:] if noise.shape[1] > size else None)
    relative = total_fluxes(picture)
    given = ops.take(conditions, MEASURED_COLUMNS, axis=1)
    magnitudes = given[:, :3]
    middle = ops.where(ops.isnan(magnitudes[:, 1]), _expected_magnitude(classifier, z, given, conditions), given[:, 1])
    own = middle[:, None] - 2.5 / float(np.log(10)) * ops.log(relative / relative[:, 1:2])
    wanted = ops.where(ops.isnan(magnitudes), own, magnitudes)
    flux = ops.exp(float(0.4 * np.log(10)) * (NANOMAGGY_ZERO_POINT - wanted))
    return {"image": picture * (flux / relative)[:, None, None, :]}


def total_fluxes(picture):
    """The flux of each galaxy in each band: twice that within the half-light radius for which stamps are cut.

    Parameters
    ----------
    picture : float32 [n, size, size, 3], sky at 0.

    Returns
    -------
    float32 [n, 3], above 0.
    """
    return 2.0 * ops.maximum(ops.sum(picture * _aperture(picture.shape[1]), axis=(1, 2)), 1e-9)


@cache
def _aperture(size: int) -> np.ndarray:
    """How much of each pixel lies within the half-light radius: float32 [size, size, 1]."""
    fine = (np.arange(8 * size) + 0.5) / 8 - size / 2
    inside = np.hypot(fine[:, None], fine) < NETWORK_SIZE / FIELD
    return inside.reshape(size, 8, size, 8).mean(axis=(1, 3), dtype="float32")[..., None]


def _expected_magnitude(classifier: Classifier, z, given, conditions):
    """The mean of the magnitude in r given z, the radius, the redshift and the survey, [n]."""
    free = given[:, :3] * float("nan")
    radius = (ops.log(ops.maximum(given[:, 3:4], 1e-6)) / float(np.log(10)) - float(CENTRE[3])) / float(SPREAD[3])
    redshift = (ops.log(ops.maximum(given[:, 4:5], 1e-6)) - float(CENTRE[4])) / float(SPREAD[4])
    known = ops.concatenate([free, radius, redshift], axis=1)
    means = [
        ops.sum(ops.exp(log_weight) * mean[:, :, 0], axis=1)
        for log_weight, mean, _ in (
            classifier.measurements(z, known, conditions[:, SURVEY])["photometry"],
            classifier.experts.measurements_from(z)["photometry"],
        )
    ]
    # Whether the decoders of measurements are fitted is a weight, which an exported graph reads as it runs.
    mean = ops.where(classifier.measurements.is_fitted > 0, *means)
    return mean * float(SPREAD[0]) + float(CENTRE[0])


def mixtures(classifier: Classifier, z, measurements, survey) -> dict[str, tuple]:
    """The distribution of each measured modality given z, and given the rest where the model reads it.

    Parameters
    ----------
    classifier : the model.
    z : float32 [n, d].
    measurements : float32 [n, 5], standardised, NaN where unknown.
    survey : float32 [n], places of surveys.
    """
    if classifier.measurements.fitted:
        return classifier.measurements(z, measurements, survey)
    return classifier.experts.measurements_from(z)


def trained_surveys(classifier: Classifier) -> dict[str, int]:
    """The surveys whose galaxies the prior draws, with their places among the conditions; empty without a prior."""
    if not classifier.prior.fitted:
        return {}
    fitted = ops.convert_to_numpy(classifier.prior.surveys)
    return {name: place for place, name in enumerate(SURVEYS) if fitted[place]}


def sample_noise_size(classifier: Classifier) -> int:
    """How many numbers of noise the signature ``sample`` takes for a galaxy."""
    return classifier.latent + (noise_size() if classifier.detail.fitted else 0)


def describe_sampling(classifier: Classifier) -> dict[str, Any] | None:
    """What a client needs to know for the signature ``sample``: the names of the conditions in their order, the places
    of the surveys, the decoder that draws unless another is asked for, and how many numbers of noise its detail takes.
    None for a model without a latent prior."""
    surveys = trained_surveys(classifier)
    if not surveys:
        return None
    more = sample_noise_size(classifier) - classifier.latent
    decoder = choose_decoder(classifier)
    return {"conditions": list(CONDITIONS), "surveys": surveys, "decoder": decoder, "detail_noise": more}


def check_survey(classifier: Classifier, name: str) -> None:
    """InputError where the model has no latent prior, or one that has not been fitted on a survey."""
    surveys = trained_surveys(classifier)
    if not surveys:
        raise InputError("This model has no latent prior; train it again with `morph pretrain`, which fits one.")
    if name not in surveys:
        raise InputError(
            f"The model's latent prior has not been fitted on '{name}', whose seeing its samples would lack; use "
            f"{' or '.join(surveys)}."
        )


def draw_z(classifier: Classifier, conditions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One z for each row of conditions, from the latent prior: float32 [n, d].

    Parameters
    ----------
    classifier : with a fitted prior.
    conditions : float32 [n, conditions], NaN where free.
    random : random numbers.
    """
    noise = random.standard_normal((len(conditions), classifier.latent), dtype="float32")
    return ops.convert_to_numpy(classifier.prior.sample(noise, conditions))


def draw_measurements(
    classifier: Classifier, z: np.ndarray, conditions: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Magnitudes, radius and redshift of galaxies: the known ones, and the others drawn given z and the known ones.

    The photometry comes first, then the radius given the photometry, then the redshift given both.

    Parameters
    ----------
    classifier : the model.
    z : float32 [n, d].
    conditions : float32 [n, conditions], NaN where free.
    random : random numbers.

    Returns
    -------
    float32 [n, 5], as `morph.model.experts.MEASUREMENTS`.
    """
    found = conditions[:, MEASURED_COLUMNS].copy()
    for name in MEASURED:
        part = columns_of(name)
        missing = np.isnan(found[:, part]).any(axis=1)
        if not missing.any():
            continue
        mixture = mixtures(classifier, z[missing], transform(found[missing]), conditions[missing, SURVEY])[name]
        log_weight, mean, log_sigma = (ops.convert_to_numpy(each).astype(float) for each in mixture)
        if name == "photometry":
            found[missing, part] = _magnitudes(log_weight, mean, log_sigma, found[missing, part], random)
        else:
            which = _choose(log_weight, random)
            rows = np.arange(len(which))
            drawn = np.zeros((len(which), len(MEASUREMENTS)))
            values = random.normal(mean[rows, which], np.exp(log_sigma[rows, which]))
            drawn[:, part] = np.clip(values, -FARTHEST, FARTHEST)
            found[missing, part] = restore(drawn)[:, part]
    return found


def _magnitudes(log_weight, mean, log_sigma, known: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Magnitudes in g, r, i [n, 3] from mixtures of r, g - r and r - i (standardised), given those that are known.

    A magnitude is linear in the three, so a Gaussian given some magnitudes is a Gaussian.
    """
    found = known.astype(float)
    mean, variance = mean * SPREAD[:3] + CENTRE[:3], np.square(np.exp(log_sigma) * SPREAD[:3])
    patterns = np.isfinite(known)
    for pattern in np.unique(patterns, axis=0):
        rows = np.flatnonzero((patterns == pattern).all(axis=1))
        seen, hidden = _MAGNITUDES[pattern], _MAGNITUDES[~pattern]
        centre = mean[rows]  # [m, k, 3]
        covariance = variance[rows][..., None] * np.eye(3)
        weight = log_weight[rows]
        if pattern.any():
            # A narrow floor keeps the inverse finite.
            inner = seen @ covariance @ seen.T + 1e-8 * np.eye(len(seen))
            off = found[rows][:, pattern][:, None] - centre @ seen.T
            solved = np.linalg.solve(inner, off[..., None])[..., 0]
            weight = weight - 0.5 * (off * solved).sum(axis=-1) - 0.5 * np.linalg.slogdet(inner)[1]
            gain = covariance @ seen.T @ np.linalg.inv(inner)
            centre = centre + (gain @ off[..., None])[..., 0]
            covariance = covariance - gain @ seen @ covariance
        which = _choose(weight, random)
        each = np.arange(len(rows))
        spread = hidden @ covariance[each, which] @ hidden.T + 1e-8 * np.eye(len(hidden))
        noise = random.standard_normal((len(rows), len(hidden), 1))
        drawn = centre[each, which] @ hidden.T + (np.linalg.cholesky(spread) @ noise)[..., 0]
        found[np.ix_(rows, ~pattern)] = drawn
    return found


def _choose(log_weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A component of each mixture by its weight, int [n]."""
    gumbel = random.gumbel(size=log_weight.shape)
    return (log_weight + gumbel).argmax(axis=1)


def draw_shares(
    classifier: Classifier, z: np.ndarray, conditions: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The share of each question's votes that every answer gets: those that are given, the others drawn given z.

    Parameters
    ----------
    classifier : the model.
    z : float32 [n, d].
    conditions : float32 [n, conditions], NaN where free.
    random : random numbers.

    Returns
    -------
    float [n, answers], each question summing to one.
    """
    concentration = ops.convert_to_numpy(classifier.experts.votes_from(z)).astype(float)
    drawn = np.maximum(random.gamma(concentration), 1e-9)
    given = conditions[:, : len(ANSWERS)]
    for part in TREE.slices.values():
        known = np.isfinite(given[:, part])
        # What the given answers leave is shared among the others as drawn.
        rest = np.clip(1.0 - np.nansum(given[:, part], axis=1, keepdims=True), 0, 1)
        free = np.where(known, 0.0, drawn[:, part])
        free *= rest / np.maximum(free.sum(axis=1, keepdims=True), 1e-12)
        drawn[:, part] = np.where(known, np.nan_to_num(given[:, part]), free)
        drawn[:, part] /= np.maximum(drawn[:, part].sum(axis=1, keepdims=True), 1e-12)
    return drawn
