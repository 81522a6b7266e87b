"""What counts as which class, in a model's answers and in votes."""

import numpy as np
import pytest

from morph.analysis.census.classes import (
    ASKED,
    CLASSES,
    HUBBLE,
    classes_of_answers,
    classes_of_votes,
    index_of,
    shares,
)
from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS, question_of, tree_probabilities
from morph.votes import empty_votes, set_votes


def answers(count: int = 50, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    parts = [random.dirichlet(np.ones(len(question.answers)), count) for question in TREE]
    return np.concatenate(parts, axis=1)


def test_the_hubble_sequence_is_a_partition_and_unions_are_sums():
    found = classes_of_answers(tree_probabilities(answers()))
    hubble = [i for i, each in enumerate(CLASSES) if each.question == HUBBLE]
    np.testing.assert_allclose(found[:, hubble].sum(axis=1), 1, atol=1e-5)
    bars = [index_of(name) for name in ("bar_strong", "bar_weak", "bar_strong-or-weak")]
    np.testing.assert_allclose(found[:, bars[:2]].sum(axis=1), found[:, bars[2]], atol=1e-6)
    spirals = [
        i
        for i in hubble
        if CLASSES[i].name.removeprefix("hubble_") in ("sa", "sb", "sc", "sd", "sba", "sbb", "sbc", "sbd")
    ]
    np.testing.assert_allclose(found[:, spirals].sum(axis=1), found[:, index_of("has-spiral-arms_yes")], atol=1e-6)


def test_fractions_are_of_those_who_are_asked():
    p = answers(1)
    fraction, asked = shares(classes_of_answers(tree_probabilities(p))[0].astype(float))
    for i, name in enumerate(ANSWERS):
        assert fraction[i] == pytest.approx(p[0, i], abs=1e-5)
        if question_of(name) == "bar":
            assert asked[i] == pytest.approx(p[0, 1] * p[0, ANSWERS.index("disk-edge-on_no")], abs=1e-5)
    assert ASKED["smooth-or-featured"] == ()
    nobody = classes_of_answers(tree_probabilities(np.eye(1, len(ANSWERS))))[0]
    assert np.isnan(shares(nobody)[0][index_of("bar_no")])


def votes(*pairs: tuple[str, float]) -> np.ndarray:
    """One galaxy's votes: [1, vote columns]."""
    return set_votes(empty_votes(), dict(pairs))[None]


def test_votes_are_multiplied_down_the_tree():
    given = (
        ("smooth-or-featured_smooth", 10),
        ("smooth-or-featured_featured-or-disk", 30),
        ("disk-edge-on_yes", 10),
        ("disk-edge-on_no", 20),
    )
    found = classes_of_votes(votes(*given))[0]
    assert found[index_of("smooth-or-featured_smooth")] == 0.25
    assert found[index_of("disk-edge-on_yes")] == pytest.approx(0.25)
    assert found[index_of("disk-edge-on_no")] == pytest.approx(0.5)
    assert np.isnan(found[index_of("bar_no")])  # some could have been asked, and nobody was
    assert found[index_of("hubble_edge_on")] == pytest.approx(0.25)


def test_a_question_that_is_never_reached_is_known_to_have_no_answers():
    found = classes_of_votes(votes(("smooth-or-featured_smooth", 1)))[0]
    assert found[index_of("bar_strong")] == 0
    assert found[index_of("hubble_sc")] == 0
    assert np.isnan(found[index_of("how-rounded_round")])


def test_answers_that_were_asked_about_together_are_known_together_alone():
    given = (("smooth-or-featured_featured-or-disk", 40), ("disk-edge-on_no", 40), ("bar_no", 30))
    found = classes_of_votes(votes(*given, ("bar_strong-or-weak", 10)))[0]
    assert np.isnan(found[index_of("bar_strong")])
    assert found[index_of("bar_strong-or-weak")] == 0.25
    assert found[index_of("bar_no")] == 0.75
    single = classes_of_votes(votes(*given, ("bar_strong", 4), ("bar_weak", 6)))[0]
    assert single[index_of("bar_strong-or-weak")] == 0.25


def test_every_class_has_its_own_name_and_words():
    assert len({each.name for each in CLASSES}) == len(CLASSES) == len(VOTE_COLUMNS) + 14
    assert len({each.words for each in CLASSES}) == len(CLASSES)
