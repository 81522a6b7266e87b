"""The similarity head is fitted so that copies of a galaxy find each other."""

import numpy as np
import pytest
from keras import ops

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.votes import empty_votes, set_votes
from training.fitting import similarity
from training.fitting.adaptation import views_of
from training.fitting.similarity import fit_similarity


@pytest.fixture(scope="module")
def fitted(sample) -> Classifier:
    """A new classifier with a head fitted to the sample, whose first half comes twice: in two sets."""
    import keras

    keras.utils.set_random_seed(1)
    model = Classifier()
    assert fit_similarity(model, [(sample, 1.0), (sample.select(np.arange(24)), 1.0)], seed=3, steps=60) == len(sample)
    return model


def contrast(model: Classifier, sample: Galaxies) -> float:
    """How much larger the cosine of a turned copy and its original is than of the copy and the other class."""
    images = model.central(sample.images)
    vectors = model.answer(images)["similarity"]
    copies = model.answer(list(views_of(images))[2])["similarity"]
    other = np.arange(len(images))[:, None] % 2 != np.arange(len(images)) % 2
    cosines = copies @ vectors.T
    return float(np.diag(cosines).mean() - cosines[other].mean())


def test_turned_copies_are_near_their_originals_after_the_fit(fitted, classifier, sample):
    assert fitted.similarity.fitted
    assert contrast(fitted, sample) > contrast(classifier, sample) + 0.3


def test_nothing_but_the_head_changes(fitted, sample):
    import keras

    keras.utils.set_random_seed(1)
    before = Classifier()
    head = {id(weight) for weight in fitted.similarity.weights}
    for now, then in zip(fitted.weights, before.weights, strict=True):
        same = np.array_equal(ops.convert_to_numpy(now), ops.convert_to_numpy(then), equal_nan=True)
        assert same == (id(now) not in head), now.path


def test_galaxies_in_two_sets_are_one(sample):
    groups = similarity._groups([(sample.select(np.arange(30)), 3.0), (sample.select(np.arange(20, 48)[::-1]), 2.8)])
    assert [len(group) for group in groups] == [10, 20, 18]
    shares = np.array([2.0, 2.0, 1.8])
    assert [group.share for group in groups] == pytest.approx(similarity.OTHERS * shares), "simulated"
    (one, rows), (other, others) = groups[0].members
    assert one.ids[rows].tolist() == other.ids[others].tolist() == sample.ids[20:30].tolist()
    assert groups[2].members[0][0].ids[groups[2].members[0][1]].tolist() == sample.ids[30:][::-1].tolist()


def test_descriptions_follow_the_votes_where_there_are_any():
    uniform = np.concatenate([np.full(len(q.answers), 1 / len(q.answers)) for q in TREE])
    votes = np.stack([empty_votes(), set_votes(empty_votes(), {"smooth-or-featured_smooth": 1.0})])
    none, smooth = similarity._descriptions(np.stack([uniform, uniform]), votes)
    place = ANSWERS.index("smooth-or-featured_smooth")
    assert np.linalg.norm(none) == pytest.approx(1, abs=1e-5)
    # One vote counts as eight beside the model's eight: (8 / 3 + 8) / 16.
    ratio = (smooth[place] / smooth[place + 1]) ** 2
    assert ratio == pytest.approx((2 / 3) / (1 / 6), rel=1e-4)
    assert none[place] == pytest.approx(none[place + 1])


def test_one_galaxy_is_not_enough(classifier, sample):
    with pytest.raises(InputError, match="fitted to two galaxies or more; there are 1"):
        fit_similarity(classifier, [(sample.select(np.arange(1)), 1.0)])
