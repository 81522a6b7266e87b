"""Training itself, on forty-eight drawn galaxies and for a few steps."""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.model.classifier import Classifier
from training.fitting.batches import unanswered
from training.fitting.checkpoint import STATE
from training.fitting.fit import fit
from training.fitting.objective import Recipe
from training.fitting.optimisation import freeze

#: Two steps of eight galaxies.
SHORT = Recipe(epochs=1, steps=2, batch_size=8)

#: Two steps are over sooner than an optimised program for them is compiled.
COMPILE_FAST = ("--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true")

IN_ANOTHER_BACKEND = """
import sys
sys.modules["tensorflow"] = None  # as where it is not installed
import numpy as np
import keras
assert keras.backend.backend() == "jax"
from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from training.fitting.fit import Recipe, fit
galaxies, classifier = Galaxies.open(sys.argv[1]), Classifier()
before = [np.array(w) for w in classifier.encoder.get_weights()]
history = fit(classifier, [(galaxies, 1.0)], None, Recipe(epochs=1, steps=2, batch_size=8))
assert all(np.isfinite(value).all() for value in history.values()), history
assert any((np.array(w) != b).any() for w, b in zip(classifier.encoder.get_weights(), before))
print("votes", history["votes"][0])
"""


@pytest.fixture
def fresh():
    """A function that makes the same untrained classifier every time."""

    def make() -> Classifier:
        keras.utils.set_random_seed(1)
        return Classifier(survey="des")

    return make


def weights(part) -> np.ndarray:
    return np.concatenate([np.ravel(w) for w in part.get_weights()])


@pytest.fixture
def flux(sample, tmp_path) -> Galaxies:
    """Eight of the galaxies as flux, with pixels missing in a band."""
    with GalaxiesWriter(tmp_path / "flux", "flux") as writer:
        for galaxy in sample.select(np.arange(8)):
            image = galaxy.image[..., ::-1].astype("float32") / 50
            image[:10, :, 1] = np.nan
            writer.add(Galaxy(f"flux {galaxy.id}", galaxy.survey, image, galaxy.votes))
    return Galaxies.open(tmp_path / "flux")


def test_two_steps_change_every_part_of_the_network(fresh, sample, flux):
    """Colour pictures, flux and galaxies without votes train together."""
    classifier = fresh()
    parts = {"encoder": classifier.encoder, "decoder": classifier.decoder, "heads": classifier.heads}
    before = {name: weights(part) for name, part in parts.items()}
    sets = [(sample, 1.0), (flux, 1.0), (unanswered(sample), 0.5)]
    history = fit(classifier, sets, sample, replace(SHORT, contrast=0.5))
    assert set(history) >= {"contrast", "loss", "votes", "reconstruction", "divergence", "val_loss", "val_votes"}
    assert all(len(values) == 1 and np.isfinite(values).all() for values in history.values())
    for name, part in parts.items():
        assert (weights(part) != before[name]).any(), name
        assert np.isfinite(weights(part)).all(), name
    assert classifier.answer(sample.images)["anomaly_score"].min() < 1, "the anomaly score was fitted"
    assert len(classifier.reference_sample.sample) == len(sample), "the held-out galaxies are the reference sample"


def test_two_steps_under_jax(sample):
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_BACKEND, sample.about["path"]],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(COMPILE_FAST)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("votes")


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
def test_a_killed_training_ends_as_an_undisturbed_one(fresh, sample, tmp_path):
    """Batches, augmentation, dropout, learning rate, moments and the average of the weights all go on."""
    recipe = replace(SHORT, epochs=3, steps=1)
    seen: list[int] = []

    def stop_after_the_first(epoch: int, figures: dict[str, float]) -> None:
        seen.append(epoch)
        if epoch == 0:
            raise KeyboardInterrupt

    killed = fresh()
    with pytest.raises(KeyboardInterrupt):
        fit(killed, [(sample, 1.0)], None, recipe, tmp_path / "state", stop_after_the_first)
    keras.utils.set_random_seed(99)
    resumed = fresh()
    fit(resumed, [(sample, 1.0)], None, recipe, tmp_path / "state", lambda epoch, _: seen.append(epoch))
    assert seen == [0, 1, 2]
    again = fresh()
    assert fit(again, [(sample, 1.0)], None, recipe, tmp_path / "state", lambda epoch, _: seen.append(epoch)) == {}
    assert seen == [0, 1, 2], "what is trained is not trained again until it is saved"
    undisturbed = fresh()
    undisturbed.detail.is_fitted.assign(1.0)
    fit(undisturbed, [(sample, 1.0)], None, recipe)
    assert not undisturbed.detail.fitted, "it was learned for another z"
    for part in ("encoder", "decoder", "heads", "experts"):
        found = [weights(getattr(classifier, part)) for classifier in (undisturbed, resumed, again)]
        np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=2e-5, err_msg=part)
        np.testing.assert_allclose(found[2], found[1], rtol=1e-3, atol=2e-5, err_msg=part)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
def test_a_state_that_cannot_be_read_is_named(fresh, sample, tmp_path):
    state = tmp_path / "state" / STATE
    state.parent.mkdir()
    state.write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"epochs\.weights\.h5' cannot be read; remove the file"):
        fit(fresh(), [(sample, 1.0)], None, SHORT, tmp_path / "state")


@pytest.mark.parametrize("what", ["statistics", "encoder"])
def test_what_is_frozen_is_not_trained_and_can_be_freed(fresh, what):
    classifier = fresh()
    free = [variable.path for variable in classifier.trainable_weights]
    freeze(classifier, what)
    encoder = classifier.encoder
    norms = [layer for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    assert not any(layer.trainable for layer in norms), "a frozen normalisation uses its own statistics"
    assert bool(encoder.trainable_weights) == (what == "statistics")
    assert classifier.heads.trainable_weights
    freeze(classifier, "nothing")
    assert [variable.path for variable in classifier.trainable_weights] == free


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_loss_that_is_not_finite_ends_the_training(fresh, sample, tmp_path):
    votes = sample.votes.copy()
    votes[:, :3] = np.inf
    with pytest.raises(InputError, match=r"epoch 1 because its loss is not finite \(loss (nan|inf)"):
        fit(fresh(), [(sample.with_votes(votes), 1.0)], None, SHORT, tmp_path / "state")
    assert not list((tmp_path / "state").rglob("*.h5")), "no weights are kept to go on from"
