"""Adapting a trained model: the heads alone, refitted on features computed once, and pseudo-labels for more galaxies.

A few hundred labels constrain a whole network poorly, and its last layers well. `benchmarks/adaptation.py` compares
other ways.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, VOTE_COLUMNS, tree_probabilities
from morph.model.classifier import Classifier
from morph.model.heads import log_likelihood
from morph.votes import has_votes, vote_counts
from training.fitting.batches import linear, rarity

#: Galaxies that pass through the encoder at once.
ENCODER_BATCH = 128
#: How strongly the heads are held, in nats of the votes' likelihood for each squared unit that an output moves. Chosen
#: with a predecessor of `refit` (dropout on, spreads instead of sizes as units) among 0.01 to 1000, by the likelihood
#: of galaxies left out: validation galaxies of simulated DES, and folds of the DECam pictures and rings. 30 to 300 are
#: close to each other everywhere; no one of them is best on all.
STRENGTH = 100.0
#: Steps at least, and passes over all eight views of the galaxies at least; galaxies in a step; peak learning rate.
STEPS, PASSES, BATCH, LEARNING_RATE = 250, 10, 256, 2e-3
#: The most galaxies that the heads are refitted to; more would add nothing to the training before.
MOST = 20_000
#: How much more often rare answers count (see `training.fitting.batches.rarity`).
BALANCE = 0.3
#: How many volunteers a pseudo-label is worth: more than a hard class, fewer than the forty of Galaxy Zoo.
VOLUNTEERS = 8.0


def adapted_to(parent: Classifier, survey: str, **config: Any) -> Classifier:
    """A classifier of another survey with the parent's weights; the parent is left as it is.

    Parameters
    ----------
    parent : the classifier to start from.
    survey : the other survey's name.
    config : more of `Classifier`'s arguments that differ from the parent's.
    """
    classifier = Classifier.from_config({**parent.get_config(), "survey": survey, "about": {}, **config})
    classifier.set_weights(parent.get_weights())
    return classifier


def views_of(images: np.ndarray) -> Iterator[np.ndarray]:
    """The eight ways of rotating by quarters and mirroring square images [n, s, s, 3], without resampling."""
    for quarter in range(4):
        view = np.rot90(images, quarter, axes=(1, 2))
        yield np.ascontiguousarray(view)
        yield np.ascontiguousarray(view[:, :, ::-1])


def normalised(classifier: Classifier, images: np.ndarray, batch: int = ENCODER_BATCH) -> Iterator[Any]:
    """Preprocessed images, batch by batch.

    Parameters
    ----------
    classifier : whose preprocessing is used.
    images : stamps as `Classifier.answer` takes them.
    batch : galaxies at once.

    Yields
    ------
    Tensors [batch, size, size, 3], as the encoder takes them.
    """
    view = classifier.central(images)
    for start in range(0, len(view), batch):
        yield classifier.preprocessing(ops.convert_to_tensor(linear(view[start : start + batch])))["image"]


def encode(classifier: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The heads' inputs, of stamps as `Classifier.answer` takes them: features [n, f] and the embedding [n, d]."""
    parts = [classifier.encoder.predict_on_batch(image) for image in normalised(classifier, images)]
    features = np.concatenate([part["features"] for part in parts])
    embedding = np.concatenate([ops.convert_to_numpy(classifier.embed(part)) for part in parts])
    return features, embedding


def pseudo_label(teacher: Classifier, galaxies: Galaxies, volunteers: float = VOLUNTEERS, views: int = 8) -> Galaxies:
    """The same galaxies with the votes that a trained model expects of so many volunteers.

    The model's probabilities are averaged over several views of each galaxy. Questions get as many votes as
    volunteers would reach them, in fractions of a vote where need be. A student trained on such votes, under stronger
    augmentation than its teacher, ends up better than the teacher (Xie et al. 2020, "noisy student").

    Parameters
    ----------
    teacher : the model.
    galaxies : their own votes are not read.
    volunteers : votes on the first question.
    views : of the eight views of each galaxy, how many.

    Returns
    -------
    A dataset with the same images.
    """
    fractions = np.mean(
        [teacher.answer(view)["probabilities"] for view in islice(views_of(galaxies.images), views)],
        axis=0,
        dtype=float,
    )
    votes = np.zeros((len(galaxies), len(VOTE_COLUMNS)), dtype="float32")
    votes[:, : len(ANSWERS)] = volunteers * tree_probabilities(fractions)
    return galaxies.with_votes(votes, teacher.about.get("votes", ""))


def refit(
    classifier: Classifier,
    sets: Sequence[Galaxies],
    strength: float = STRENGTH,
    seed: int = 0,
    balance: float = BALANCE,
    volunteers: float = 1.0,
) -> int:
    """Fit the heads in place to the votes of some galaxies; everything else stays.

    The galaxies' features are computed once, as when the model answers: without augmentation and with the statistics
    of batch normalisation that it keeps. The heads are then fitted to the votes, held to where they were by a penalty
    on how far they move (L2-SP: Li, Grandvalet & Davoine 2018), so that what the parent learned is given up only
    where the labels contradict it. It takes seconds.

    Parameters
    ----------
    classifier : its heads change.
    sets : galaxies of either kind of image.
    strength : of the penalty (see `STRENGTH`).
    seed : of the batches.
    balance : how much more often rare answers count (see `training.fitting.batches.rarity`).
    volunteers : what the class of a galaxy counts for, which is one vote and the verdict of many volunteers.

    Returns
    -------
    How many galaxies the heads were fitted to; with none that has votes, nothing changes.
    """
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    labelled = _labelled(sets, random)
    if not labelled:
        return 0
    votes = np.concatenate([vote_counts(galaxies.votes) for galaxies in labelled])
    features, mean, views = _encode_views(classifier, labelled)
    weight = np.tile(rarity(votes, balance), views)
    is_class = votes.max(axis=1, keepdims=True) <= 1
    votes = np.tile(np.where(is_class, volunteers * votes, votes).astype("float32"), (views, 1))
    batch = min(BATCH, len(votes) // views)
    steps = max(STEPS, PASSES * len(votes) // batch)

    def batches() -> Iterator[tuple]:
        for _ in range(steps):
            drawn = random.integers(len(votes), size=batch)
            yield (features[drawn], mean[drawn]), votes[drawn], weight[drawn]

    _hold(classifier.heads, features, mean, strength * views / len(votes))
    heads = _answering(classifier.heads, (features, mean), steps)
    # One epoch of many steps: with few galaxies, what Keras does between epochs takes longer than the epochs.
    heads.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0)
    for weights in classifier.heads.trainable_variables:
        weights.regularizer = None
    return len(is_class)


def _answering(heads: keras.Model, inputs: tuple[np.ndarray, np.ndarray], steps: int) -> keras.Model:
    """The heads as they answer, without dropout, compiled to fit the votes: the penalty keeps them from learning by
    heart."""
    given = [keras.Input(part.shape[1:]) for part in inputs]
    model = keras.Model(given, heads(given, training=False))
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps), epsilon=1e-3),
        loss=lambda truth, concentration: -ops.sum(log_likelihood(concentration, truth), axis=-1),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return model


def _labelled(sets: Sequence[Galaxies], random: np.random.Generator) -> list[Galaxies]:
    """The galaxies with votes of the sets that have some, at random where there are more than `MOST`."""
    labelled = [galaxies.select(np.flatnonzero(has_votes(galaxies.votes))) for galaxies in sets]
    labelled = [galaxies for galaxies in labelled if len(galaxies)]
    share = MOST / max(sum(map(len, labelled)), 1)
    if share >= 1:
        return labelled
    return [g.select(np.sort(random.permutation(len(g))[: int(share * len(g))])) for g in labelled]


def _encode_views(classifier: Classifier, sets: Sequence[Galaxies]) -> tuple[np.ndarray, np.ndarray, int]:
    """Features and embeddings of every galaxy in all eight views, [views x n, ...], and the number of views."""
    encoded = [
        [np.concatenate(part) for part in zip(*(encode(classifier, view) for view in same), strict=True)]
        for same in zip(*(views_of(classifier.central(galaxies.images)) for galaxies in sets), strict=True)
    ]
    features, mean = (np.concatenate(part) for part in zip(*encoded, strict=True))
    return features, mean, len(encoded)


def _hold(heads: keras.Model, features: np.ndarray, mean: np.ndarray, strength: float) -> None:
    """Penalise moving the heads' weights by what it does to their outputs: a weight on a small input may move far."""
    shared = heads.get_layer("shared")
    hidden = keras.Model(heads.inputs, shared.output).predict([features, mean], batch_size=1024, verbose=0)
    first = _size(np.concatenate([features, mean], axis=1))
    for layer in heads.layers:
        if not isinstance(layer, keras.layers.Dense):
            continue
        layer.kernel.regularizer = _Held(
            layer.kernel, (first if layer is shared else _size(hidden))[:, None], strength
        )
        layer.bias.regularizer = _Held(layer.bias, 1.0, strength)


def _size(values: np.ndarray) -> np.ndarray:
    """Root mean square of each column, never quite zero."""
    return np.sqrt(np.mean(np.square(values), axis=0)) + 1e-2


class _Held(keras.regularizers.Regularizer):
    """Squared distance of weights from where they were, each in units of its own."""

    def __init__(self, weights, unit, strength: float):
        self.start = ops.convert_to_numpy(weights).copy()
        self.unit = np.asarray(unit, "float32")
        self.strength = strength

    def __call__(self, weights):
        return self.strength * ops.sum(ops.square((weights - self.start) * self.unit))
