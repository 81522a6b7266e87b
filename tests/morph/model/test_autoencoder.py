"""The two sizes of the network, and what does not depend on the size."""

import keras
import numpy as np
import pytest

from morph.errors import InputError
from morph.model.autoencoder import get_architecture
from morph.model.classifier import Classifier
from morph.model.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def large() -> Classifier:
    keras.utils.set_random_seed(1)
    return Classifier(architecture="large")


def test_the_large_network_answers_as_the_small_one_does(large, galaxies, classifier):
    answers, others = large.answer(galaxies(2, size=160)), classifier.answer(galaxies(2))
    assert {name: value.shape for name, value in answers.items()} == {n: v.shape for n, v in others.items()}
    assert all(np.isfinite(value).all() for value in answers.values())
    assert large.reconstruct_images(galaxies(1, size=128)).shape == (1, 128, 128, 3)
    assert 8e6 < large.encoder.count_params() < 12e6


def test_a_model_keeps_its_architecture(large):
    copy = Classifier.from_config(large.get_config())
    assert (copy.architecture, copy.size) == ("large", 128)
    assert large.describe()["architecture"] == "large"


def test_a_wider_field_changes_neither_the_scale_nor_the_weight_of_the_galaxy(large, galaxies, classifier):
    wide = galaxies(2, size=128)
    scales = [np.ravel(Preprocessing()(part)["scale"]) for part in (wide, wide[:, 32:96, 32:96])]
    np.testing.assert_allclose(*scales, rtol=0.1)
    np.testing.assert_array_equal(large._window[:, 32:96, 32:96], classifier._window)


def test_there_are_two_architectures():
    with pytest.raises(InputError, match="Unknown architecture 'huge'; use small or large"):
        get_architecture("huge")
