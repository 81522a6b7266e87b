"""Stores of runs that cannot be used are one sentence."""

import sqlite3

import pytest
from mlflow.exceptions import MlflowException

from morph.errors import describe
from training.experiments import tracking


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
        ("sqllite:///mlflow.db", "is not a store of runs; set MLFLOW_TRACKING_URI"),
        ("postgresql+nothing://host/db", "is not a store that MLflow supports"),
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


def test_a_store_that_cannot_be_written_to_is_one_sentence(store, tmp_path, monkeypatch, capfd):
    """SQLite opens it, so that only the first run finds out."""
    monkeypatch.chdir(tmp_path)
    read_only = f"{store}?mode=ro&uri=true".replace("sqlite:///", "sqlite:///file:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", read_only)
    with pytest.raises(MlflowException) as found, tracking.run("new", "a", "evaluate"):
        pass
    assert "attempt to write a readonly database" in str(describe(found.value))
    assert "Traceback" not in capfd.readouterr().err
