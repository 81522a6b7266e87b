"""The components of codes: principal ones, whichever way galaxies are turned, and kept by fine-tuned models."""

import numpy as np
import pytest
from keras import ops

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.model.classifier import Classifier
from morph.model.codes import MOST_NUMBERS
from morph.votes import empty_votes
from training.fitting.codes import FEWEST, _components, fit_codes
from training.fitting.fit import fit_last

COUNT = 240


@pytest.fixture(scope="module")
def disks(tmp_path_factory) -> Galaxies:
    """Exponential disks, all elongated along the rows, with little noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    path = tmp_path_factory.mktemp("disks") / "set"
    with GalaxiesWriter(path, "flux", 64) as writer:
        for number in range(COUNT):
            r = np.hypot(x - random.normal(), (y - random.normal()) / random.uniform(0.3, 0.9))
            light = np.exp(-r / random.uniform(5, 9))[..., None] * np.array([0.6, 1.0, 1.3])
            image = (light + random.normal(0, 0.01, light.shape)).astype("float32")
            writer.add(Galaxy(f"{number}", "des", image, empty_votes()))
    return Galaxies.open(path)


@pytest.fixture(scope="module")
def fitted(disks) -> Classifier:
    model = Classifier(survey="des")
    assert fit_codes(model, [disks.select(np.arange(100)), disks.select(np.arange(100, COUNT))]) == COUNT
    return model


def test_components_are_orthonormal_and_ordered_by_what_they_explain(fitted, disks):
    basis = ops.convert_to_numpy(fitted.codes.basis)
    np.testing.assert_allclose(basis.T @ basis, np.eye(MOST_NUMBERS), atol=1e-4)
    images = ops.convert_to_numpy(fitted.preprocessing(disks.images)["image"])
    numbers = fitted.code_numbers(disks.images)["numbers"]
    errors = [
        np.square(ops.convert_to_numpy(fitted.codes.reconstruct(numbers[:, :k])) - images).mean()
        for k in (1, 8, 32, 100, 200)
    ]
    assert errors == sorted(errors, reverse=True)
    noise = np.square(ops.convert_to_numpy(fitted.preprocessing(disks.images)["sigma"])).mean()
    assert errors[2] < 1.5 * noise


def test_a_turned_galaxy_is_coded_as_well(fitted, disks):
    def error(images: np.ndarray) -> float:
        stretched = ops.convert_to_numpy(fitted.preprocessing(images)["image"])
        numbers = fitted.code_numbers(images)["numbers"][:, :16]
        return float(np.square(ops.convert_to_numpy(fitted.codes.reconstruct(numbers)) - stretched).mean())

    images = disks.images[:60]
    straight = error(images)
    for turned in (np.rot90(images, axes=(1, 2)), images[:, ::-1], images.transpose(0, 2, 1, 3)):
        assert error(np.ascontiguousarray(turned)) == pytest.approx(straight, rel=0.02)


def test_the_weights_decide_whose_detail_comes_first():
    random = np.random.default_rng(1)
    coefficients = random.normal(0, 0.01, (400, 8, 8, 3)).astype("float32")
    coefficients[:200, 2, 2, 0] += random.normal(0, 1, 200)
    coefficients[200:, 4, 4, 1] += random.normal(0, 2, 200)
    for weights, first in ((np.r_[np.full(200, 9.0), np.ones(200)], (2, 2, 0)), (np.ones(400), (4, 4, 1))):
        component = _components(coefficients, weights, 3)[:, 0].reshape(8, 8, 3)
        assert component[first] == pytest.approx(1, abs=0.01)


def test_the_same_seed_gives_the_same_components(fitted, disks):
    other = Classifier(survey="des")
    fit_codes(other, [disks.select(np.arange(100)), disks.select(np.arange(100, COUNT))])
    assert other.codes.digest == fitted.codes.digest


def test_a_training_fits_them_once(disks):
    model = Classifier(survey="des")
    assert fit_codes(model, [disks.select(np.arange(FEWEST - 1))]) == 0
    assert not model.codes.fitted
    fit_last(model, [disks], [], 0)
    assert model.codes.fitted
    digest = model.codes.digest
    fit_last(model, [disks.select(np.arange(FEWEST))], [], 0)
    assert model.codes.digest == digest, "a fine-tuned model reads the codes of its parent"
