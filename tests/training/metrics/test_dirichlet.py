"""Intervals of votes and the chance of being in front, on votes that are what the model says."""

import numpy as np
import pytest

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from training.metrics import votes as metrics
from training.metrics.dirichlet import covered, leading_probability


def votes_like(concentration: np.ndarray, volunteers: int, seed: int = 0) -> np.ndarray:
    """Votes [n, k] drawn from Dirichlet-multinomials [n, k]."""
    random = np.random.default_rng(seed)
    gamma = random.gamma(concentration)
    return random.multinomial(volunteers, gamma / gamma.sum(axis=1, keepdims=True)).astype(float)


@pytest.mark.parametrize("volunteers", [10, 43])
def test_intervals_of_a_model_that_is_right_cover_what_they_promise(volunteers):
    concentration = np.random.default_rng(1).gamma(1.0, 4.0, (4000, 3)) + 0.2
    inside = covered(votes_like(concentration, volunteers), concentration)
    assert inside.mean(axis=(0, 1)) == pytest.approx([0.5, 0.9], abs=0.015)
    # Not only on the average: rare answers, of which most galaxies have no vote, are covered as well.
    rare = concentration / concentration.sum(axis=1, keepdims=True) < 0.1
    assert inside[rare].mean(axis=0) == pytest.approx([0.5, 0.9], abs=0.03)


def test_intervals_of_an_overconfident_model_cover_too_little():
    concentration = np.full((2000, 2), 4.0)
    inside = covered(votes_like(concentration, 40), 10 * concentration)
    assert inside[..., 1].mean() < 0.75


def test_coverage_is_the_exact_chance_for_one_galaxy():
    # Two votes on two equal answers under a flat Dirichlet: 0, 1 and 2 are equally likely, a third each.
    inside = covered(np.array([[0.0, 2.0], [1.0, 1.0]]), np.ones((2, 2)), levels=[0.5])
    assert inside[0, 0, 0] == pytest.approx((1 / 3 - 1 / 4) * 3)
    assert inside[1, 0, 0] == pytest.approx(1)
    assert inside.mean(axis=1)[:, 0] == pytest.approx([0.25, 1])


def test_a_galaxy_without_votes_is_not_covered_nor_uncovered():
    assert np.isnan(covered(np.zeros((1, 3)), np.ones((1, 3)))).all()


@pytest.mark.parametrize("voters", [15, 40, 10_000])
def test_the_chance_of_being_in_front_is_that_of_draws(voters):
    random = np.random.default_rng(2)
    concentration = random.gamma(1.0, 3.0, (6, 4)) + 0.3
    which = concentration.argmax(axis=1)
    draws = [votes_like(np.tile(row, (20_000, 1)), voters).argmax(axis=1) for row in concentration]
    expected = [(drawn == best).mean() for drawn, best in zip(draws, which, strict=True)]
    assert leading_probability(concentration, which, np.full(6, voters)) == pytest.approx(expected, abs=0.04)


def test_a_class_is_surer_than_a_vote():
    assert leading_probability(np.array([[14.0, 6.0]]), np.array([0]), np.array([40]))[0] > 0.9


def test_coverage_is_measured_question_by_question_and_over_all():
    n, part = 800, TREE.slices["smooth-or-featured"]
    concentration = np.random.default_rng(3).gamma(2.0, 4.0, (n, len(ANSWERS))) + 0.2
    votes = np.full((n, len(VOTE_COLUMNS)), np.nan)
    votes[:, part] = votes_like(concentration[:, part], 30)
    votes[: n // 2, TREE.slices["bar"]] = votes_like(concentration[: n // 2, TREE.slices["bar"]], 5)
    p = np.concatenate(
        [concentration[:, s] / concentration[:, s].sum(axis=1, keepdims=True) for s in slices()], axis=1
    )
    found = metrics.measure(votes, p, concentration, resamples=200)
    for name in ("smooth-or-featured", "all"):
        for level in (50, 90):
            figure = found[f"{name}/coverage-{level}"]
            assert figure.n == n
            assert figure.low - 0.01 < level / 100 < figure.high + 0.01
    assert "bar/coverage-90" not in found, "five votes are too few"
    assert "merging/coverage-90" not in found, "not asked"
    # Probabilities that are right have an error that is noise, for fractions and for classes.
    for what in ("calibration", "class-calibration"):
        error, noise = (found[f"smooth-or-featured/{what}-{kind}"].value for kind in ("error", "noise"))
        assert error < 2 * noise


def slices():
    return TREE.slices.values()
