"""Fitting the latent prior: maximum likelihood of posterior draws from the frozen encoder and experts."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS, question_of
from morph.model.classifier import Classifier
from morph.model.conditions import CONDITIONS, SURVEY, encode_conditions, trained_surveys
from morph.model.experts import ENOUGH_VOTES, MEASURED
from morph.model.prior import Prior
from morph.votes import has_votes
from training.fitting.adaptation import pseudo_label
from training.fitting.optimisation import MeanLoss, fit_part
from training.fitting.posteriors import VIEWS, Posteriors

#: Galaxies below which the prior is left as it is: a flow in many dimensions learned from fewer is worse than that of
#: the model that a training starts from.
FEWEST = 2000
#: Batches have this many draws; an epoch has a draw of each galaxy in each of its views.
BATCH = 512
#: The most epochs, and how many without a gain end the fit.
EPOCHS, PATIENCE = 40, 4


class Draws(keras.utils.PyDataset):
    """Batches of posterior draws with conditions of which random parts are free: ``({z, conditions}, z)``."""

    def __init__(self, posteriors: Posteriors, seed: int, batch: int = BATCH, **options):
        super().__init__(**options)
        self.posteriors, self.seed, self.batch, self.epoch = posteriors, seed, batch, 0

    def __len__(self) -> int:
        return max(1, len(self.posteriors) * self.posteriors.images.shape[1] // self.batch)

    def __getitem__(self, index: int):
        random = np.random.default_rng([self.seed, self.epoch, index])
        drawn = self.posteriors.select(random.integers(len(self.posteriors), size=self.batch))
        z = drawn.draw(random, random.integers(drawn.images.shape[1], size=self.batch))[:, 0]
        return {"z": z, "conditions": masked(drawn.conditions, random)}, z

    def on_epoch_end(self) -> None:
        self.epoch += 1


def masked(conditions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Conditions with random parts set free.

    A third of the rows keeps all of them, a sixth none, and a sixth a single question, answer or measurement beside
    the survey and the kind of image, as a user asks for one: chance alone would leave that almost never. In the others
    each modality stays with a chance of a half, and half of the time only some questions, answers and bands of it.
    """
    n = len(conditions)
    choice = random.random((n, 1))
    kept = (random.random((n, len(CONDITIONS))) < 0.5)[:, _MODALITY]
    for part in (_QUESTION, np.arange(len(CONDITIONS))):
        kept &= (random.random((n, len(CONDITIONS))) < 0.5)[:, part] | (random.random((n, 1)) < 0.75)
    kept = np.where(choice < 2 / 3, kept, _single(conditions, random))
    kept = np.where(choice < 1 / 3, True, np.where(choice < 1 / 2, False, kept))
    return np.where(kept, conditions, np.nan).astype("float32")


def _single(conditions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Which conditions stay where one question or measurement does, of those that are known: bool [n, conditions].

    Of a question half of the time one answer alone, since that is how it is asked for.
    """
    columns = np.arange(len(CONDITIONS))
    chance = random.random(conditions.shape)[:, _QUESTION] + 1e-3 * random.random(conditions.shape)
    # How many voted is never asked for alone.
    possible = ~np.isnan(conditions) & (columns < SURVEY) & ~_IS_NUMBER
    chosen = np.where(possible, chance, -1.0).argmax(axis=1)[:, None]
    alone = random.random((len(conditions), 1)) < 0.5
    return np.where(alone, columns == chosen, _QUESTION[chosen] == _QUESTION) | (columns >= SURVEY)


def _first_of_same(names: Sequence[str]) -> np.ndarray:
    """For each name the place of the first one like it."""
    return np.array([names.index(name) for name in names])


_QUESTIONS = [question_of(name) for name in VOTE_COLUMNS] + [question.name for question in TREE]
#: Columns of the conditions that are numbers of votes; those that belong to one question, and to one modality.
_IS_NUMBER = np.array([name.startswith("votes_") for name in CONDITIONS])
_QUESTION = _first_of_same([*_QUESTIONS, *CONDITIONS[len(_QUESTIONS) :]])
_MODALITY = _first_of_same(
    ["votes"] * len(_QUESTIONS)
    + [name for name, width in MEASURED.items() for _ in range(width)]
    + ["survey", "composite"]
)


def fit_prior(
    classifier: Classifier, sets: Sequence[Galaxies], held_out: Sequence[Galaxies], seed: int = 0
) -> list[float]:
    """Fit the classifier's latent prior in place; the epoch that is best on held-out galaxies is kept.

    Parameters
    ----------
    classifier : frozen; only its `prior` changes.
    sets : galaxies to fit on, of any kind of image, with or without votes and measurements; each counts once.
    held_out : galaxies that choose the epoch.
    seed : of the draws and of the network: the same seed fits the same prior.

    Returns
    -------
    The mean log-density of the held-out galaxies' draws after each epoch, nats; empty where there are fewer than
    `FEWEST` galaxies or none held out, and then the prior stays as it is.
    """
    if sum(map(len, sets)) < FEWEST or not sum(map(len, held_out)):
        return []
    train = Posteriors.concatenate([answered(classifier, galaxies, VIEWS) for galaxies in sets])
    watched = Posteriors.concatenate([answered(classifier, galaxies, VIEWS[:1]) for galaxies in held_out])
    return fit_flow(classifier.prior, train, watched, seed=seed)


def answered(classifier: Classifier, galaxies: Galaxies, views: Sequence[int]) -> Posteriors:
    """Posteriors of galaxies, of which those without votes have the classifier's own answers among their conditions.

    Without them no answer could be asked for in a survey that nobody has voted on. The posteriors themselves are those
    of the image: its answers say nothing more of it.

    Parameters
    ----------
    classifier, galaxies, views : as for `Posteriors.of`.
    """
    found = Posteriors.of(classifier, galaxies, views)
    unknown = np.flatnonzero(~has_votes(galaxies.votes))
    if not len(unknown):
        return found
    votes = pseudo_label(classifier, galaxies.select(unknown), ENOUGH_VOTES, views=1).votes
    conditions = found.conditions.copy()
    conditions[unknown, : len(_QUESTIONS)] = encode_conditions(len(unknown), votes)[:, : len(_QUESTIONS)]
    return replace(found, conditions=conditions)


class PriorLikelihood(MeanLoss):
    """Minus the logarithm of the prior's density of each draw, per dimension."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.prior = prior
        self.built = True

    def build(self, input_shape=None):
        """The prior is built already."""

    def call(self, given, training=False):
        return -self.prior.log_prob(given["z"], given["conditions"]) / self.prior.latent


def fit_flow(
    prior: Prior, train: Posteriors, validation: Posteriors, epochs: int = EPOCHS, seed: int = 0, rate: float = 2e-3
) -> list[float]:
    """Fit the flow in place, and keep the epoch that is best on the validation galaxies.

    Parameters
    ----------
    prior : the flow.
    train, validation : posteriors of galaxies.
    epochs, seed, rate : of the fit; `rate` is the learning rate.

    Returns
    -------
    Nats of the validation galaxies' draws after each epoch.
    """
    keras.utils.set_random_seed(seed)
    prior.set_weights(Prior.from_config(prior.get_config()).get_weights())
    views = range(train.images.shape[1])
    draws = np.concatenate([train.draw(np.random.default_rng([seed, view]), view)[:, 0] for view in views])
    prior.whiten(draws.mean(axis=0), np.cov(draws.T), trained_surveys(train.conditions[:, SURVEY]))
    batches = Draws(train, seed)
    watched = [Draws(validation, seed + 1)[number] for number in range(1 + 4 * len(validation) // BATCH)]
    held_out = {name: np.concatenate([given[name] for given, _ in watched]) for name in ("z", "conditions")}
    loss = fit_part(prior, PriorLikelihood(prior), batches, held_out, epochs, PATIENCE, rate, weight_decay=1e-4)
    return [-value * prior.latent for value in loss]
