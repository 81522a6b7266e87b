import numpy as np
import pytest

from morph.questions import ANSWERS, TREE, VOTE_COLUMNS
from training.teacher import taught


def test_a_teacher_votes_as_volunteers_would_reach_each_question(classifier, sample):
    few = sample.select(np.arange(4))
    votes = taught(classifier, few, volunteers=10).votes
    assert votes.shape == (4, len(VOTE_COLUMNS))
    np.testing.assert_allclose(votes[:, TREE.slices["smooth-or-featured"]].sum(axis=1), 10, rtol=1e-5)
    featured = votes[:, ANSWERS.index("smooth-or-featured_featured-or-disk")]
    np.testing.assert_allclose(votes[:, TREE.slices["disk-edge-on"]].sum(axis=1), featured, rtol=1e-5)


def test_a_teacher_says_the_same_of_a_turned_galaxy(classifier, sample):
    few = sample.select(np.arange(3))
    upright = taught(classifier, few).votes
    few._columns["image"] = np.ascontiguousarray(np.rot90(few.images, axes=(1, 2)))
    np.testing.assert_allclose(taught(classifier, few).votes, upright, atol=1e-3)
    assert upright.sum() > 0


@pytest.mark.parametrize("kind", ["votes", "images"])
def test_the_galaxies_themselves_stay_as_they_are(classifier, sample, kind):
    few = sample.select(np.arange(2))
    before = getattr(few, kind).copy()
    taught(classifier, few)
    np.testing.assert_array_equal(getattr(few, kind), before)
