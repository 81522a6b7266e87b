"""What a run logs reaches MLflow, now or later, whatever becomes of the server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from morph.errors import BadInput
from training.records import tracking
from training.records.outbox import UNSENT, send_all

#: Seconds in which a server answers that has just been started.
SLOW = 90


class Server:
    """A real MLflow server on a folder, which can be killed and started again under the same address."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder, self.uri = folder, f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        began = time.monotonic()
        while time.monotonic() - began < SLOW:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"no MLflow server after {SLOW} s")

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def server(migrated, tracked):
    folder = tracked / "server"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    running = Server(folder)
    yield running
    running.kill()


def waiting() -> int:
    return len(list(UNSENT.glob("*/[0-9]*")))


def test_a_server_that_is_killed_neither_stops_nor_delays_a_run_and_gets_the_rest_later(server, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "PATIENCE", 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.run("tests", "long", "pretrain", uri=server.uri) as run:
        run.log_metrics({"loss": 9.0}, step=0)
        while waiting():
            time.sleep(0.05)
        server.kill()
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
    with pytest.raises(BadInput, match=r"run 'long'.*they stay"):
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
    assert said == ["Run 'a' is still going on; it sends its records itself."]
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
    assert said == ["Nothing waits in mlruns/unsent."]
