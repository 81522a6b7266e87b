import numpy as np
import pytest

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from training.fitting.pseudo_labels import taught


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


def test_taught_galaxies_join_the_training_sets_with_their_teachers_votes(classifier, sample, tmp_path):
    from training.fitting.sets import Task, training_sets

    teacher = tmp_path / "teacher.keras"
    classifier.save(teacher)
    more = tmp_path / "more"
    sample.select(np.arange(6)).write(more)
    name = sample.about["path"]
    task = Task("pretrain", "student", "morph", [name], [f"{name}:2"], taught=[str(more)], teacher=str(teacher))
    (_, labelled), (blank, looked_at), (given, taught_share) = training_sets(task, seed=0)[0]
    assert np.isnan(blank.votes).all(), "unlabelled galaxies come without votes"
    np.testing.assert_allclose(given.votes, taught(classifier, sample.select(np.arange(6))).votes, rtol=1e-4)
    assert looked_at / taught_share == pytest.approx(2 * np.sqrt(len(sample) / 6)), "weights count for these sets too"
    assert (looked_at + taught_share) / labelled == pytest.approx(1 / 3), "a quarter of every batch"
