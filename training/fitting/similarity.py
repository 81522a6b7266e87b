"""Fitting the similarity vector to features of augmented views, computed once; the network itself stays.

Two views of one galaxy, turned, mirrored, zoomed, blurred, with other noise, colours and neighbours, or seen by
another survey, must find each other in a batch (InfoNCE: van den Oord et al. 2018). That alone would push all other
galaxies equally far away, so a part of the target is shared out among galaxies that volunteers describe alike, and
among those whose features, averaged over the views, are alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import keras
import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, TREE, tree_probabilities
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.heads import probabilities
from morph.model.similarity import SIMILARITY_SIZE, WIDTH, unit
from morph.stamps.stretch import centre_crop
from morph.votes import vote_counts, was_asked
from training.fitting.adaptation import ENCODER_BATCH
from training.fitting.augment import Disturb, Strength, Turn
from training.fitting.batches import MARGIN, linear
from training.fitting.injected import add_neighbours

#: Galaxies at most, and views of each. Their features take 4 bytes x (features + latent): 150 MB of the small model.
MOST, VIEWS = 20_000, 6
#: Weight of sets that are simulated or have no votes, beside the share of a batch that they have in training.
OTHERS = 0.4
#: Share of the views that get a neighbour blended in.
NEIGHBOURS = 0.25
#: Steps, galaxies in a step, and peak learning rate of the fit.
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 1500, 512, 2e-3, 1e-4
#: Temperature of the cosines in a batch, and of those that define the targets.
TEMPERATURE, VOTES_TEMPERATURE, FEATURES_TEMPERATURE = 0.17, 0.05, 0.2
#: Shares of the target for galaxies of alike votes and of alike features; the rest is the galaxy itself.
VOTES, FEATURES = 0.3, 0.3
#: How many times the mean vector is subtracted. On validation galaxies, 2 is better than 0 or 1 for all but the most
#: common class (docs/explanation/methods.md).
CENTRING = 2.0
#: Volunteers that the model's own answers are worth, and that a galaxy's votes on a question are worth at least: a
#: hard class is the answer of several.
OWN, LEAST = 8.0, 8.0


@dataclass(frozen=True)
class _Group:
    """The same galaxies in one or several datasets, and their share of every batch.

    Attributes
    ----------
    members : each dataset with the rows of the galaxies, in one order.
    """

    members: tuple[tuple[Galaxies, np.ndarray], ...]
    share: float

    def __len__(self) -> int:
        return len(self.members[0][1])

    def some(self, most: int, random: np.random.Generator) -> "_Group":
        """At most so many of the galaxies, drawn at random."""
        chosen = np.sort(random.permutation(len(self))[:most])
        return replace(self, members=tuple((galaxies, rows[chosen]) for galaxies, rows in self.members))

    @property
    def votes(self) -> np.ndarray:
        galaxies, rows = self.members[0]
        return galaxies.votes[rows]


def fit_similarity(
    classifier: Classifier, sets: Sequence[tuple[Galaxies, float]], seed: int = 0, steps: int = STEPS
) -> int:
    """Fit the similarity head in place; everything else stays.

    Galaxies with one id in two sets are the same galaxy: as two surveys see it, where the sets are of two.

    Parameters
    ----------
    classifier : its head changes.
    sets : galaxies of either kind of image, labelled or not, and the share of every batch that each contributes.
    seed : of the views and the batches.
    steps : of the fit.

    Returns
    -------
    How many galaxies the head was fitted to.

    Raises
    ------
    InputError : there are fewer than two galaxies.
    """
    groups = _groups(sets)
    count = sum(map(len, groups))
    if count < 2:
        raise InputError(f"The similarity vector is fitted to two galaxies or more; there are {count}.")
    random = np.random.default_rng(seed)
    groups = [group.some(max(1, MOST * len(group) // count), random) for group in groups] if count > MOST else groups
    keras.utils.set_random_seed(seed)
    views = _Views(classifier, seed)
    parts = [views(group) for group in groups]
    features, votes = (np.concatenate(each) for each in zip(*parts, strict=True))
    odds = np.concatenate([np.full(len(group), group.share / len(group)) for group in groups])
    _fit(classifier, features, votes, odds / odds.sum(), random, steps)
    return len(features)


def _groups(sets: Sequence[tuple[Galaxies, float]]) -> list[_Group]:
    """The sets, with the galaxies that two of them have in common as groups of their own."""
    sets = [(galaxies, share * _weight(galaxies)) for galaxies, share in sets]
    left = [np.arange(len(galaxies)) for galaxies, _ in sets]
    groups = []
    for one, other in combinations(range(len(sets)), 2):
        (galaxies, share), (others, more) = sets[one], sets[other]
        same = np.intersect1d(galaxies.ids[left[one]], others.ids[left[other]], return_indices=True)
        rows = left[one][same[1]], left[other][same[2]]
        if len(rows[0]):
            both = share * len(rows[0]) / len(galaxies) + more * len(rows[1]) / len(others)
            groups.append(_Group(((galaxies, rows[0]), (others, rows[1])), both))
            left[one], left[other] = (np.setdiff1d(left[k], part) for k, part in zip((one, other), rows, strict=True))
    alone = [
        _Group(((galaxies, rows),), share * len(rows) / len(galaxies))
        for (galaxies, share), rows in zip(sets, left, strict=True)
        if len(rows)
    ]
    return groups + alone


def _weight(galaxies: Galaxies) -> float:
    return 1.0 if was_asked(galaxies.votes).any() and not galaxies.simulated else OTHERS


class _Views:
    """The features of a group's galaxies in several views: called with a group, returns float32
    [n, `VIEWS`, features + latent], and what volunteers say of the galaxies [n, answers] (`_descriptions`)."""

    def __init__(self, classifier: Classifier, seed: int):
        self.classifier, self.seed = classifier, seed
        self.turn = Turn(classifier.size, Strength(), seed)
        self.disturb = Disturb(Strength(), seed + 1)

    def __call__(self, group: _Group) -> tuple[np.ndarray, np.ndarray]:
        views, fractions = [], []
        for number in range(VIEWS):
            galaxies, rows = group.members[number % len(group.members)]
            # Two views of each member are as the model meets them, the second turned without resampling.
            turned = len(group.members) <= number < 2 * len(group.members)
            varied = number >= 2 * len(group.members)
            batches = self._images(galaxies, rows, number, turned, neighbours=varied)
            encoded = [self._encode(images, varied) for images in batches]
            features, answers = (np.concatenate(part)[: len(group)] for part in zip(*encoded, strict=True))
            views.append(features)
            fractions.append(answers)
        return np.stack(views, axis=1), _descriptions(np.mean(fractions, axis=0, dtype=float), group.votes)

    def _images(
        self, galaxies: Galaxies, rows: np.ndarray, number: int, turned: bool, neighbours: bool
    ) -> Iterator[np.ndarray]:
        """Batches of stamps, turned and mirrored or some with a neighbour; the last is filled up, so that all have one
        size."""
        random = np.random.default_rng([self.seed, number])
        for start in range(0, len(rows), ENCODER_BATCH):
            batch = galaxies.select(rows[np.arange(start, start + ENCODER_BATCH) % len(rows)])
            images = linear(batch.images)
            touched = np.flatnonzero(random.random(ENCODER_BATCH) < NEIGHBOURS * neighbours)
            if len(touched):
                images[touched] = linear(add_neighbours(batch.select(touched), int(random.integers(2**31))))
            if turned:
                images = np.stack([np.rot90(image, int(random.integers(1, 4))) for image in images])
                images = np.where(random.random((len(images), 1, 1, 1)) < 0.5, images, images[:, :, ::-1])
            # As much of a wide stamp as turns and shifts of the view can reach.
            yield centre_crop(images, round(MARGIN * self.classifier.size))

    def _encode(self, images: np.ndarray, varied: bool) -> tuple[np.ndarray, np.ndarray]:
        """Features and embedding [n, f + d], and the model's probabilities [n, answers], of one view."""
        model = self.classifier
        turned = self.turn(ops.convert_to_tensor(images), training=varied)
        image = self.disturb(model.preprocessing(turned), training=varied)["image"]
        encoded = model.encoder.predict_on_batch(image)
        mean = ops.convert_to_numpy(model.embed(encoded))
        concentration = model.heads.predict_on_batch([encoded["features"], mean])
        features = np.concatenate([encoded["features"], mean], axis=1)
        return features, ops.convert_to_numpy(probabilities(concentration))


def _descriptions(fractions: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """What volunteers say of galaxies, as far as it is known, as vectors of unit length: the square roots of the
    expected fractions down the tree, so that a product of two is the overlap of their distributions.

    Parameters
    ----------
    fractions : the model's probabilities, [n, answers]; they count as `OWN` volunteers.
    votes : [n, vote columns], NaN where not asked.
    """
    given = vote_counts(votes)[:, : len(ANSWERS)].astype(float)
    expected = np.empty_like(given)
    for part in TREE.slices.values():
        total = given[:, part].sum(axis=1, keepdims=True)
        worth = np.where(total > 0, np.maximum(LEAST / np.maximum(total, 1e-9), 1.0), 0.0)
        sums = OWN * fractions[:, part] + worth * given[:, part]
        expected[:, part] = sums / sums.sum(axis=1, keepdims=True)
    return _normalised(np.sqrt(tree_probabilities(expected)))


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("float32")


class _Contrast(keras.Model):
    """The head in training: two views of a batch in, and the cross-entropy of who belongs to whom as the loss."""

    def __init__(self, head: keras.Model):
        super().__init__(name="contrast")
        self.head = head

    def call(self, views, training=False):
        return [unit(self.head(view)) for view in views]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        votes, features = y
        target = VOTES * _alike(votes, VOTES_TEMPERATURE) + FEATURES * _alike(features, FEATURES_TEMPERATURE)
        target = target + (1 - VOTES - FEATURES) * ops.eye(ops.shape(votes)[0])
        cosines = ops.matmul(y_pred[0], ops.transpose(y_pred[1])) / TEMPERATURE
        both = ops.log_softmax(cosines, axis=-1) + ops.log_softmax(ops.transpose(cosines), axis=-1)
        return -ops.mean(ops.sum(target * both, axis=-1)) / 2


def _alike(vectors, temperature: float):
    """How alike each row is to all, [n, n], rows summing to one."""
    return ops.softmax(ops.matmul(vectors, ops.transpose(vectors)) / temperature, axis=-1)


def _fit(
    classifier: Classifier,
    views: np.ndarray,
    votes: np.ndarray,
    odds: np.ndarray,
    random: np.random.Generator,
    steps: int,
) -> None:
    """Fit the head's layers to views [n, v, k] and descriptions [n, m], drawing galaxies with these odds [n]."""
    count, each, size = views.shape
    features = classifier.similarity.features
    centre = views.mean(axis=(0, 1))
    spread = views.std(axis=(0, 1))
    # A feature that hardly varies in training must not decide alone when it does later.
    spread = np.maximum(spread, 0.1 * np.median(spread)) + 1e-6
    means = _normalised(((views.mean(axis=1) - centre) / spread)[:, :features])
    batch = min(BATCH, count)

    def batches() -> Iterator[tuple]:
        for _ in range(steps):
            rows = random.choice(count, batch, replace=False, p=odds)
            one = random.integers(each, size=batch)
            other = (one + random.integers(1, each, size=batch)) % each
            pair = tuple((views[rows, view] - centre) / spread for view in (one, other))
            yield pair, (votes[rows], means[rows])

    given = keras.Input((size,))
    hidden = keras.layers.Dense(WIDTH, activation="relu")(given)
    head = keras.Model(given, keras.layers.Dense(SIMILARITY_SIZE)(hidden))
    training = _Contrast(head)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    training.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    training.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0)
    kernel, bias, *rest = head.get_weights()
    # The layer reads the features as they are.
    kernel = kernel / spread[:, None]
    layers = (kernel, bias - centre @ kernel, *rest)
    layer = classifier.similarity
    layer.set_layers(*layers, np.zeros(SIMILARITY_SIZE))
    vectors = ops.convert_to_numpy(layer(views[:, 0, :features], views[:, 0, features:]))
    layer.set_layers(*layers, CENTRING * odds @ vectors)
