"""Sets that do not differ are not separated, and those that do are."""

import numpy as np
import pytest

from morph.domain_shift.two_samples import roc_area, two_sample_test


def test_two_halves_of_one_set_are_not_separated_and_the_interval_says_so():
    random = np.random.default_rng(0)
    found = [two_sample_test(*random.normal(size=(2, 90, 16)), seed=k) for k in range(60)]
    assert np.mean([test.auc for test in found]) == pytest.approx(0.5, abs=0.02)
    covered = [test.low <= 0.5 <= test.high for test in found]
    assert np.mean(covered) >= 0.9
    assert np.mean([test.high - test.low for test in found]) < 0.3, "wide enough is not enough"


def test_the_area_is_that_of_gaussians_a_known_distance_apart():
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 400, 5))
    second[:, 2] += np.sqrt(2)
    test = two_sample_test(first, second)
    assert test.low < 0.841 < test.high  # Phi(1)
    assert test.second.mean() > test.first.mean()


def test_a_change_of_spread_alone_is_seen():
    random = np.random.default_rng(2)
    first, second = random.normal(size=(2, 300, 8))
    assert two_sample_test(first, 1.6 * second).low > 0.6


def test_sets_of_very_different_size_and_a_constant_coordinate_are_no_trouble():
    random = np.random.default_rng(3)
    first, second = random.normal(size=(700, 6)), random.normal(size=(30, 6)) + 3
    first[:, 0] = second[:, 0] = 1
    assert two_sample_test(first, second).auc > 0.98


def test_ties_count_half():
    assert roc_area(np.zeros(4), np.zeros(3)) == 0.5
    assert roc_area(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == pytest.approx(0.875)
