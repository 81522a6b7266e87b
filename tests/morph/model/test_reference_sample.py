"""The reference sample goes where the model's weights go."""

import h5py
import keras
import numpy as np
import pytest

from morph.decision_tree import ANSWERS
from morph.domain_shift.sample import Sample
from morph.model.classifier import Classifier
from morph.model.reference_sample import CAPACITY, ReferenceSample
from morph.stamps.image_statistics import NAMES


@pytest.fixture
def sample():
    """A function that draws a sample of so many galaxies."""

    def draw(count: int, latent: int = 64) -> Sample:
        random = np.random.default_rng(0)
        p = random.random((count, len(ANSWERS)))
        statistics = random.normal(size=(count, len(NAMES)))
        return Sample.of(random.normal(size=(count, latent)), p, statistics, "sdss", flux=False)

    return draw


def test_it_is_saved_and_copied_with_the_model(sample, tmp_path):
    kept = sample(50)
    model = Classifier()
    assert model.reference_sample.sample is None
    model.reference_sample.keep(kept)
    model.save(tmp_path / "model.keras")
    copy = Classifier()
    copy.set_weights(model.get_weights())
    for other in (keras.saving.load_model(tmp_path / "model.keras"), copy):
        np.testing.assert_array_equal(other.reference_sample.sample.table(), kept.table())
    copy.reference_sample.clear()
    assert copy.reference_sample.sample is None


def test_it_holds_as_many_as_there_is_room_for(sample):
    layer = ReferenceSample(8)
    layer.keep(sample(CAPACITY + 20, latent=8))
    assert len(layer.sample) == CAPACITY
    layer.keep(sample(5, latent=8))
    assert len(layer.sample) == 5


@pytest.mark.parametrize("stored", [None, (CAPACITY, 3)])
def test_without_a_stored_sample_it_loads_empty(stored, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        if stored is not None:
            file["0"] = np.ones(stored)
        layer = ReferenceSample(8)
        layer.load_own_variables(file)
    assert layer.sample is None
