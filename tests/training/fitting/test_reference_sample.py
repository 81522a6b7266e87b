"""Remembering the galaxies of a training, and comparing others with them."""

import numpy as np
import pytest

from morph.decision_tree import TREE
from morph.domain_shift.compare import NO_REFERENCE_SAMPLE, compare
from morph.domain_shift.report import lines
from morph.model.classifier import Classifier
from training.fitting import reference_sample as shift
from training.fitting.batches import unanswered
from training.fitting.reference_sample import correct_answers, shift_of, store_reference_sample
from training.metrics.votes import measure
from training.reports.report import write_report


@pytest.fixture(scope="module")
def model() -> Classifier:
    return Classifier(survey="des")


def test_a_survey_looks_like_itself_and_not_like_its_blurred_copy(model, sample):
    store_reference_sample(model, sample)
    blurred = np.stack([_blurred(image) for image in sample.images])
    other = sample.with_columns(image=blurred)
    assert shift_of(model, sample).embedding.low <= 0.5
    shift = shift_of(model, other)
    assert "blurrier" in [each.direction for each in shift.statistics if each.is_significant]
    assert shift.pixels.low > 0.8
    assert "48 simulated galaxies of the training set" in lines(shift)[0]


def _blurred(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (3, 3, 0))


def test_small_sets_are_sampled_whole_and_large_ones_share_the_room(monkeypatch):
    monkeypatch.setattr(shift, "CAPACITY", 100)
    assert shift._shares([10, 500, 90]) == [10, 45, 45]
    assert shift._shares([10, 20]) == [10, 20]
    assert shift._shares([]) == []


def test_what_is_right_is_what_the_accuracy_counts(sample, answers_for):
    answers = answers_for(sample, skill=0.7)
    right = correct_answers(sample.votes, answers["probabilities"])
    figures = measure(sample.votes, answers["probabilities"], resamples=10)
    for k, question in enumerate(TREE):
        if f"{question.name}/accuracy" in figures:
            assert np.nanmean(right[:, k]) == pytest.approx(figures[f"{question.name}/accuracy"].value)
        else:
            assert np.isnan(right[:, k]).all()


def test_without_galaxies_the_parents_sample_is_dropped(model, sample):
    assert store_reference_sample(model, sample.select(np.arange(12))) == 12
    assert "from the 12 of the model's reference sample" in shift_of(model, sample)
    assert store_reference_sample(model) == 0
    assert shift_of(model, sample) == NO_REFERENCE_SAMPLE


def test_a_report_says_how_far_its_galaxies_are(model, sample, tmp_path):
    store_reference_sample(model, sample)
    page = write_report(tmp_path / "report.html", classifier=model, galaxies=sample).read_text()
    assert "Is this survey too different?" in page
    assert "Expected accuracy" in page


def test_a_comparison_needs_no_votes(model, sample):
    store_reference_sample(model, unanswered(sample))
    found = compare(model.reference_sample.sample, shift.sample(model, sample))
    assert "too few galaxies to estimate the accuracy on any question" in lines(found)[-1]
