"""A registered model answers by itself, and says what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest

from training.experiments import registry, tracking

ASK = """
import sys
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
outputs = model.predict(model.input_example)
import morph
assert morph.__file__.startswith(sys.argv[1]), morph.__file__
assert not [name for name in sys.modules if name.split(".")[0] in ("training", "serving")]
np.savez(sys.argv[2], **outputs)
"""


@pytest.fixture
def registered(tracked, classifier):
    """A run with a registered classifier, and the folder of the logged model."""
    about = classifier.about
    classifier.about = {}
    with tracking.run("tests", "model", "pretrain") as run:
        registry.log_classifier(run, classifier, aliases=("champion",))
    yield run, Path(mlflow.artifacts.download_artifacts("models:/morph@champion"))
    # All tests share the classifier.
    classifier.about = about


def test_a_registered_model_brings_its_code_and_answers_the_same_without_morph(registered, classifier, tmp_path):
    _, folder = registered
    names = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert {"keras", "tensorflow", "numpy"} <= set(names)
    assert not [name for name in names if "morph" in name], "no name that anybody could register"
    assert not [path for path in (folder / "code").rglob("*") if path.is_file() and path.suffix != ".py"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [sys.executable, "-c", ASK, str(folder), str(tmp_path / "answers.npz")]
    done = subprocess.run(arguments, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = classifier.answer(registry.example(classifier.size))
    with np.load(tmp_path / "answers.npz") as answers:
        assert set(answers) == set(expected)
        for name in expected:
            np.testing.assert_allclose(answers[name], expected[name], rtol=1e-5, atol=1e-6)


def test_the_registry_says_what_a_model_is_and_the_example_is_one_for_a_server(registered, classifier):
    run, folder = registered
    client = mlflow.MlflowClient()
    assert "nanomaggies" in client.get_registered_model("morph").description
    version = client.get_model_version_by_alias("morph", "champion")
    assert version.tags["morph.survey"] == classifier.survey
    assert version.description.startswith(f"For galaxies of {classifier.survey}")
    assert version.run_id == run.id
    sent = json.loads((folder / "serving_input_example.json").read_text())
    assert np.shape(sent["inputs"]["image"]) == (1, classifier.size, classifier.size, 3)


def test_an_experiment_opens_on_its_trainings_an_older_one_too(tracked):
    mlflow.set_tracking_uri(tracking.setup())
    mlflow.create_experiment("older")
    for name in ("older", "new"):
        with tracking.run(name, "a", "evaluate"):
            pass
        tags = mlflow.get_experiment_by_name(name).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
