"""Refitting the heads alone: a few hundred labels say little of a whole network, and a good deal of its last layers.

The features of the labelled galaxies are computed once, as they will be when the model answers: without augmentation
and with the statistics of batch normalisation that it keeps. The heads are then fitted to the votes, held to where
they were by a penalty on how far they move (L2-SP: Li, Grandvalet & Davoine 2018), so that what the parent knew is
given up only where the labels speak against it. It takes seconds.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from morph.model.vote_likelihood import log_likelihood
from morph.votes import has_votes, vote_counts
from training.fitting.adapt import encode, turned
from training.fitting.batches import rarity

#: How strongly the heads are held, in nats of the votes' likelihood for each squared unit that an output moves. Chosen
#: with a forerunner of this function (dropout on, spreads instead of sizes as units) among 0.01 to 1000, by the
#: likelihood of galaxies left out: validation galaxies of simulated DES, and folds of the DECam pictures and rings. 30
#: to 300 are close to each other everywhere; no one of them is best on all.
STRENGTH = 100.0
#: Steps at least, and passes over all eight views of the galaxies at least; galaxies in a step; peak learning rate.
STEPS, PASSES, BATCH, RATE = 250, 10, 256, 2e-3
#: More galaxies than these teach the heads nothing that the training before did not.
MOST = 20_000
#: How much more often rare answers count (see `training.fitting.batches.rarity`).
BALANCE = 0.3


def refit(classifier: Classifier, sets: Sequence[Galaxies], strength: float = STRENGTH, seed: int = 0) -> int:
    """Fit the heads in place to the votes of some galaxies, of either kind of image; everything else stays.

    Returns how many galaxies it learned from; with none that has votes, nothing changes.
    """
    labelled = [g.select(np.flatnonzero(has_votes(g.votes))) for g in sets]
    labelled = [galaxies for galaxies in labelled if len(galaxies)]
    if not labelled:
        return 0
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    votes = np.concatenate([vote_counts(galaxies.votes) for galaxies in labelled])
    count = len(votes)
    if count > MOST:
        share = MOST / count
        labelled = [g.select(np.sort(random.permutation(len(g))[: int(share * len(g))])) for g in labelled]
        votes = np.concatenate([vote_counts(galaxies.votes) for galaxies in labelled])
    features, mean, views = _encoded(classifier, labelled)
    votes, weight = np.tile(votes, (views, 1)), np.tile(rarity(votes, BALANCE), views)
    batch = min(BATCH, len(votes) // views)
    steps = max(STEPS, PASSES * len(votes) // batch)

    def batches() -> Iterator[tuple]:
        for _ in range(steps):
            drawn = random.integers(len(votes), size=batch)
            yield (features[drawn], mean[drawn]), votes[drawn], weight[drawn]

    _hold(classifier.heads, features, mean, strength * views / len(votes))
    # As they answer, without dropout: the penalty is what keeps them from learning by heart.
    inputs = [keras.Input(part.shape[1:]) for part in (features, mean)]
    heads = keras.Model(inputs, classifier.heads(inputs, training=False))
    heads.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps), epsilon=1e-3),
        loss=lambda truth, concentration: -ops.sum(log_likelihood(concentration, truth), axis=-1),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    # One epoch of many steps: with few galaxies, what Keras does between epochs takes longer than the epochs.
    heads.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0)
    for weights in classifier.heads.trainable_variables:
        weights.regularizer = None
    return count


def _encoded(classifier: Classifier, sets: Sequence[Galaxies]) -> tuple[np.ndarray, np.ndarray, int]:
    """Features and embeddings of every galaxy turned every way, [views x n, ...], and the number of views."""
    encoded = [
        [np.concatenate(part) for part in zip(*(encode(classifier, view) for view in same), strict=True)]
        for same in zip(*(turned(classifier.central(galaxies.images)) for galaxies in sets), strict=True)
    ]
    features, mean = (np.concatenate(part) for part in zip(*encoded, strict=True))
    return features, mean, len(encoded)


def _hold(heads: keras.Model, features: np.ndarray, mean: np.ndarray, strength: float) -> None:
    """Make moving the heads' weights cost what it does to their outputs: a weight on a small input may move far."""
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
