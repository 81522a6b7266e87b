"""What is read off a curve of accuracy against labels."""

import numpy as np
import pytest

from training.label_budget.label_curve import gain, labels_needed, rising

LABELS = np.array([50, 100, 300, 1000, 3000])


def test_a_rising_curve_stays_and_a_dent_is_levelled():
    curve = np.array([0.6, 0.7, 0.8, 0.85, 0.9])
    assert np.allclose(rising(curve), curve)
    assert np.allclose(rising(np.array([0.6, 0.8, 0.7, 0.9])), [0.6, 0.75, 0.75, 0.9])
    assert np.allclose(rising(np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])), [[0.8, 0.8, 0.8], [0.1, 0.2, 0.3]])


def test_labels_are_read_off_in_their_logarithm():
    curve = 0.5 + 0.05 * np.log(LABELS)
    wanted = 0.5 + 0.05 * np.log(np.array([70.0, 1300.0]))
    assert np.allclose(labels_needed(LABELS, np.tile(curve, (2, 1)), wanted), [70, 1300])
    assert labels_needed(LABELS, curve, np.array(0.99)) == np.inf
    assert labels_needed(LABELS, curve, np.array(0.1)) == 50


@pytest.mark.parametrize("exponent", [0.2, 0.5, 1.0])
def test_a_power_law_goes_on(exponent):
    def accuracy(n):
        return 1 - (0.04 + 0.9 * n**-exponent)

    expected = accuracy(3100.0) - accuracy(3000.0)
    assert gain(LABELS, accuracy(LABELS.astype(float)), np.full(5, 0.01)) == pytest.approx(expected, rel=0.1)


def test_noise_around_a_level_promises_nothing():
    random = np.random.default_rng(0)
    flat = 0.9 + 0.01 * random.normal(size=(500, 5))
    low, high = np.quantile(gain(LABELS, flat, np.full(5, 0.01)), [0.025, 0.975])
    assert low < 0 < high
    assert abs(low) < 0.02
    assert np.isnan(gain(LABELS[:1], flat[:, :1], np.array([0.01]))).all()
