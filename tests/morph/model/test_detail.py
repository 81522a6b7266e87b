"""The detail decoder adds to a picture what noise says, and nothing before it has learned to."""

import zipfile
from io import BytesIO

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.conditions import encode_conditions, trained_surveys
from morph.model.detail import MAPS, Detail, noise_size
from morph.model.sampling import choose_decoder, decode, describe_sampling, draw_pictures, sample, sample_noise_size


def inputs(size: int, n: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, pictures with light everywhere, and noise."""
    random = np.random.default_rng(0)
    shapes = (n, 8), (n, size, size, 3), (n, noise_size())
    z, picture, noise = (random.standard_normal(shape).astype("float32") for shape in shapes)
    return z, 0.2 + np.abs(picture), noise


def learn_something(detail: Detail) -> None:
    """Let a new layer draw something or other."""
    for kernel, _ in (detail.last, *(block["style"] for block in detail.blocks)):
        kernel.assign(0.1 * keras.random.normal(kernel.shape, seed=1))
    detail.is_fitted.assign(1.0)


@pytest.fixture(scope="module")
def detail() -> Detail:
    keras.utils.set_random_seed(1)
    layer = Detail(64, 8)
    learn_something(layer)
    return layer


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """One that has a latent prior and has learned detail."""
    keras.utils.set_random_seed(2)
    model = Classifier()
    model.prior.whiten(np.zeros(64), np.eye(64), trained_surveys(np.array([0.0, 1.0])))
    learn_something(model.detail)
    return model


@pytest.mark.parametrize("size", [64, 128])
def test_a_new_one_gives_the_picture_back(size):
    z, picture, noise = inputs(size, 1)
    np.testing.assert_array_equal(Detail(size, 8)(z, picture, noise), picture)


def test_noise_of_a_map_is_seen_where_it_is(detail):
    """The finest map's noise changes the picture around its own pixel, and not on the other side."""
    z, picture, noise = inputs(64, 1)
    before = ops.convert_to_numpy(detail(z, picture, noise))
    finest = MAPS[-1]
    noise[0, noise_size() - finest * finest + 5 * finest + 7] += 3.0
    changed = np.abs(ops.convert_to_numpy(detail(z, picture, noise)) - before)[0].max(axis=-1)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(row - 10.5) < 8
    assert abs(column - 14.5) < 8
    assert changed[40:, 40:].max() == 0
    noise[0, 0] += 3.0
    assert (np.abs(ops.convert_to_numpy(detail(z, picture, noise)) - before) > 0).mean() > 0.5, "of the whole galaxy"


def test_the_sky_stays_dark(detail):
    z, picture, noise = inputs(64, 1)
    picture[:, :, 40:] = -0.01
    drawn = ops.convert_to_numpy(detail(z, picture, noise))
    np.testing.assert_array_equal(drawn[:, :, 40:], picture[:, :, 40:])
    assert np.abs(drawn - picture)[:, :, :40].max() > 0.01


def test_rows_without_noise_are_the_likelihood_decoders(classifier):
    random = np.random.default_rng(0)
    z, noise = random.standard_normal((3, 64), "f4"), random.standard_normal((3, noise_size()), "f4")
    noise[1] = np.nan
    plain, drawn = (ops.convert_to_numpy(decode(classifier, z, each)) for each in (None, noise))
    np.testing.assert_array_equal(plain, ops.convert_to_numpy(classifier.decoder(z, training=False)))
    np.testing.assert_array_equal(drawn[1], plain[1])
    assert np.isfinite(drawn).all()
    assert np.abs(drawn - plain)[[0, 2]].max(axis=(1, 2, 3)).min() > 1e-3
    # The signature takes both kinds of noise in one array.
    conditions = encode_conditions(3, surveys=["des"] * 3, kind="flux")
    whole = np.concatenate([z, noise], axis=1)
    assert whole.shape[1] == sample_noise_size(classifier)
    one, other = (ops.convert_to_numpy(sample(classifier, each, conditions)["image"]) for each in (z, whole))
    np.testing.assert_allclose(one[1], other[1], rtol=1e-5)
    assert np.abs(one - other)[[0, 2]].max() > 0


def test_a_seed_gives_the_same_pictures_however_many_follow(classifier, monkeypatch):
    z = np.random.default_rng(3).standard_normal((5, 64), "f4")
    whole = draw_pictures(classifier, z, "detail", np.random.default_rng(4))
    monkeypatch.setattr("morph.model.sampling.TOGETHER", 2)
    first = draw_pictures(classifier, z[:3], "detail", np.random.default_rng(4))
    np.testing.assert_allclose(first, whole[:3], rtol=1e-4, atol=1e-6)
    assert np.abs(draw_pictures(classifier, z[:3], "detail", np.random.default_rng(5)) - first).max() > 1e-3


def test_detail_draws_where_it_has_been_learned_and_nothing_else_is_asked_for(classifier):
    assert [choose_decoder(classifier, each) for each in (None, "plain", "detail")] == ["detail", "plain", "detail"]
    about = describe_sampling(classifier)
    assert (about["decoder"], about["detail_noise"]) == ("detail", noise_size())
    classifier.detail.is_fitted.assign(0.0)
    try:
        assert choose_decoder(classifier) == "plain"
        about = describe_sampling(classifier)
        assert (about["decoder"], about["detail_noise"]) == ("plain", 0)
        with pytest.raises(InputError, match=r"learned no detail decoder; draw with the decoder 'plain'\."):
            choose_decoder(classifier, "detail")
    finally:
        classifier.detail.is_fitted.assign(1.0)


def test_a_file_holds_it_once_it_has_learned(classifier, tmp_path):
    def held() -> list[str]:
        classifier.save(tmp_path / "model.keras")
        with zipfile.ZipFile(tmp_path / "model.keras") as file:
            return list(h5py.File(BytesIO(file.read("model.weights.h5")))["detail"].get("vars", {}))

    classifier.detail.is_fitted.assign(0.0)
    assert not held()
    classifier.detail.is_fitted.assign(1.0)
    assert held()
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert again.detail.fitted
    for now, then in zip(again.detail.weights, classifier.detail.weights, strict=True):
        np.testing.assert_array_equal(now, then)
