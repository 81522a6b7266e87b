"""Fitting the decoders of magnitudes, radius and redshift to the frozen network's posteriors."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from morph.model.conditions import SURVEY, trained_surveys
from morph.model.experts import MEASURED, MEASUREMENTS, MODALITIES, columns_of, log_density, transform
from morph.model.measurements import Measurements
from training.fitting.optimisation import MeanLoss, fit_part
from training.fitting.posteriors import VIEWS, Posteriors

#: Galaxies with a measurement that a fit needs, and held-out ones; with fewer the decoders stay as they are.
FEWEST, FEWEST_HELD_OUT = 2000, 50
#: Draws of z from each posterior: the predictive distribution is their mean, and its likelihood is what is fitted.
DRAWS = 4
#: Share of the galaxies whose survey is given.
KNOWN_SURVEY = 0.8
#: Galaxies in a batch, the most epochs, how many without a gain end the fit, and the peak learning rate.
BATCH, EPOCHS, PATIENCE, RATE = 256, 30, 6, 2e-3
#: Column of the measurements to their modality, as its place in `MODALITIES`.
_MODALITY = np.repeat(np.arange(2, len(MODALITIES)), list(MEASURED.values()))


class Subsets(keras.utils.PyDataset):
    """Batches of galaxies with random subsets of what is known of them.

    ``({z [n, draws, d], given [n, 5], survey [n], asked [n, 5]}, asked)``: draws of z given a subset, the measurements
    in it, the survey of most galaxies, and the known measurements that are not given; NaN elsewhere.
    """

    def __init__(self, posteriors: Posteriors, seed: int, batch: int = BATCH, draws: int = DRAWS, **options):
        super().__init__(**options)
        self.posteriors, self.seed, self.batch, self.draws, self.epoch = posteriors, seed, batch, draws, 0

    def __len__(self) -> int:
        return max(1, len(self.posteriors) // self.batch)

    def __getitem__(self, index: int):
        random = np.random.default_rng([self.seed, self.epoch, index])
        drawn = self.posteriors.select(random.integers(len(self.posteriors), size=self.batch))
        given = _subsets(drawn.present, random)
        z = drawn.draw(random, random.integers(drawn.images.shape[1], size=self.batch), given, self.draws)
        mine = given[:, _MODALITY]
        asked = np.where(mine, np.nan, drawn.measurements).astype("float32")
        given = np.where(mine, drawn.measurements, np.nan).astype("float32")
        survey = np.where(random.random(len(z)) < KNOWN_SURVEY, drawn.conditions[:, SURVEY], np.nan).astype("float32")
        return {"z": z, "given": given, "survey": survey, "asked": asked}, asked

    def on_epoch_end(self) -> None:
        self.epoch += 1


def _subsets(present: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Which known modalities are given: the image to three in four, and each other with a chance of a half, but the
    votes, which few surveys have, with one of a fifth; and no measurement at all to a quarter."""
    given = random.random(present.shape) < np.array([0.75, 0.2, 0.5, 0.5, 0.3])
    given[:, 2:] &= random.random((len(present), 1)) < 0.75
    return given & present


class MeasurementsLikelihood(MeanLoss):
    """Minus the log-likelihood of what is asked, under the mean over the draws of z, for each galaxy."""

    def __init__(self, measurements):
        super().__init__()
        self.measurements = measurements
        self.built = True

    def build(self, input_shape=None):
        """The decoders are built already."""

    def call(self, given, training=False):
        z, asked = given["z"], given["asked"]
        draws = z.shape[1]
        flat = ops.reshape(z, (-1, z.shape[-1]))
        mixtures = self.measurements(flat, *(ops.repeat(given[name], draws, axis=0) for name in ("given", "survey")))
        known = ops.logical_not(ops.isnan(asked))
        values = ops.clip(ops.where(known, asked, 0.0), -6.0, 6.0)
        loss = 0.0
        for name, mixture in mixtures.items():
            part = columns_of(name)
            density = log_density(mixture, ops.repeat(values[:, part], draws, axis=0))
            density = ops.logsumexp(ops.reshape(density, (-1, draws)), axis=1) - float(np.log(draws))
            loss = loss - density * ops.cast(ops.all(known[:, part], axis=1), "float32")
        return loss


def fit_measurements(
    classifier: Classifier,
    sets: Sequence[Galaxies],
    held_out: Sequence[Galaxies],
    seed: int = 0,
    views: Sequence[int] = VIEWS,
) -> list[float]:
    """Fit the classifier's decoders of measurements in place; the best epoch on held-out galaxies is kept.

    Parameters
    ----------
    classifier : frozen; only its `measurements` change.
    sets, held_out : galaxies to fit on and to choose by; those without any measurement are left out.
    seed : of the draws and of the network.
    views : how the images are turned.

    Returns
    -------
    The mean log-likelihood of the held-out galaxies after each epoch; empty where galaxies were too few, and then the
    decoders stay as they are.
    """
    train, watched = ([each for each in map(_measured, side) if len(each)] for side in (sets, held_out))
    if sum(map(len, train)) < FEWEST or sum(map(len, watched)) < FEWEST_HELD_OUT:
        return []
    return fit_decoders(
        classifier.measurements,
        Posteriors.concatenate([Posteriors.of(classifier, galaxies, views) for galaxies in train]),
        Posteriors.concatenate([Posteriors.of(classifier, galaxies, views[:1]) for galaxies in watched]),
        seed,
    )


def fit_decoders(measurements: Measurements, train: Posteriors, held_out: Posteriors, seed: int = 0) -> list[float]:
    """`fit_measurements` of galaxies whose posteriors are known.

    Parameters
    ----------
    measurements : the decoders, changed in place.
    train, held_out : posteriors of galaxies to fit to, and of others that decide when to stop.
    seed : of what is drawn.

    Returns
    -------
    The log-likelihood of the held-out galaxies after each epoch.
    """
    keras.utils.set_random_seed(seed)
    measurements.set_weights(Measurements.from_config(measurements.get_config()).get_weights())
    batches, fixed = Subsets(train, seed), Subsets(held_out, seed + 1)
    parts = [fixed[number][0] for number in range(2 + 4 * len(fixed))]
    watched = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    measurements.surveys.assign(trained_surveys(train.conditions[:, SURVEY]))
    loss = fit_part(
        measurements, MeasurementsLikelihood(measurements), batches, watched, EPOCHS, PATIENCE, RATE, weight_decay=1e-3
    )
    measurements.is_fitted.assign(1.0)
    return [-value for value in loss]


def _measured(galaxies: Galaxies) -> Galaxies:
    values = transform(np.stack([galaxies.properties[name] for name in MEASUREMENTS], axis=1))
    return galaxies.select(np.isfinite(values).any(axis=1))
