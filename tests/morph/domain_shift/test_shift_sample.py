"""A sample survives its ways into weights and over a network."""

import numpy as np
import pytest

from morph.decision_tree import ANSWERS, TREE
from morph.domain_shift.sample import Sample
from morph.stamps.image_statistics import NAMES


def test_a_table_holds_everything(drawn):
    sample = drawn(7)
    np.testing.assert_array_equal(Sample.from_table(sample.table()).table(), sample.table().astype("float32"))


def test_a_text_holds_three_digits_of_everything_and_what_is_unknown(drawn):
    sample = drawn(40)
    sample.correct[::2] = np.nan
    back = Sample.from_text(sample.to_text())
    np.testing.assert_allclose(back.table(), sample.table(), rtol=2e-3, atol=1e-3)
    assert back.surveys == sample.surveys == ["sdss"]


@pytest.mark.parametrize("text", ["", "none of ours", "bm9uZSBvZiBvdXJz"])
def test_a_text_that_is_not_a_sample_is_refused(text):
    with pytest.raises(ValueError, match="not a sample"):
        Sample.from_text(text)


def test_a_question_is_put_where_the_answers_before_lead_to_it():
    p = np.concatenate([np.full((2, len(q.answers)), 1 / len(q.answers)) for q in TREE], axis=1)
    smooth = [ANSWERS.index(f"smooth-or-featured_{name}") for name in ("smooth", "featured-or-disk", "artifact")]
    p[0, smooth], p[1, smooth] = [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]
    sample = Sample.of(np.zeros((2, 3)), p, np.zeros((2, len(NAMES))), "des", flux=True)
    rounded, edge_on = ([q.name for q in TREE].index(name) for name in ("how-rounded", "disk-edge-on"))
    np.testing.assert_array_equal(np.isfinite(sample.confidence[:, rounded]), [True, False])
    np.testing.assert_array_equal(np.isfinite(sample.confidence[:, edge_on]), [False, True])
    assert np.isnan(sample.correct).all()


def test_the_numbers_that_models_keep_stand_for_the_same_surveys_as_ever(drawn):
    assert [drawn(1, survey=number).surveys for number in range(4)] == [["sdss"], ["des"], ["decals"], ["lsst"]]


def test_an_unknown_survey_has_no_name():
    p = np.zeros((1, len(ANSWERS)))
    assert Sample.of(np.zeros((1, 3)), p, np.zeros((1, len(NAMES))), "skymapper", flux=True).surveys == []
