"""What stores, pipes and signals do to a command, as a user meets it: in processes of their own."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start(*arguments, cwd: Path, **options) -> subprocess.Popen:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "morph", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, **{**pipes, **options})


def ended(job: subprocess.Popen) -> tuple[int, str]:
    _, errors = job.communicate(timeout=120)
    return job.returncode, errors


def one_sentence(text: str) -> bool:
    # Behind the ^C that a terminal shows, click begins a new line.
    return text.strip().startswith("morph: ") and len(text.strip().splitlines()) == 1


@pytest.fixture
def store(migrated, tmp_path) -> str:
    """The URI of a store of today's MLflow."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(migrated.read_bytes())
    return f"sqlite:///{path}"


def schema(uri: str, revision: str) -> None:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqllite:///mlflow.db", "is no store of runs; set MLFLOW_TRACKING_URI"),
        ("postgresql+nothing://host/db", "is no store that MLflow knows"),
        ("postgresql://host/db", "needs the package psycopg"),
    ],
)
def test_a_store_that_cannot_be_named_so_is_one_sentence(uri, said, morph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    status, _, errors = morph("compare")
    assert (status, one_sentence(errors)) == (2, True), errors
    assert said in errors


@pytest.mark.parametrize(
    ("revision", "said"), [("ffffffffffff", "made by a newer MLflow"), ("451aebb31d03", "`mlflow db upgrade")]
)
def test_a_store_of_another_mlflow_is_one_sentence(revision, said, store, morph, tmp_path, monkeypatch):
    schema(store, revision)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    status, _, errors = morph("compare")
    assert (status, one_sentence(errors)) == (2, True), errors
    assert said in errors


def test_a_closed_pipe_costs_no_output(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    job = start("simulate", "galaxies", "-n", 2, "--processes", 1, "--to", "set", cwd=tmp_path, stdout=writing)
    os.close(writing)
    assert ended(job)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_told_to_stop_leaves_nothing_half_written(number, status, tmp_path):
    job = start("simulate", "galaxies", "-n", 5000, "--processes", 1, "--to", "größe 1/set", cwd=tmp_path)
    began = time.monotonic()
    while not list(tmp_path.glob("*/.set.building")) and time.monotonic() - began < 60 and job.poll() is None:
        time.sleep(0.05)
    began = time.monotonic()
    job.send_signal(number)
    found, errors = ended(job)
    assert (found, one_sentence(errors)) == (status, True), errors
    assert time.monotonic() - began < 15
    assert not list(tmp_path.iterdir())
