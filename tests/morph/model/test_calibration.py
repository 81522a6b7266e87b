"""The layer between the heads and the answers."""

import keras
import numpy as np
import pytest
from keras import ops

from morph.decision_tree import ANSWERS, TREE
from morph.model.calibration import FEWEST, MOST, Calibration
from morph.model.heads import probabilities

RANDOM = np.random.default_rng(0)
CONCENTRATION = RANDOM.gamma(2.0, 2.0, (40, len(ANSWERS))).astype("float32") + 0.05


def disturbed() -> Calibration:
    """A layer with something to correct in every question, some of it extreme."""
    layer = Calibration()
    layer.temperature.assign(RANDOM.uniform(0.2, 3, len(TREE)))
    layer.offset.assign(RANDOM.normal(0, 2, len(ANSWERS)))
    layer.slope.assign(RANDOM.uniform(0.2, 3, len(TREE)))
    layer.shift.assign(RANDOM.normal(0, 3, len(TREE)))
    return layer


def test_a_fresh_one_corrects_nothing():
    assert Calibration().fresh
    assert not disturbed().fresh
    np.testing.assert_allclose(ops.convert_to_numpy(Calibration()(CONCENTRATION)), CONCENTRATION, rtol=1e-5)


def test_questions_still_sum_to_one_and_their_totals_stay_within_reason():
    corrected = ops.convert_to_numpy(disturbed()(CONCENTRATION))
    assert corrected.shape == CONCENTRATION.shape
    assert np.isfinite(corrected).all()
    assert (corrected > 0).all()
    p = ops.convert_to_numpy(probabilities(corrected))
    for part in TREE.slices.values():
        np.testing.assert_allclose(p[:, part].sum(axis=1), 1, rtol=1e-5)
        total = corrected[:, part].sum(axis=1)
        assert total.min() >= FEWEST * 0.999
        assert total.max() <= MOST * 1.001


def test_a_temperature_alone_keeps_the_order_of_the_answers():
    layer = Calibration()
    layer.temperature.assign(np.full(len(TREE), 2.5))
    corrected = ops.convert_to_numpy(layer(CONCENTRATION))
    for part in TREE.slices.values():
        assert (corrected[:, part].argsort(axis=1) == CONCENTRATION[:, part].argsort(axis=1)).all()


def test_no_gradient_reaches_it():
    assert disturbed().trainable_variables == []


def test_it_is_kept_with_a_classifier(tmp_path):
    from morph.model.classifier import Classifier

    made = Classifier()
    for layer in made.calibrations.values():
        for own, other in zip(layer.weights, disturbed().weights, strict=True):
            own.assign(other)
    made.save(tmp_path / "model.keras")
    read = keras.saving.load_model(tmp_path / "model.keras")
    for kind, layer in made.calibrations.items():
        for before, after in zip(layer.weights, read.calibrations[kind].weights, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(before), ops.convert_to_numpy(after))
    flux = RANDOM.normal(1, 1, (2, made.size, made.size, 3)).astype("float32")
    composite = RANDOM.integers(0, 256, flux.shape, "uint8")
    for image in (flux, composite):
        np.testing.assert_allclose(
            made.answer(image)["concentration"], read.answer(image)["concentration"], rtol=1e-4, atol=1e-5
        )


def test_a_file_from_before_there_was_a_calibration_leaves_it_fresh():
    layer = disturbed()
    layer.load_own_variables({})
    assert layer.temperature.shape == (len(TREE),)
    fresh = Calibration()
    fresh.load_own_variables({})
    assert np.asarray(fresh.offset) == pytest.approx(0)
