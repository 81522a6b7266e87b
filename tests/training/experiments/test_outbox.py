"""What a run logs reaches MLflow, now or later, whatever becomes of the server."""

import shutil
import threading
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.server import (
    ARTIFACT_ROOT_ENV_VAR,
    ARTIFACTS_DESTINATION_ENV_VAR,
    BACKEND_STORE_URI_ENV_VAR,
    SERVE_ARTIFACTS_ENV_VAR,
    app,
    handlers,
)
from werkzeug.serving import make_server

from morph.errors import InputError
from tests.waiting import wait_until
from training.experiments import tracking
from training.experiments.outbox import UNSENT, send_all


class Server:
    """MLflow's own server, in this process; it can go away and come back under the same address."""

    def __init__(self) -> None:
        self._port = 0
        self.start()

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self._port, app, threaded=True)
        self._port = self._server.port
        self.uri = f"http://127.0.0.1:{self._port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def go_away(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server(migrated, tracked, monkeypatch):
    folder = tracked / "server"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    monkeypatch.setenv(BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv(ARTIFACT_ROOT_ENV_VAR, "mlflow-artifacts:/")
    monkeypatch.setenv(ARTIFACTS_DESTINATION_ENV_VAR, str(folder / "artifacts"))
    monkeypatch.setenv(SERVE_ARTIFACTS_ENV_VAR, "true")
    for name in ("_tracking_store", "_model_registry_store", "_artifact_repo"):
        monkeypatch.setattr(handlers, name, None)
    running = Server()
    yield running
    running.go_away()


def waiting() -> int:
    return len(list(UNSENT.glob("*/[0-9]*")))


def test_a_server_that_stops_answering_neither_ends_nor_delays_a_run_and_gets_the_rest(server, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "TIMEOUT", 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.run("tests", "long", "pretrain", uri=server.uri) as run:
        run.log_metrics({"loss": 9.0}, step=0)
        wait_until(lambda: not waiting())
        server.go_away()
        began = time.monotonic()
        for step in range(1, 20):
            run.log_metrics({"loss": 9.0 - step}, step=step)
        run.log_json({"a": 1}, "plots/a.json")
        assert time.monotonic() - began < 2
        began = time.monotonic()
    assert time.monotonic() - began < 5
    told = capsys.readouterr().err
    assert "21 records of run 'long' could not be sent" in told
    assert "`morph sync`" in told
    with pytest.raises(InputError, match=r"run 'long'.*they stay"):
        send_all(print)
    server.start()
    said: list[str] = []
    send_all(said.append)
    assert said == [f"Sent 21 records of run 'long' to {server.uri}."]
    client = mlflow.MlflowClient(server.uri)
    assert len(client.get_metric_history(run.id, "loss")) == 20
    assert client.get_run(run.id).info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(run.id, "plots")] == ["plots/a.json"]
    assert not UNSENT.exists()


def broken(*_, **__):
    raise MlflowException("(sqlite3.OperationalError) database is locked")


def test_a_database_that_fails_for_a_while_gets_everything_in_the_end(tracked, monkeypatch):
    with tracking.run("tests", "a", "pretrain") as run:
        with monkeypatch.context() as locked:
            locked.setattr(run.client, "log_batch", broken)
            run.log_metrics({"loss": 1.0})
            assert waiting() == 1
        run.log_metrics({"loss": 2.0}, step=1)
        assert waiting() == 0
    assert len(mlflow.MlflowClient().get_metric_history(run.id, "loss")) == 2
    assert not UNSENT.exists()


def test_a_run_that_is_still_going_on_is_left_alone(tracked, monkeypatch):
    said: list[str] = []
    with tracking.run("tests", "a", "pretrain") as run:
        monkeypatch.setattr(run.client, "log_batch", broken)
        run.log_metrics({"loss": 1.0})
        send_all(said.append)
        monkeypatch.undo()
    assert said == ["Run 'a' is still in progress and sends its records itself."]
    assert not UNSENT.exists()


def unsent(name: str, monkeypatch) -> Path:
    """The folder of a run with records that its store has not received."""
    with monkeypatch.context() as locked:
        locked.setattr(mlflow.MlflowClient, "log_batch", broken)
        with tracking.run("tests", name, "pretrain") as run:
            run.log_metrics({"loss": 1.0})
    return UNSENT / run.id


def test_records_that_another_command_has_sent_meanwhile_are_none(tracked, monkeypatch):
    folders = {name: unsent(name, monkeypatch) for name in "ab"}
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)

    send_all(say)
    assert len(said) == 1
    assert not UNSENT.exists()


def test_a_record_whose_removal_was_interrupted_is_not_sent_again(tracked, monkeypatch):
    unsent("a", monkeypatch)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(shutil, "rmtree", broken)
        with pytest.raises(InputError, match="2 records of run 'a'"):
            send_all(print)
    said: list[str] = []
    send_all(said.append)
    assert [sentence.split(" of")[0] for sentence in said] == ["Sent 2 records"]
    assert not UNSENT.exists()


def test_a_record_that_mlflow_does_not_want_is_an_error_and_stops_no_other(tracked):
    with tracking.run("tests", "a", "pretrain") as run:
        with pytest.raises(MlflowException):
            run.log_metrics({"what*is?this": 1.0})
        run.log_metrics({"loss": 1.0})
    assert mlflow.MlflowClient().get_run(run.id).data.metrics == {"loss": 1.0}


def test_nothing_waits_where_nothing_failed(tracked):
    said: list[str] = []
    send_all(said.append)
    assert said == ["mlruns/unsent holds no records."]
