"""Arithmetic along the decision tree, and the likelihood of votes."""

import numpy as np
import pytest
from keras import ops
from scipy.special import gammaln

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.model.heads import log_gamma, log_likelihood, tree_probabilities
from morph.votes import empty_votes, set_votes

QUESTIONS = [question.name for question in TREE]


def direct(alpha, counts) -> float:
    """The Dirichlet-multinomial's log-probability of one question, straight from its definition."""
    alpha, counts = np.asarray(alpha, float), np.asarray(counts, float)
    n = counts.sum()
    return (
        gammaln(n + 1)
        - gammaln(counts + 1).sum()
        + gammaln(alpha.sum())
        - gammaln(alpha.sum() + n)
        + (gammaln(alpha + counts) - gammaln(alpha)).sum()
    )


def likelihood(alpha: dict[str, float], *votes: dict[str, float]) -> np.ndarray:
    """`log_likelihood` of sets of votes [n, questions], the same concentration for all."""
    row = np.array([alpha.get(answer, 1.0) for answer in ANSWERS], dtype="float32")
    rows = np.stack([set_votes(empty_votes(), counts) for counts in votes])
    return ops.convert_to_numpy(log_likelihood(np.tile(row, (len(rows), 1)), rows))


def test_log_gamma_is_scipys():
    x = np.logspace(-4, 3, 400).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(log_gamma(x)), gammaln(x.astype(float)), rtol=3e-6, atol=2e-5)


@pytest.mark.parametrize("counts", [(5, 1, 0), (0, 0, 40), (12.5, 3.25, 1)])
def test_likelihood_is_the_dirichlet_multinomials(counts):
    alpha = (0.4, 7.0, 60.0)
    columns = TREE["smooth-or-featured"].columns
    result = likelihood(dict(zip(columns, alpha, strict=True)), dict(zip(columns, counts, strict=True)))
    assert result[0, QUESTIONS.index("smooth-or-featured")] == pytest.approx(direct(alpha, counts), rel=1e-4, abs=1e-3)


def test_questions_that_were_not_asked_add_nothing():
    result = likelihood({}, {"disk-edge-on_no": 3.0})[0]
    others = np.delete(result, QUESTIONS.index("disk-edge-on"))
    np.testing.assert_allclose(others, 0, atol=1e-4)
    assert abs(result[QUESTIONS.index("disk-edge-on")]) > 0.1


def test_a_coarse_answer_has_the_sum_of_its_answers_concentrations():
    alpha = {"bar_strong": 2.0, "bar_weak": 5.0, "bar_no": 9.0}
    result = likelihood(alpha, {"bar_strong-or-weak": 4.0, "bar_no": 11.0})
    assert result[0, QUESTIONS.index("bar")] == pytest.approx(direct((7.0, 9.0), (4, 11)), abs=1e-3)


def test_a_coarse_answer_is_as_likely_as_all_the_ways_to_give_it():
    """Aggregation: summing over how four volunteers split into strong and weak gives the coarse probability."""
    alpha = {"bar_strong": 2.0, "bar_weak": 5.0, "bar_no": 9.0}
    fine = [{"bar_strong": strong, "bar_weak": 4.0 - strong, "bar_no": 11.0} for strong in range(5)]
    ways = likelihood(alpha, *fine)[:, QUESTIONS.index("bar")]
    coarse = likelihood(alpha, {"bar_strong-or-weak": 4.0, "bar_no": 11.0})[0, QUESTIONS.index("bar")]
    assert np.exp(ways).sum() == pytest.approx(np.exp(coarse), rel=1e-3)


def test_votes_of_zero_and_no_votes_are_the_same():
    nothing = np.zeros((1, len(VOTE_COLUMNS)), "float32")
    alpha = np.full((1, len(ANSWERS)), 3.0, "float32")
    missing = np.full_like(nothing, np.nan)
    np.testing.assert_allclose(ops.convert_to_numpy(log_likelihood(alpha, nothing)), 0, atol=1e-4)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(log_likelihood(alpha, nothing)), ops.convert_to_numpy(log_likelihood(alpha, missing))
    )


def test_the_right_expectation_is_the_likeliest():
    votes = {"disk-edge-on_yes": 30.0, "disk-edge-on_no": 10.0}
    at = [
        likelihood({"disk-edge-on_yes": 40 * p, "disk-edge-on_no": 40 * (1 - p)}, votes)[0, 1]
        for p in (0.25, 0.5, 0.75, 0.9)
    ]
    assert int(np.argmax(at)) == 2


def random_probabilities(n: int) -> np.ndarray:
    random = np.random.default_rng(n)
    return np.concatenate([random.dirichlet(np.ones(len(q.answers)), n) for q in TREE], axis=1).astype("float32")


def test_tree_probabilities_of_one_galaxy_by_hand():
    p = random_probabilities(1)
    given = {
        "smooth-or-featured_smooth": 0.3,
        "smooth-or-featured_featured-or-disk": 0.6,
        "smooth-or-featured_artifact": 0.1,
        "disk-edge-on_yes": 0.25,
        "disk-edge-on_no": 0.75,
        "has-spiral-arms_yes": 0.8,
        "has-spiral-arms_no": 0.2,
        "spiral-winding_tight": 0.5,
        "merging_none": 0.9,
        "how-rounded_round": 0.4,
    }
    for name, value in given.items():
        p[0, ANSWERS.index(name)] = value
    tree = dict(zip(ANSWERS, ops.convert_to_numpy(tree_probabilities(p))[0], strict=True))
    assert tree["smooth-or-featured_artifact"] == pytest.approx(0.1)
    assert tree["disk-edge-on_no"] == pytest.approx(0.6 * 0.75)
    assert tree["spiral-winding_tight"] == pytest.approx(0.6 * 0.75 * 0.8 * 0.5)
    assert tree["how-rounded_round"] == pytest.approx(0.3 * 0.4)
    # Asked of all who saw a galaxy, smooth or not.
    assert tree["merging_none"] == pytest.approx((0.3 + 0.6) * 0.9)


def test_tree_probabilities_on_tensors_are_those_in_numpy():
    p = random_probabilities(50)
    p[0, TREE.slices["smooth-or-featured"]] = [0, 0, 1]
    np.testing.assert_allclose(ops.convert_to_numpy(tree_probabilities(p)), tree_probabilities(p), atol=1e-6)
