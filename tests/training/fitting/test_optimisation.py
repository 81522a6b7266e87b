import keras
import numpy as np
import pytest

from training.fitting.optimisation import refresh_batch_statistics


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm", momentum=0.95)])


@pytest.fixture
def batches() -> list[tuple[np.ndarray, None]]:
    random = np.random.default_rng(0)
    return [(random.normal(3 + k, 2, (32, 4)).astype("float32"), None) for k in range(5)]


def test_statistics_become_the_median_over_all_batches(model, batches):
    norm = model.get_layer("norm")
    assert refresh_batch_statistics(model, batches, [model]) == 1
    expected = np.median([given.mean(axis=0) for given, _ in batches], axis=0)
    np.testing.assert_allclose(np.array(norm.moving_mean), expected, rtol=1e-4)
    variances = np.median([given.var(axis=0) for given, _ in batches], axis=0)
    np.testing.assert_allclose(np.array(norm.moving_variance), variances, rtol=1e-4)
    assert norm.momentum == 0.95, "training goes on as before"


def test_one_wild_batch_changes_little(model, batches):
    norm = model.get_layer("norm")
    refresh_batch_statistics(model, batches, [model])
    before = np.array(norm.moving_variance)
    refresh_batch_statistics(model, [*batches, (1000 * batches[0][0], None)], [model])
    assert (np.array(norm.moving_variance) < 2 * before).all()


def test_frozen_statistics_stay(model, batches):
    norm = model.get_layer("norm")
    norm.trainable = False
    assert refresh_batch_statistics(model, batches, [model]) == 0
    np.testing.assert_array_equal(np.array(norm.moving_mean), 0)
