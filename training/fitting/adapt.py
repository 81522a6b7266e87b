"""Ways of carrying a model over to another survey, beside training all of it on the new labels.

None of them needs more than the model and some galaxies of the target survey: normalisation statistics of the target's
own images, and the model's own confident answers as labels of unlabelled galaxies. `benchmarks/adaptation.py` compares
them; what won, the heads alone on features computed once, has a module of its own (`training.fitting.heads`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.votes import vote_counts
from training.fitting.batch_statistics import settle
from training.fitting.batches import linear

#: Galaxies that pass through the encoder at once, and those whose statistics are measured together.
BATCH, STATISTICS_BATCH = 128, 32


def adapted_to(parent: Classifier, survey: str, **config: Any) -> Classifier:
    """A classifier of another survey with the parent's weights; the parent is left as it is."""
    classifier = Classifier.from_config({**parent.get_config(), "survey": survey, "about": {}, **config})
    classifier.set_weights(parent.get_weights())
    return classifier


def turned(images: np.ndarray) -> Iterator[np.ndarray]:
    """The eight ways of turning and mirroring square images [n, s, s, 3] without touching a pixel."""
    for quarter in range(4):
        view = np.rot90(images, quarter, axes=(1, 2))
        yield np.ascontiguousarray(view)
        yield np.ascontiguousarray(view[:, :, ::-1])


def answer_turned(classifier: Classifier, images: np.ndarray) -> dict[str, np.ndarray]:
    """`Classifier.answer` averaged over the eight views of each galaxy: a galaxy has no up and no handedness."""
    views = [classifier.answer(view) for view in turned(images)]
    mean = {name: np.mean([view[name] for view in views], axis=0, dtype="float32") for name in views[0]}
    return {**mean, "anomaly": mean["anomaly_score"] < classifier.anomaly_threshold}


def encode(classifier: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the heads read, of stamps as `Classifier.answer` takes them: features [n, f] and the embedding [n, d]."""
    parts = [classifier.encoder.predict_on_batch(way_in) for way_in in _ways_in(classifier, images)]
    features = np.concatenate([part["features"] for part in parts])
    embedding = np.concatenate([ops.convert_to_numpy(classifier.embed(part)) for part in parts])
    return features, embedding


def _ways_in(classifier: Classifier, images: np.ndarray, batch: int = BATCH) -> Iterator[Any]:
    """Normalised images, batch by batch."""
    view = classifier.central(images)
    for start in range(0, len(view), batch):
        yield classifier.preprocessing(ops.convert_to_tensor(linear(view[start : start + batch])))["image"]


def reestimate(classifier: Classifier, images: np.ndarray, seed: int = 0) -> None:
    """Give the encoder's batch normalisation the statistics of these images, labelled or not (AdaBN: Li et al. 2016).

    They are medians over batches of `STATISTICS_BATCH` (see `training.fitting.batch_statistics`). InputError with
    fewer than `BATCH` images: their statistics would be noisier than the old ones are wrong.
    """
    if len(images) < BATCH:
        raise InputError(
            f"{len(images)} images are too few to measure a survey's statistics on; {BATCH} is the least."
        )
    order = np.random.default_rng(seed).permutation(len(images))
    # A short last batch would count as much as a whole one.
    whole = images[order[: len(order) // STATISTICS_BATCH * STATISTICS_BATCH]]
    batches = ((way_in, None) for way_in in _ways_in(classifier, whole, STATISTICS_BATCH))
    settle(classifier.encoder, batches, [classifier.encoder])


def pseudo_labelled(
    classifier: Classifier, galaxies: Galaxies, confident: float = 0.9, volunteers: float = 5.0
) -> Galaxies:
    """The same galaxies with the model's confident answers as their votes, and no votes elsewhere.

    Parameters
    ----------
    galaxies : their own votes are not read.
    confident : the probability of an answer from which a question counts as answered.
    volunteers : votes that such an answer is worth, shared out as the probabilities are.
    """
    p = answer_turned(classifier, galaxies.images)["probabilities"]
    votes = np.full((len(galaxies), len(VOTE_COLUMNS)), np.nan, dtype="float32")
    for question in TREE:
        part = TREE.slices[question.name]
        parents = TREE.leading_to(question)
        sure = p[:, part].max(axis=1) >= confident
        if parents:
            # Nothing is said of the arms of a galaxy that is probably smooth.
            sure &= vote_counts(votes[:, parents]).sum(axis=1) >= confident * volunteers
        votes[sure, part] = volunteers * p[sure, part]
    return galaxies.with_votes(votes, classifier.about.get("votes", ""))
