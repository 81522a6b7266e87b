"""Adapting a model, and pseudo-labels, on forty-eight drawn galaxies."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.errors import InputError
from training.evaluation.crossvalidate import cross_validate
from training.fitting.adaptation import adapted_to, pseudo_label, refit, views_of
from training.fitting.batches import unanswered
from training.fitting.fit import fit
from training.fitting.objective import FINETUNING
from training.metrics.votes import measure


def kept(variables) -> list[np.ndarray]:
    """Copies of the values that variables have now."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def test_an_adapted_model_answers_as_its_parent_and_leaves_it(classifier, sample):
    child = adapted_to(classifier, "decals")
    assert (child.survey, classifier.survey) == ("decals", "sdss")
    few = sample.images[:4]
    assert np.allclose(child.answer(few)["probabilities"], classifier.answer(few)["probabilities"], atol=1e-6)


def test_the_eight_views_are_different():
    image = np.random.default_rng(0).integers(0, 9, (1, 4, 4, 3))
    assert len({view.tobytes() for view in views_of(image)}) == 8


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


def likelihood(classifier, sample) -> float:
    answers = classifier.answer(sample.images)
    figures = measure(sample.votes, answers["probabilities"], answers["concentration"], resamples=10)
    return figures["smooth-or-featured/log-likelihood"].value


def answers(classifier, sample) -> np.ndarray:
    return classifier.answer(sample.images)["probabilities"]


def test_the_heads_learn_and_the_rest_stays(classifier, sample):
    child = adapted_to(classifier, "des")
    assert refit(child, [sample], strength=1.0) == len(sample)
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(classifier, part).get_weights(), getattr(child, part).get_weights(), strict=True)
        assert all((a == b).all() for a, b in pairs), part
    assert likelihood(child, sample) > likelihood(classifier, sample) + 0.5


def test_the_tighter_they_are_held_the_less_their_answers_move(classifier, sample):
    before = answers(classifier, sample)
    change = []
    for strength in (1.0, 1e6):
        child = adapted_to(classifier, "des")
        refit(child, [sample], strength)
        change.append(np.abs(answers(child, sample) - before).max())
        assert all(weight.regularizer is None for weight in child.heads.trainable_variables)
    assert change[1] < change[0] / 3


def test_the_same_seed_gives_the_same_answers(classifier, sample):
    one, two = (adapted_to(classifier, "des") for _ in range(2))
    for child in (one, two):
        refit(child, [sample], seed=3)
    asked = TREE.slices["smooth-or-featured"]
    np.testing.assert_allclose(answers(one, sample)[:, asked], answers(two, sample)[:, asked], atol=0.02)


def test_a_class_counts_as_many_votes_where_that_is_asked(classifier, sample):
    asked = TREE.slices["smooth-or-featured"]
    classes = np.zeros_like(sample.votes)
    classes[:, ANSWERS.index("smooth-or-featured_featured-or-disk")] = 1
    featured = sample.with_votes(classes, "a class each")
    moved = []
    for volunteers in (1.0, 20.0):
        child = adapted_to(classifier, "des")
        refit(child, [featured], 1000.0, volunteers=volunteers)
        moved.append(answers(child, sample)[:, asked][:, 1].mean())
    assert answers(classifier, sample)[:, asked][:, 1].mean() < moved[0] < moved[1] - 0.1


def test_without_votes_nothing_changes(classifier, sample):
    child = adapted_to(classifier, "des")
    assert refit(child, [unanswered(sample)]) == 0
    np.testing.assert_array_equal(answers(child, sample), answers(classifier, sample))


def test_pseudo_labels_are_votes_as_volunteers_would_reach_each_question(classifier, sample):
    few = sample.select(np.arange(4))
    votes = pseudo_label(classifier, few, volunteers=10).votes
    assert votes.shape == (4, len(VOTE_COLUMNS))
    np.testing.assert_allclose(votes[:, TREE.slices["smooth-or-featured"]].sum(axis=1), 10, rtol=1e-5)
    featured = votes[:, ANSWERS.index("smooth-or-featured_featured-or-disk")]
    np.testing.assert_allclose(votes[:, TREE.slices["disk-edge-on"]].sum(axis=1), featured, rtol=1e-5)


def test_pseudo_labels_do_not_depend_on_how_a_galaxy_is_rotated(classifier, sample):
    few = sample.select(np.arange(3))
    upright = pseudo_label(classifier, few).votes
    turned = few.with_columns(image=np.ascontiguousarray(np.rot90(few.images, axes=(1, 2))))
    np.testing.assert_allclose(pseudo_label(classifier, turned).votes, upright, atol=1e-3)
    assert upright.sum() > 0


@pytest.mark.parametrize("kind", ["votes", "images"])
def test_the_galaxies_themselves_stay_as_they_are(classifier, sample, kind):
    few = sample.select(np.arange(2))
    before = getattr(few, kind).copy()
    pseudo_label(classifier, few)
    np.testing.assert_array_equal(getattr(few, kind), before)


def test_pseudo_labelled_galaxies_join_the_training_sets(classifier, sample, tmp_path):
    from training.fitting.sets import Task, training_sets

    teacher = tmp_path / "teacher.keras"
    classifier.save(teacher)
    more = tmp_path / "more"
    sample.select(np.arange(6)).write(more)
    name = sample.about["path"]
    task = Task(
        "pretrain", "student", "morph", [name], [f"{name}:2"], pseudo_labelled=[str(more)], teacher=str(teacher)
    )
    (_, labelled), (blank, blank_share), (given, given_share) = training_sets(task, seed=0)[0]
    assert np.isnan(blank.votes).all(), "unlabelled galaxies come without votes"
    np.testing.assert_allclose(given.votes, pseudo_label(classifier, sample.select(np.arange(6))).votes, rtol=1e-4)
    assert blank_share / given_share == pytest.approx(2 * np.sqrt(len(sample) / 6)), "weights count for these sets too"
    assert (blank_share + given_share) / labelled == pytest.approx(1 / 3), "a quarter of every batch"
