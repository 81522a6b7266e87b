"""Runs and models in MLflow, on a real SQLite database."""

import os
import signal
import socket
import time

import mlflow
import numpy as np
import pytest

from morph import __version__
from morph.errors import InputError
from morph.model.store import load_model
from morph.registry import DEFAULT_TRACKING
from training.experiments import registry, tracking


def status(run_id: str) -> str:
    return mlflow.MlflowClient().get_run(run_id).info.status


def test_a_run_records_parameters_figures_dataset_and_code(tracked, sample):
    with tracking.run("tests", "first", "pretrain", parent="models:/morph@sdss") as run:
        run.log_params({"epochs": 3, "freeze": None})
        for epoch, loss in enumerate((3.0, 2.0)):
            run.log_metrics({"loss": loss}, step=epoch)
        run.log_dataset(sample, "training")
    written = mlflow.MlflowClient().get_run(run.id)
    assert written.info.status == "FINISHED"
    assert written.data.params == {"epochs": "3", "freeze": "None"}
    history = mlflow.MlflowClient().get_metric_history(run.id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 3.0), (1, 2.0)]
    tags = written.data.tags
    assert tags["morph.kind"] == "pretrain"
    assert tags["morph.version"] == __version__
    assert tags["morph.parent"] == "models:/morph@sdss"
    assert tags["morph.simulated"] == "yes"
    assert tags["morph.survey"] == "des"
    assert written.inputs is not None
    (dataset,) = written.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("blobs", sample.digest)
    assert str(sample.about["path"]) not in str(dataset)


def interrupted(name: str, interrupt) -> str:
    """The id of a run that `interrupt` breaks off after its first epoch."""

    def train() -> None:
        with tracking.run("tests", name, "finetune") as run:
            started.append(run.id)
            run.log_params({"epochs": 30})
            run.log_metrics({"loss": 3.0}, step=0)
            interrupt()

    started: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train()
    return started[0]


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def be_terminated() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)


def test_an_interrupted_run_is_killed_and_goes_on_under_its_id(tracked):
    run_id = interrupted("long", press_ctrl_c)
    assert status(run_id) == "KILLED"
    with tracking.run("tests", "long", "finetune", resume="long") as again:
        again.log_params({"epochs": 30})
        again.log_metrics({"loss": 2.0}, step=1)
    assert again.id == run_id
    assert status(run_id) == "FINISHED"
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "loss")) == 2


def test_termination_kills_a_run_as_ctrl_c_does(tracked):
    before = signal.getsignal(signal.SIGTERM)
    assert status(interrupted("batch", be_terminated)) == "KILLED"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_breaks_has_failed(tracked):
    with pytest.raises(ZeroDivisionError), tracking.run("tests", "broken", "evaluate") as run:
        _ = 1 / 0
    assert status(run.id) == "FAILED"


def test_a_run_cannot_go_on_with_other_settings(tracked):
    with tracking.run("tests", "a", "pretrain") as run:
        run.log_params({"epochs": 30})
    with (
        pytest.raises(InputError, match="epochs=30, not 31"),
        tracking.run("tests", "a", "pretrain", resume=run.id) as again,
    ):
        again.log_params({"epochs": 31})


def test_an_unknown_run_is_reported_with_the_known_ones(tracked):
    with tracking.run("tests", "known", "pretrain"):
        pass
    with pytest.raises(InputError, match=r"no run 'unknown'.*known"):
        tracking.find_run("unknown")
    with pytest.raises(InputError, match=r"no experiment 'elsewhere'.*tests"):
        tracking.list_runs("elsewhere")


def test_a_logged_classifier_answers_the_same_from_the_registry(tracked, classifier):
    with tracking.run("tests", "model", "pretrain") as run:
        first = registry.log_classifier(run, classifier)
        version = registry.log_classifier(run, classifier, aliases=("champion",))
    assert (first, version) == (1, 2)
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype="float32")
    expected = classifier.answer(images)
    loaded = load_model("models:/morph@champion")
    assert loaded.about["run"] == run.id
    np.testing.assert_allclose(loaded.answer(images)["probabilities"], expected["probabilities"], atol=1e-6)
    general = mlflow.pyfunc.load_model("models:/morph@champion")
    outputs = general.predict({"image": images})
    np.testing.assert_allclose(outputs["embedding"], expected["embedding"], atol=1e-6)
    signature = general.metadata.signature
    assert signature.inputs.input_names() == ["image"]
    assert set(signature.outputs.input_names()) == set(expected)
    for spec in signature.outputs.inputs:
        assert (spec.type, spec.shape[1:]) == (outputs[spec.name].dtype, outputs[spec.name].shape[1:])


def test_runs_stand_below_the_current_directory_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    try:
        assert tracking.setup() == DEFAULT_TRACKING
        assert (tmp_path / "mlruns").is_dir()
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("uri", ["file:///somewhere/mlruns", "mlruns"])
def test_plain_files_are_refused(uri):
    with pytest.raises(InputError, match="sqlite:///"):
        tracking.setup(uri)


def test_a_missing_tracking_server_is_reported_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(InputError, match="No MLflow server answers"):
        tracking.setup(f"http://127.0.0.1:{port}")
    assert time.monotonic() - start < 5
