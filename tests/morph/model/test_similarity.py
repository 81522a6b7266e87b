"""The similarity vector: a unit vector for every galaxy, whatever its image and the state of the head."""

import numpy as np
from keras import ops

from morph.model.similarity import SIMILARITY_SIZE, WIDTH, Similarity, unit


def test_every_galaxy_has_a_unit_vector(classifier, galaxies):
    images = galaxies(5)
    images[1], images[2, :30], images[3, ..., 1] = np.nan, np.nan, np.nan
    vectors = classifier.answer(images)["similarity"]
    assert vectors.shape == (5, SIMILARITY_SIZE)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert classifier.describe()["similarity_size"] == SIMILARITY_SIZE


def test_a_vector_without_direction_gets_one():
    np.testing.assert_allclose(unit(ops.zeros((1, 4))), [[0.5] * 4])
    np.testing.assert_allclose(
        unit(ops.convert_to_tensor([[3.0, 4.0], [-5.0, 0.0]])), [[0.6, 0.8], [-1, 0]], rtol=1e-6
    )


def test_the_layers_that_are_set_are_computed():
    head = Similarity(2, 1)
    assert not head.fitted
    shapes = ((3, WIDTH), (WIDTH,), (WIDTH, SIMILARITY_SIZE), (SIMILARITY_SIZE,), (SIMILARITY_SIZE,))
    kernels = [np.zeros(shape, "float32") for shape in shapes]
    # The first two hidden units read the first feature and the embedding, the others nothing.
    kernels[0][0, 0], kernels[0][2, 1], kernels[1][1] = 1, 1, 0.5
    kernels[2][0, 0], kernels[2][1, 1], kernels[3][2] = 2, 1, -1
    kernels[4][3] = -1
    head.set_layers(*kernels)
    assert head.fitted
    found = ops.convert_to_numpy(head(np.float32([[3, 7], [-1, 7]]), np.float32([[0.5], [0]])))
    expected = np.array([[6, 1, -1], [0, 0.5, -1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    # The centre adds one along the fourth axis, so that the length is the root of two.
    np.testing.assert_allclose(found[:, :3], expected / np.sqrt(2), rtol=1e-5)
    np.testing.assert_allclose(found[:, 3], np.sqrt(0.5), rtol=1e-5)
    assert not found[:, 4:].any()
