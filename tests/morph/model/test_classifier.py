import json

import numpy as np
import pytest

from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.store import digest, load_model
from morph.stamps.stretch import to_composite


@pytest.fixture(scope="module")
def flux(galaxies) -> np.ndarray:
    return galaxies(6, seed=2)


@pytest.fixture(scope="module")
def answers(classifier, flux):
    return classifier.answer(flux)


def assert_same(one: dict, other: dict, **tolerance) -> None:
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], err_msg=name, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


def test_every_answer_is_there(classifier, answers):
    shapes = {name: value.shape for name, value in answers.items()}
    assert shapes == {
        "probabilities": (6, len(ANSWERS)),
        "tree_probabilities": (6, len(ANSWERS)),
        "concentration": (6, len(ANSWERS)),
        "embedding": (6, classifier.embedding_size),
        "similarity": (6, classifier.describe()["similarity_size"]),
        "reconstruction_error": (6,),
        "anomaly_score": (6,),
        "anomaly": (6,),
    }
    assert answers["anomaly"].dtype == bool
    assert (answers["concentration"] > 0).all()


def test_the_answers_of_a_question_share_one(answers):
    for part in TREE.slices.values():
        np.testing.assert_allclose(answers["probabilities"][:, part].sum(axis=1), 1, rtol=1e-5)
        expected = answers["concentration"][:, part] / answers["concentration"][:, part].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(answers["probabilities"][:, part], expected, rtol=1e-5)


def test_a_saved_model_answers_as_before(classifier, flux, answers, tmp_path):
    classifier.save(tmp_path / "model.keras")
    again = load_model(tmp_path)
    assert again.describe() == {**classifier.describe(), "weights": digest(tmp_path / "model.keras")}
    assert_same(again.answer(flux), answers)


def test_batches_do_not_change_the_answers(classifier, flux, answers):
    assert_same(classifier.answer(flux, batch_size=4), answers)


def test_the_unit_of_flux_does_not_matter(classifier, flux, answers):
    assert_same(classifier.answer(flux * np.float32(250)), answers, rtol=2e-2, atol=2e-3)


def test_a_margin_is_cut_off(classifier, flux, answers):
    margin = [(0, 0), (16, 16), (16, 16), (0, 0)]
    assert_same(classifier.answer(np.pad(flux, margin, constant_values=7)), answers)


def test_composites_enter_by_the_same_door(classifier, flux):
    pictures = to_composite(flux, white=1.5)
    answers = classifier.answer(pictures)
    linear = np.asarray(classifier.linear(pictures))
    assert_same(answers, classifier.answer(linear))


def test_missing_data_gives_finite_answers_and_leaves_the_others(classifier, flux, answers):
    images = flux.copy()
    images[0] = np.nan
    images[1, ..., 0] = np.nan
    result = classifier.answer(images)
    assert all(np.isfinite(value).all() for value in result.values())
    for name in answers:
        np.testing.assert_allclose(result[name][2:], answers[name][2:], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", [(64, 64, 3), (2, 64, 48, 3), (2, 64, 64, 5), (2, 63, 63, 3)])
def test_other_shapes_are_refused(classifier, shape):
    with pytest.raises(InputError, match="the model takes"):
        classifier.answer(np.zeros(shape, "float32"))


def test_reconstructions_are_in_the_units_of_the_input(classifier, flux):
    drawn = classifier.reconstruct_images(flux)
    lifted = classifier.reconstruct_images(flux * np.float32(50) + np.float32(4))
    assert drawn.shape == flux.shape
    np.testing.assert_allclose((lifted - 4) / 50, drawn, rtol=5e-2, atol=5e-3)


def test_the_description_is_json_and_names_the_answers_in_order(classifier):
    about = json.loads(json.dumps(classifier.describe()))
    assert (about["survey"], about["size"], about["about"]) == ("des", 64, {"made": "for a test"})
    named = [f"{question['name']}_{answer}" for question in about["questions"] for answer in question["answers"]]
    assert named == list(ANSWERS)


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no model at"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(InputError, match="holds no model"):
        load_model(tmp_path)
    (tmp_path / "broken.keras").write_bytes(b"not a zip")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path / "broken.keras")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="is not a model"):
        load_model(tmp_path / "notes.txt")


def test_a_keras_model_of_another_kind_is_refused(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="holds a Sequential, not a morph model"):
        load_model(tmp_path / "other.keras")


def test_rounding_the_convolutions_changes_little(classifier, flux, answers):
    rounded = classifier.in_precision("mixed_bfloat16")
    assert rounded.precision == "mixed_bfloat16"
    assert rounded.describe() == classifier.describe()
    again = rounded.answer(flux)
    np.testing.assert_allclose(again["probabilities"], answers["probabilities"], atol=0.02)
    assert (again["probabilities"] != answers["probabilities"]).any(), "another arithmetic"
