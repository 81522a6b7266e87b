"""Answers are expected to be worth less where the model is less sure, and by how much."""

import numpy as np
import pytest

from morph.decision_tree import TREE
from morph.domain_shift.compare import compare
from morph.domain_shift.expected_accuracy import FEWEST_JUDGED, expected_accuracies, fit_curves
from morph.domain_shift.report import lines


def test_on_harder_galaxies_less_is_expected_about_as_much_less_as_is_true(drawn):
    reference, new = drawn(400), drawn(400, seed=1, ease=0.4)
    found = expected_accuracies(reference, new)
    assert all(question.drops for question in found)
    truth = dict(zip([question.name for question in TREE], new.correct.mean(axis=0), strict=True))
    errors = [question.expected - truth[question.question] for question in found]
    assert np.mean(errors) == pytest.approx(0, abs=0.03)
    assert np.abs(errors).max() < 0.12
    shift = compare(reference, new)
    assert lines(shift)[-1].startswith(f"The accuracy is expected to drop on {shift.questions[0].question}, ")


def test_on_galaxies_like_the_reference_nothing_drops(drawn):
    dropping = [q.drops for q in expected_accuracies(drawn(400), drawn(400, seed=1))]
    assert sum(dropping) <= 2, "a 95 % interval leaves out the truth now and then"


def test_the_question_whose_confidence_fell_comes_first(drawn):
    new = drawn(300, seed=1)
    new.confidence[:, 3] = 0.5
    assert expected_accuracies(drawn(300), new)[0].question == list(TREE)[3].name


def test_confidence_is_taken_as_it_proved_and_not_at_its_word():
    random = np.random.default_rng(0)
    log_odds = random.normal(2, 1, 3000)
    right = random.random(3000) < 1 / (1 + np.exp(-(0.5 * log_odds - 0.3)))
    (curve,) = fit_curves(log_odds, right.astype(float), np.ones((1, 3000)))
    assert curve == pytest.approx([-0.3, 0.5], abs=0.15)


def test_a_question_that_too_few_were_judged_on_is_left_out(drawn):
    reference = drawn(200)
    reference.correct[FEWEST_JUDGED - 1 :, 0] = np.nan
    questions = [q.question for q in expected_accuracies(reference, drawn(200, seed=1))]
    assert next(iter(TREE)).name not in questions
    assert len(questions) == len(TREE) - 1


def test_a_question_that_was_always_answered_rightly_is_not_a_trouble(drawn):
    reference = drawn(100)
    reference.correct[:, 0] = 1
    first = next(q for q in expected_accuracies(reference, drawn(100, seed=1)) if q.question == next(iter(TREE)).name)
    assert first.reference == 1
    assert 0.9 < first.expected <= 1
