"""Numbers to bytes: every code has its length, and gives back what its step allows."""

import numpy as np
import pytest

from morph.model.entropy_coding import DEAD_ZONE, LEVELS, STEPS, EntropyCoder

SPREAD = 40 * np.exp(-np.arange(60) / 20)


def numbers(count: int, seed: int) -> np.ndarray:
    """Numbers with long tails, the first ones largest."""
    return (np.random.default_rng(seed).laplace(size=(count, 60)) * SPREAD).astype("float32")


@pytest.fixture(scope="module")
def coder() -> EntropyCoder:
    return EntropyCoder(np.quantile(numbers(4000, 1), LEVELS, axis=0).T)


@pytest.mark.parametrize(("count", "length"), [(60, 15), (60, 30), (8, 2), (1, 1), (20, 160)])
def test_numbers_come_back_within_their_step(coder, count, length):
    given = numbers(50, 2)[:, :count]
    steps, codes = coder.encode(given, length)
    assert {len(code) for code in codes} == {length}
    found = coder.decode(steps, codes, count)
    error = np.abs(found - given) / STEPS[steps][:, None]
    assert error.max() <= 0.5 + DEAD_ZONE + 1e-3
    values = found / STEPS[steps][:, None]
    np.testing.assert_allclose(values, np.rint(values), atol=1e-3)


def test_more_bytes_have_a_finer_step_and_all_of_them_are_used(coder):
    given = numbers(200, 3)
    median = [np.median(coder.encode(given, length)[0]) for length in (10, 20, 40, 80)]
    assert median == sorted(median, reverse=True)
    assert len(set(median)) == 4
    # The best code of a Laplace distribution takes the entropy of its quantised values; this one a few per cent more.
    steps, _ = coder.encode(given, 30)
    step = STEPS[int(np.median(steps))]
    edges = np.arange(-3000, 3001) * step
    share = [np.diff(0.5 * (1 + np.sign(edges) * (1 - np.exp(-np.abs(edges) / s)))) for s in SPREAD]
    entropy = -sum((p[p > 0] * np.log2(p[p > 0])).sum() for p in share)
    assert 0.8 * entropy < 8 * 30 < 1.15 * entropy


def test_what_is_far_outside_training_is_cut_off_and_spoils_nothing_else(coder):
    given = numbers(3, 4)
    given[1, 5] = 1e9
    given[2] = 0
    steps, codes = coder.encode(given, 30)
    found = coder.decode(steps, codes, 60)
    others = np.arange(60) != 5
    assert np.abs(found[1, others] - given[1, others]).max() <= 0.61 * STEPS[steps[1]]
    assert 100 < found[1, 5] < 2000
    assert not found[2].any()


def test_any_bytes_are_some_code(coder):
    random = np.random.default_rng(5)
    codes = [random.bytes(30), bytes(30), b"\xff" * 30]
    assert np.isfinite(coder.decode(np.array([0, 20, 63]), codes, 60)).all()
