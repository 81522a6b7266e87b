"""Refitting the heads of a small classifier on forty-eight drawn galaxies."""

import numpy as np

from morph.decision_tree import TREE
from training.fitting.adapt import adapted_to
from training.fitting.heads import refit
from training.metrics.votes import measure


def likelihood(classifier, sample) -> float:
    answers = classifier.answer(sample.images)
    figures = measure(sample.votes, answers["probabilities"], answers["concentration"], resamples=10)
    return figures["smooth-or-featured/log-likelihood"].value


def probabilities(classifier, sample) -> np.ndarray:
    return classifier.answer(sample.images)["probabilities"]


def test_the_heads_learn_and_the_rest_stays(classifier, sample):
    child = adapted_to(classifier, "des")
    assert refit(child, [sample], strength=1.0) == len(sample)
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(classifier, part).get_weights(), getattr(child, part).get_weights(), strict=True)
        assert all((a == b).all() for a, b in pairs), part
    assert likelihood(child, sample) > likelihood(classifier, sample) + 0.5


def test_the_tighter_they_are_held_the_less_their_answers_move(classifier, sample):
    before = probabilities(classifier, sample)
    change = []
    for strength in (1.0, 1e6):
        child = adapted_to(classifier, "des")
        refit(child, [sample], strength)
        change.append(np.abs(probabilities(child, sample) - before).max())
        assert all(weight.regularizer is None for weight in child.heads.trainable_variables)
    assert change[1] < change[0] / 3


def test_the_same_seed_gives_the_same_answers(classifier, sample):
    one, two = (adapted_to(classifier, "des") for _ in range(2))
    for child in (one, two):
        refit(child, [sample], seed=3)
    asked = TREE.slices["smooth-or-featured"]
    np.testing.assert_allclose(probabilities(one, sample)[:, asked], probabilities(two, sample)[:, asked], atol=0.02)


def test_without_votes_nothing_changes(classifier, sample):
    from training.fitting.batches import unanswered

    child = adapted_to(classifier, "des")
    assert refit(child, [unanswered(sample)]) == 0
    np.testing.assert_array_equal(probabilities(child, sample), probabilities(classifier, sample))
