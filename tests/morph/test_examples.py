"""The query of a search by several examples."""

import numpy as np

from morph.examples import UNLIKE, combine


def test_examples_are_averaged_and_what_is_unlike_pushes_a_little():
    like, unlike = np.array([[1.0, 0, 0], [0, 1.0, 0]]), np.array([[0, 0, 1.0]])
    np.testing.assert_allclose(combine(like), [0.5**0.5, 0.5**0.5, 0])
    pushed = combine(like, unlike)
    np.testing.assert_allclose(pushed[2] / pushed[0], -UNLIKE / 0.5)
    np.testing.assert_allclose(np.linalg.norm(pushed), 1)
    np.testing.assert_allclose(combine(like, unlike[:0]), combine(like))
    np.testing.assert_allclose(combine(like, weights=[3, 1]), np.array([3, 1, 0]) / 10**0.5)
