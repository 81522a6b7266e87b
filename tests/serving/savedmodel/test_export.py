"""An exported model keeps the contract and gives the Keras model's numbers."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from morph.model.conditions import CONDITIONS, encode_conditions
from morph.model.detail import noise_size
from morph.model.sampling import pictures, sample, total_fluxes
from serving.deploy.deployment import Deployment
from serving.savedmodel.export import SCORE_TOLERANCE, WARMUP, check, export_model, versions
from serving.savedmodel.servable import Location, Servable, TensorSpec, call, load_saved_model, locate

ANSWER = {
    "probabilities": (None, len(ANSWERS)),
    "tree_probabilities": (None, len(ANSWERS)),
    "concentration": (None, len(ANSWERS)),
    "embedding": (None, 64),
    "similarity": (None, 50),
    "reconstruction_error": (None,),
    "anomaly_score": (None,),
    "anomaly": (None,),
}
CONTRACT = {
    "serving_default": (("image", "float32", (None, 64, 64, 3)), ANSWER),
    "composite": (("image", "uint8", (None, 64, 64, 3)), ANSWER),
    "reconstruct": (("image", "float32", (None, 64, 64, 3)), {"reconstruction": (None, 64, 64, 3)}),
    "restore": (
        ("image", "float32", (None, 64, 64, 3)),
        {
            **dict.fromkeys(("restored", "sigma", "prior_fraction"), (None, 64, 64, 3)),
            "shape_error": (None, 3),
            "chi_square": (None,),
        },
    ),
    "describe": (("query", "object", (None,)), {"description": (None,)}),
    "reference_sample": (("query", "object", (None,)), {"sample": (None,)}),
}
#: The signature of two inputs.
SAMPLE = {
    "noise": TensorSpec(np.dtype("float32"), (None, 64 + noise_size())),
    "conditions": TensorSpec(np.dtype("float32"), (None, len(CONDITIONS))),
}


@pytest.fixture(scope="module")
def servable(model_dir):
    return Servable(locate(model_dir), max_rows=128)


def test_the_signatures_are_those_of_the_contract(servable, model_dir):
    definitions = Deployment(model_dir).signatures
    assert set(servable.signatures) == {*CONTRACT, "sample"}
    assert servable.signatures["sample"].inputs == SAMPLE
    assert servable.signatures["sample"].outputs == ("image",)
    for name, ((given, dtype, shape), outputs) in CONTRACT.items():
        others = ("psf_fwhm", "target_fwhm") if name == "restore" else ()
        expected = {given: TensorSpec(np.dtype(dtype), shape)}
        assert servable.signatures[name].inputs == {
            **expected,
            **dict.fromkeys(others, TensorSpec(np.dtype("float32"), (None,))),
        }
        shapes = {
            key: tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
            for key, info in definitions[name].outputs.items()
        }
        assert shapes == outputs


@pytest.mark.parametrize("images", ["flux", "composites"])
def test_the_saved_model_gives_the_keras_models_numbers(servable, classifier, images, request):
    images = request.getfixturevalue(images)
    expected = classifier.answer(images)
    name = "composite" if images.dtype == np.uint8 else "serving_default"
    exported = servable.signatures[name].run({"image": images})
    assert set(exported) == set(expected)
    near = ("probabilities", "tree_probabilities", "concentration", "embedding", "similarity", "reconstruction_error")
    for key in near:
        np.testing.assert_allclose(exported[key], expected[key], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(exported["anomaly_score"], expected["anomaly_score"], atol=SCORE_TOLERANCE)
    np.testing.assert_array_equal(exported["anomaly"], exported["anomaly_score"] < classifier.anomaly_threshold)


def test_the_exported_reconstruction_is_the_keras_models(servable, classifier, flux):
    exported = servable.signatures["reconstruct"].run({"image": flux})["reconstruction"]
    np.testing.assert_allclose(exported, classifier.reconstruct_images(flux), rtol=1e-5, atol=1e-5)


def test_the_exported_samples_are_the_keras_models_and_have_the_magnitudes_that_are_given(servable, classifier):
    noise = np.random.default_rng(0).standard_normal((3, 64 + noise_size()), dtype="float32")
    # The last is drawn without detail.
    noise[2, 64:] = np.nan
    known = np.array([[19.0, 18.0, 17.5, 3.0, 0.1], [np.nan, 18.0, np.nan, np.nan, np.nan], [np.nan] * 5])
    conditions = encode_conditions(3, measurements=known, surveys=["des"] * 3, kind="flux")
    image = servable.signatures["sample"].run({"noise": noise, "conditions": conditions})["image"]
    expected = ops.convert_to_numpy(sample(classifier, noise, conditions)["image"])
    np.testing.assert_allclose(image, expected, rtol=1e-4, atol=1e-6)
    z = classifier.prior.sample(noise[:, :64], conditions)
    relative = ops.convert_to_numpy(total_fluxes(pictures(classifier, z, noise[:, 64:])))
    # What an untrained decoder draws may be darker than the sky.
    bright = relative > 1e-6
    assert bright[:, 1].all()
    magnitudes = 22.5 - 2.5 * np.log10(ops.convert_to_numpy(total_fluxes(image)))
    given = bright & np.isfinite(known[:, :3])
    np.testing.assert_allclose(magnitudes[given], known[:, :3][given], atol=1e-3)
    # Free magnitudes leave the picture its colour, and the brightness is that of the other properties.
    own = -2.5 * np.log10(relative)
    colours = [each[1:, 0] - each[1:, 1] for each in (magnitudes, own)]
    np.testing.assert_allclose(colours[0][bright[1:, 0]], colours[1][bright[1:, 0]], atol=1e-3)
    assert 5 < magnitudes[2, 1] < 35


def test_one_galaxys_answer_does_not_depend_on_its_neighbours_in_the_batch(servable, flux):
    run = servable.signatures["serving_default"].run
    together = run({"image": flux})["probabilities"]
    alone = np.concatenate([run({"image": flux[i : i + 1]})["probabilities"] for i in range(len(flux))])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_description_says_what_the_outputs_are(servable):
    answers = servable.signatures["describe"].run({"query": np.array([b"a", b"b", b"c"], object)})["description"]
    assert len(answers) == 3
    about = json.loads(answers[0])
    assert (about["name"], about["version"], about["run"]) == ("morph", 3, "run-of-the-tests")
    assert (about["survey"], about["size"], about["bands"]) == ("des", 64, ["g", "r", "i"])
    assert about["units"] == "nanomaggies per pixel"
    assert about["anomaly_threshold"] == 0.01
    assert about["sampling"] == {
        "conditions": list(CONDITIONS),
        "surveys": {"sdss": 0, "des": 1},
        "decoder": "detail",
        "detail_noise": noise_size(),
    }
    names = [f"{question['name']}_{answer}" for question in about["questions"] for answer in question["answers"]]
    assert tuple(names) == TREE.columns


def test_what_tensorflow_refuses_is_an_error_in_its_own_words(model_dir):
    describe = load_saved_model(locate(model_dir).folder).signatures["describe"]
    long = call(describe, {"query": np.array([b"", b"a long question " * 20], object)})
    assert len(long["description"]) == 2
    with pytest.raises(ValueError, match="string"):
        call(describe, {"query": np.zeros(2, "float32")})
    with pytest.raises(ValueError, match="nothing"):
        call(describe, {"nothing": np.array([b""], object)})


def test_a_model_that_was_closed_computes_no_more(model_dir, flux):
    servable = Servable(locate(model_dir), max_rows=128)
    servable.close()
    with pytest.raises(ValueError, match="the model is closed"):
        servable.signatures["serving_default"].run({"image": flux})


#: Prints how many threads compute within an operation, when a model was loaded with so many.
THREADS = """
import sys
from pathlib import Path
import tensorflow as tf
from serving.savedmodel.servable import load_saved_model
load_saved_model(Path(sys.argv[1]), threads=3)
load_saved_model(Path(sys.argv[1]), threads=2)
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


def test_the_threads_within_an_operation_are_as_many_as_the_first_model_asks_for(model_dir):
    command = [sys.executable, "-c", THREADS, str(locate(model_dir).folder)]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == 3


def test_the_warm_up_holds_one_galaxy_and_a_full_batch_for_every_signature_that_computes(model_dir):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = locate(model_dir).folder / WARMUP
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    drawn = [r for r in requests if r.model_spec.signature_name == "sample"]
    shapes = [{key: tf.make_ndarray(tensor).shape for key, tensor in r.inputs.items()} for r in drawn]
    assert shapes == [{"noise": (n, 64 + noise_size()), "conditions": (n, len(CONDITIONS))} for n in (1, 128)]
    found = {
        (r.model_spec.name, r.model_spec.signature_name, tf.make_ndarray(r.inputs["image"]).shape)
        for r in requests
        if r not in drawn
    }
    names = ("serving_default", "composite", "reconstruct")
    expected = {("morph", name, (count, 64, 64, 3)) for name in names for count in (1, 128)}
    assert found == {*expected, ("morph", "restore", (1, 64, 64, 3))}


def test_the_deployment_files_are_tensorflow_servings(model_dir):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = (model_dir / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config[0]
    assert (config.name, config.base_path, config.model_platform) == ("morph", "/models/morph", "tensorflow")
    assert (model_dir / "batching_parameters.txt").is_file()
    assert "prometheus_config" in (model_dir / "monitoring.config").read_text()


def test_versions_count_up_and_none_is_overwritten(classifier, model_dir):
    assert versions(model_dir / "morph") == [3]
    with pytest.raises(InputError, match="exists; choose a version above 3"):
        export_model(classifier, model_dir, version=3)


def test_a_failed_export_leaves_nothing_behind(classifier, model_dir, monkeypatch):
    def write_half(_, folder, __):
        folder.mkdir()
        (folder / "saved_model.pb").touch()
        raise OSError("the disk is full")

    monkeypatch.setattr("serving.savedmodel.export._write_saved_model", write_half)
    with pytest.raises(OSError, match="disk is full"):
        export_model(classifier, model_dir)
    assert [path.name for path in (model_dir / "morph").iterdir()] == ["3"]


def test_an_export_that_gives_other_numbers_is_noticed(classifier, model_dir):
    weight = classifier.heads.trainable_variables[-1]
    before = weight.numpy()
    weight.assign(before + 0.01)
    try:
        with pytest.raises(RuntimeError, match="differs from the Keras model's by"):
            check(classifier, locate(model_dir).folder)
    finally:
        weight.assign(before)
    check(classifier, locate(model_dir).folder)


def test_a_model_is_found_from_its_parent_itself_or_one_version(model_dir, tmp_path):
    base = model_dir / "morph"
    assert locate(model_dir) == locate(base) == Location(base, 3)
    assert locate(base / "3") == Location(base, 3, pinned=True)
    with pytest.raises(InputError, match="holds no model 'other' but morph; choose it with --name"):
        locate(model_dir, "other")
    with pytest.raises(InputError, match="holds no exported model; export one with `morph export"):
        locate(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        locate(tmp_path / "missing")


def test_a_damaged_model_is_bad_input(tmp_path):
    folder = tmp_path / "morph" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot be loaded"):
        Servable(locate(tmp_path), max_rows=1)
    with pytest.raises(InputError, match="TensorFlow cannot load the model at"):
        load_saved_model(tmp_path)


def test_of_two_exports_at_once_each_gets_a_version(classifier, tmp_path, monkeypatch):
    def overtaken(*_) -> None:
        monkeypatch.setattr("serving.savedmodel.export.check", lambda *_: None)
        export_model(classifier, tmp_path, name="galaxies")

    monkeypatch.setattr("serving.savedmodel.export.check", overtaken)
    assert export_model(classifier, tmp_path, name="galaxies") == tmp_path / "galaxies" / "2"
    assert sorted(path.name for path in (tmp_path / "galaxies").iterdir()) == ["1", "2"]


def test_a_disk_that_fills_up_leaves_no_file_of_an_export(classifier, tmp_path, monkeypatch):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("serving.savedmodel.export.check", full)
    with pytest.raises(InputError, match=r"Version 1 cannot be written .*No space left on device"):
        export_model(classifier, tmp_path / "models")
    assert not list(tmp_path.iterdir())
