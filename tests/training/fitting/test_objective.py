"""The terms of the training objective."""

import numpy as np
from keras import ops

from training.fitting.objective import TEMPERATURE, contrastive_loss


def test_the_contrastive_term_is_the_log_probability_of_the_other_view():
    vectors = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T / TEMPERATURE
    expected = []
    for i in range(8):
        others = np.delete(likeness[i], i)
        expected.append(np.log(np.exp(others).sum()) - likeness[i, (i + 4) % 8])
    np.testing.assert_allclose(ops.convert_to_numpy(contrastive_loss(vectors)), expected, atol=1e-5)


def test_views_that_agree_cost_little_whatever_their_length():
    one = np.eye(4, dtype="float32")
    same, other = np.concatenate([one, 3 * one]), np.concatenate([one, one[::-1]])
    assert ops.mean(contrastive_loss(same)) < 0.1
    assert ops.mean(contrastive_loss(other)) > 4
