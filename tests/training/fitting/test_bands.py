"""Galaxies with fewer bands are compared with galaxies that show the same."""

import keras
import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.model.anomaly import ALL_BANDS, BAND_SETS, RANGES, bands_of, range_of
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.registry import SHIPPED
from morph.simulation.degraded import degrade
from morph.votes import empty_votes
from training.fitting.anomaly_reference import NORMAL, _joined, _joining, learn_reference
from training.fitting.batches import unanswered
from training.fitting.injected import KINDS, inject, kinds_for

RED = 1


def draw(count: int, seed: int) -> np.ndarray:
    """Disks on noisy sky, float32 [n, 64, 64, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    flat, radius = random.uniform(0.4, 1, (count, 1, 1)), random.uniform(5, 7, (count, 1, 1))
    light = np.exp(-np.hypot(x, y / flat) / radius)[..., None] * random.uniform(0.8, 1.2, (count, 1, 1, 3))
    return (light + random.normal(0, 0.02, light.shape)).astype("float32")


def only(images: np.ndarray, bands: int) -> np.ndarray:
    return np.where(bands_of(bands), images, np.float32(np.nan))


def dataset(path, images: np.ndarray, seed: int, size: int = 64) -> Galaxies:
    kind = "composite" if images.dtype == np.uint8 else "flux"
    with GalaxiesWriter(path, kind, size) as writer:
        for i, image in enumerate(images):
            writer.add(Galaxy(f"{kind}-{seed}-{i}", "sdss", image, empty_votes()))
    return Galaxies.open(path)


def p_values(model: Classifier, images: np.ndarray) -> np.ndarray:
    return model.answer(images)["anomaly_score"]


def copy_of(model: Classifier) -> Classifier:
    return model.in_precision("float32")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Galaxies]:
    """Hosts and held-out galaxies in three bands."""
    folder = tmp_path_factory.mktemp("sets")
    return [dataset(folder / f"{seed}", draw(count, seed), seed) for seed, count in ((1, 40), (2, 100))]


@pytest.fixture(scope="module")
def injections() -> list[str]:
    """The kinds of anomaly that were injected for `fitted`."""
    return []


@pytest.fixture(scope="module")
def fitted(sets, injections) -> Classifier:
    """An untrained classifier with a reference from galaxies in three bands."""

    def counted(galaxies: Galaxies, kind: str, seed: int) -> np.ndarray:
        injections.append(kind)
        return inject(galaxies, kind, seed)

    keras.utils.set_random_seed(1)
    classifier = Classifier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.fitting.anomaly_reference.inject", counted)
        learn_reference(classifier, sets[1], sets[:1])
    return classifier


@pytest.mark.usefixtures("fitted")
def test_each_kind_of_anomaly_is_injected_once_for_all_sets_of_bands(injections):
    assert injections == list(kinds_for("flux"))


@pytest.mark.parametrize("bands", range(BAND_SETS))
def test_a_galaxy_is_as_normal_in_fewer_bands_as_in_all(fitted, bands):
    p = p_values(fitted, only(draw(100, seed=3), bands))
    assert 0.25 < np.median(p) < 0.75
    assert np.mean(p < 0.05) < 0.15


def test_a_survey_with_one_band_has_a_reference_of_its_own(fitted, tmp_path):
    model = copy_of(fitted)
    brighter = [only(3 * draw(40, seed) ** 2, RED) for seed in (4, 5, 6)]
    before = p_values(model, draw(20, seed=3)), p_values(model, brighter[2])
    learn_reference(
        model, dataset(tmp_path / "held", brighter[0], seed=4), [dataset(tmp_path / "hosts", brighter[1], seed=5)]
    )
    np.testing.assert_array_equal(p_values(model, draw(20, seed=3)), before[0], "the reference of three bands stays")
    assert np.median(before[1]) < 0.2
    assert 0.25 < np.median(p_values(model, brighter[2])) < 0.75


def test_faint_galaxies_are_as_normal_as_bright_ones(fitted, tmp_path):
    faint = degrade(dataset(tmp_path / "faint", draw(100, seed=8), seed=8), seed=1)
    assert np.mean(range_of(fitted.anomaly_features(faint)) < RANGES - 1) > 0.2
    assert np.mean(p_values(fitted, faint) < 0.05) < 0.15


def test_training_galaxies_join_the_reference_where_their_scores_are_alike(fitted, sets, tmp_path):
    alike = dataset(tmp_path / "alike", draw(100, seed=13), seed=13)
    others = dataset(tmp_path / "others", 3 * draw(100, seed=10) ** 2, seed=10)
    assert len(_joined(fitted, sets[1], alike, ALL_BANDS)) == 200
    assert len(_joined(fitted, sets[1], others, ALL_BANDS)) == 100
    assert len(_joined(fitted, sets[1], None, ALL_BANDS)) == 100


def test_only_labelled_galaxies_of_the_same_dataset_that_the_score_is_not_fitted_on_may_join(sets, tmp_path):
    votes = np.tile(empty_votes(), (NORMAL + 50, 1))
    votes[:, 0] = 1
    images = np.zeros((len(votes), 8, 8, 3), "float32")
    trained_on = dataset(tmp_path / "set", images, seed=11, size=8).with_votes(votes)
    held_out = trained_on.select(np.arange(10))
    assert len(_joining([held_out], [trained_on])["flux"]) == 20
    assert len(_joining([trained_on], [trained_on])["flux"]) == 50
    assert not _joining([sets[1]], [trained_on])
    assert not _joining([held_out], [unanswered(trained_on)])


def test_a_band_without_data_is_an_anomaly_only_in_pictures():
    assert kinds_for("composite") == KINDS
    assert set(KINDS) - set(kinds_for("flux")) == {"missing band"}
    assert set(KINDS) - set(kinds_for("flux", bands=1)) == {"missing band", "shifted band"}


@pytest.fixture(scope="module")
def simulated() -> np.ndarray:
    """Simulated galaxies that no model was trained on: SDSS and DES by turns."""
    from morph.simulation.sample import simulate_galaxy
    from morph.surveys import get_survey

    return np.stack(
        [simulate_galaxy(77, index, get_survey(("sdss", "des")[index % 2])).galaxy.image for index in range(120)]
    )


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load_model(SHIPPED)


@pytest.mark.parametrize("bands", range(BAND_SETS))
def test_the_weights_that_ship_find_galaxies_normal_in_any_bands(shipped, simulated, bands):
    p = p_values(shipped, only(shipped.central(simulated), bands))
    assert np.mean(p < 0.01) < 0.05
    assert 0.3 < np.median(p) < 0.75
