"""The detail decoder learns against critics, and nothing else of the classifier changes."""

from pathlib import Path

import click
import keras
import numpy as np
import pytest
from keras import ops

from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.detail import light
from morph.model.sampling import choose_decoder
from morph.model.store import load_model
from training.fitting.detail import DetailRecipe, Views, fit_detail, learn_detail
from training.fitting.detail_losses import Critic, posterior_draw, structure
from training.fitting.sets import Task, training_sets
from training.fitting.sky_noise import SkyNoise

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")

RECIPE = DetailRecipe(epochs=2, steps=1, batch=6, average=0.5)


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory) -> Path:
    """Three datasets, a model that is trained on the first, and that model with detail, of which the learning was
    stopped once."""
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("detail")
    sample.write(folder / "blobs")
    keras.utils.set_random_seed(1)
    Classifier().save(folder / "model.keras")
    (folder / ".learned-of-another-model").mkdir()

    def stop(text, **_):
        if text.startswith("Detail, epoch 1"):
            raise KeyboardInterrupt

    # A few steps run sooner as they are than compiled.
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click, "echo", stop)
            with pytest.raises(KeyboardInterrupt):
                learn_detail(folder / "model.keras", folder / "learned.keras", task(folder), RECIPE, seed=3)
        assert len(list(folder.glob(".learned-*"))) == 1, "the state, and no other"
        learn_detail(folder / "model.keras", folder / "learned.keras", task(folder), RECIPE, seed=3)
    finally:
        tf.config.run_functions_eagerly(False)
    return folder


def task(folder: Path) -> Task:
    return Task("detail", "", "", [f"{folder / 'blobs'}:2"])


@pytest.fixture(scope="module")
def model(folder) -> Classifier:
    """Before it has learned."""
    return load_model(folder / "model.keras")


@pytest.fixture(scope="module")
def learned(folder) -> Classifier:
    return load_model(folder / "learned.keras")


@pytest.mark.usefixtures("uncompiled")
def test_nothing_but_the_detail_decoder_changes(model, learned, sample):
    assert (choose_decoder(model), choose_decoder(learned)) == ("plain", "detail")
    assert learned.about["detail"] == {"trained_on": ["blobs"], "epochs": 2, "steps": 1}
    own = {id(weight) for weight in learned.detail.weights}
    others = [(now, then) for now, then in zip(learned.weights, model.weights, strict=True) if id(now) not in own]
    assert len(others) > 100
    for now, then in others:
        np.testing.assert_array_equal(ops.convert_to_numpy(now), ops.convert_to_numpy(then), err_msg=now.path)
    stamps = sample.images[:4]
    flux = ops.convert_to_tensor(np.random.default_rng(0).normal(1, 1, (1, 64, 64, 3)).astype("f4"))
    width = ops.ones(1) * float("nan")
    for now, then in (
        (learned.answer(stamps), model.answer(stamps)),
        (learned.reconstruct(flux), model.reconstruct(flux)),
        (learned.restore(flux, width, width), model.restore(flux, width, width)),
    ):
        for name, value in then.items():
            np.testing.assert_array_equal(ops.convert_to_numpy(now[name]), ops.convert_to_numpy(value), err_msg=name)


@pytest.mark.usefixtures("uncompiled")
def test_an_interrupted_run_ends_as_one_that_was_not(folder, model, learned):
    assert not list(folder.glob(".learned-*"))
    sets, _ = training_sets(task(folder), 3)
    before = [(weight, weight.trainable) for weight in model.weights]
    history = fit_detail(model, sets, RECIPE, 3)
    assert {len(values) for values in history.values()} == {2}
    assert set(history) == {"loss", "critics", "deceived", "features", "structure", "light"}
    assert [(weight, weight.trainable) for weight in model.weights] == before
    assert np.abs(model.detail.last[0]).max() > 0
    for now, then in zip(learned.detail.weights, model.detail.weights, strict=True):
        np.testing.assert_allclose(now, then, atol=2e-5, err_msg=now.path)


def test_no_gradient_of_one_side_reaches_the_other():
    """The critics' weights have no part in the loss that the detail decoder is to lower."""
    tf = pytest.importorskip("tensorflow")
    critic = Critic(5)
    maps = tf.random.normal((2, 4, 4, 5), seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        held, free = ops.sum(critic(maps, fixed=True)), ops.sum(critic(maps))
    kernel = critic.convolutions[0][0].value
    assert tape.gradient(held, kernel) is None
    assert np.abs(tape.gradient(free, kernel)).max() > 0
    assert np.abs(tape.gradient(held, maps)).max() > 0


def test_structure_is_measured_at_its_own_scale_and_place():
    image = np.zeros((1, 64, 64, 3), "f4")
    y, x = np.mgrid[:16, :64]
    image[0, 48:] = (0.3 * np.where((x + y) % 2, 1, -1))[..., None]
    fine, middle, coarse = (ops.convert_to_numpy(each)[0] for each in structure(image))
    assert np.exp(fine[3, :, :3]) == pytest.approx(0.09, rel=1e-3)
    assert np.exp(fine[3, :, 3:]).max() < 2e-5, "all bands alike"
    assert np.exp([fine[:3].max(), middle.max(), coarse.max()]).max() < 2e-5
    assert float(ops.max(light(ops.convert_to_tensor(image) - 0.3))) == 0


def test_sky_noise_is_drawn_as_it_was_measured():
    """Noise with known correlations of pixels and bands, on half of the images beside bright sources."""
    random = np.random.default_rng(0)
    kernel = np.zeros((7, 7))
    kernel[3, 2:5] = 0.3, 0.8, 0.3
    truth = SkyNoise(kernel / np.linalg.norm(kernel), np.array([[1.5, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]]))
    images = 0.02 * truth.draw(random, 400, 40)
    images[::2, 2:6, 2:6] += 5.0
    found = SkyNoise.measure(images, np.full_like(images, 0.02), np.ones_like(images))
    np.testing.assert_allclose(found.scatter, truth.scatter, rtol=0.05)
    np.testing.assert_allclose(found.kernel, truth.kernel, atol=0.06)
    np.testing.assert_allclose(found.bands, truth.bands, atol=0.1)
    drawn = found.draw(random, 50, 40)
    assert drawn.std(axis=(0, 1, 2)) == pytest.approx(truth.scatter, rel=0.05)
    white = SkyNoise.measure(images[:3], np.ones_like(images[:3]), np.zeros_like(images[:3]))
    np.testing.assert_array_equal(white.bands, np.eye(3), err_msg="of too few patches nothing is measured")


def test_galaxies_without_data_are_left_out(classifier, sample):
    flux = np.full((len(sample), 96, 96, 3), np.nan, "f4")
    broken = sample.with_columns(image=flux)
    with pytest.raises(InputError, match="no galaxies to learn detail from"):
        Views(classifier, [(broken, 1.0)], 1, 2, 0)
    given, _ = Views(classifier, [(broken, 1.0), (sample, 1.0)], 1, 4, 0)[0]
    assert np.isfinite(given["image"]).all()
    assert given["sky"].std() > 0


def test_half_of_the_galaxies_have_the_z_of_their_image_alone(classifier, sample):
    given, _ = Views(classifier, [(sample, 1.0)], 1, 200, 0)[0]
    assert (given["known"][:, 0] == 1).all()
    votes = given["known"][:, 1:].any(axis=1)
    assert votes.mean() == pytest.approx(0.5, abs=0.12)
    encoded = classifier.encoder(ops.convert_to_tensor(given["image"]), training=False)
    z, alone = (
        ops.convert_to_numpy(posterior_draw(encoded, given | {"known": known}))
        for known in (given["known"], np.eye(1, given["known"].shape[1], dtype="f4").repeat(200, axis=0))
    )
    np.testing.assert_allclose(z[~votes], alone[~votes], atol=1e-5)
    assert (np.abs(z[votes] - alone[votes]).max(axis=1) > 1e-3).all()
