"""Ways of adapting a model, on forty-eight drawn galaxies."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from morph.decision_tree import ANSWERS, VOTE_COLUMNS
from morph.errors import InputError
from training.evaluation.crossvalidate import cross_validate
from training.fitting.adapt import adapted_to, answer_turned, pseudo_labelled, reestimate, turned
from training.fitting.batches import unanswered
from training.fitting.fit import FINETUNING, fit


def kept(variables) -> list[np.ndarray]:
    """Copies of the values that variables have now."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def test_an_adapted_model_answers_as_its_parent_and_leaves_it(classifier, sample):
    child = adapted_to(classifier, "decals")
    assert (child.survey, classifier.survey) == ("decals", "sdss")
    few = sample.images[:4]
    assert np.allclose(child.answer(few)["probabilities"], classifier.answer(few)["probabilities"], atol=1e-6)


def test_the_eight_views_are_different_and_their_answer_has_no_direction(classifier, sample):
    image = sample.images[1:2]
    assert len({view.tobytes() for view in turned(np.random.default_rng(0).integers(0, 9, (1, 4, 4, 3)))}) == 8
    straight = answer_turned(classifier, image)["probabilities"]
    lying = answer_turned(classifier, np.rot90(image, axes=(1, 2)))["probabilities"]
    assert np.allclose(straight, lying, atol=1e-5)


def test_statistics_are_those_of_the_images_and_nothing_else_changes(classifier, sample):
    child = adapted_to(classifier, "des")
    many = np.concatenate([sample.images] * 3)
    weights = kept(child.encoder.trainable_weights)
    momentum = [layer.momentum for layer in child.encoder.layers if hasattr(layer, "momentum")]
    moving = np.concatenate([np.ravel(w) for w in kept(child.encoder.non_trainable_weights)])
    reestimate(child, many)
    once = np.concatenate([np.ravel(w) for w in kept(child.encoder.non_trainable_weights)])
    reestimate(child, many)
    again = np.concatenate([np.ravel(w) for w in kept(child.encoder.non_trainable_weights)])
    assert not np.allclose(moving, once)
    assert np.allclose(once, again, atol=1e-5), "the old statistics leave no trace"
    assert all((a == b).all() for a, b in zip(weights, kept(child.encoder.trainable_weights), strict=True))
    assert momentum == [layer.momentum for layer in child.encoder.layers if hasattr(layer, "momentum")]
    with pytest.raises(InputError, match="48 images are too few"):
        reestimate(child, sample.images)


def test_only_confident_answers_become_votes_and_the_tree_is_kept(classifier, sample, monkeypatch, probabilities_of):
    sure_disk = {"smooth-or-featured_featured-or-disk": 0.95, "smooth-or-featured_smooth": 0.05}
    unsure = {"smooth-or-featured_featured-or-disk": 0.6, "smooth-or-featured_smooth": 0.4}
    edge = {"disk-edge-on_yes": 0.99, "disk-edge-on_no": 0.01}
    p = probabilities_of(sure_disk | edge, unsure | edge)
    monkeypatch.setattr("training.fitting.adapt.answer_turned", lambda *_: {"probabilities": p})
    votes = pseudo_labelled(classifier, sample.select(np.arange(2)), volunteers=10).votes
    assert votes[0, VOTE_COLUMNS.index("disk-edge-on_yes")] == pytest.approx(9.9)
    assert np.isnan(votes[1]).all(), "nothing is said of the disk of a galaxy that may have none"
    assert np.isnan(votes[0, ANSWERS.index("bar_no")])


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
def test_early_layers_move_less_when_their_rate_falls(classifier, sample):
    child = adapted_to(classifier, "des")
    ends = [[layer for layer in child.encoder.layers if layer.trainable_weights][end] for end in (0, -1)]
    before = [kept(layer.trainable_weights)[0] for layer in ends]
    recipe = replace(FINETUNING, epochs=1, steps=2, batch_size=8, layer_decay=0.5, weight_decay=0.0)
    fit(child, [(sample, 1.0)], None, recipe)
    after = [kept(layer.trainable_weights)[0] for layer in ends]
    moved = [np.abs(a - b).mean() for a, b in zip(after, before, strict=True)]
    assert 0 < moved[0] < 0.01 * moved[1]


def test_a_cross_validation_needs_labels_and_a_galaxy_for_every_fold(classifier, sample):
    few = sample.select(np.arange(6))
    with pytest.raises(InputError, match="6 labelled galaxies, fewer than 7 folds"):
        cross_validate(classifier, few, 7)
    with pytest.raises(InputError, match="no labelled galaxies"):
        cross_validate(classifier, unanswered(few), 5)
