"""The store of runs and models: opened with care, since two commands may make it at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morph.errors import InputError
from morph.problems import store_problem

#: How a URI of a database begins that MLflow takes; a driver may stand behind the name, ``postgresql+psycopg2``.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

_SQLITE = "sqlite:///"

#: What this process has opened.
_OPENED: set[tuple[str, str]] = set()


def open_store(uri: str) -> None:
    """Make the store, or see that it can be used. A server is not asked.

    Raises InputError where MLflow knows no such store, its driver is not installed, it was made by an older or newer
    MLflow, or it does not answer.
    """
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in ("http", "https") or _key(uri) in _OPENED:
        return
    if scheme not in (*DATABASES, "databricks", "uc"):
        known = ", ".join(f"{name}://" for name in (*DATABASES, "http", "https"))
        raise InputError(
            f"'{uri}' is no store of runs; set MLFLOW_TRACKING_URI to {_SQLITE}FILE.db, or to one of {known}."
        )
    import mlflow

    try:
        with _alone(uri):
            mlflow.MlflowClient(uri, uri).search_experiments(max_results=1)
    except InputError:
        raise
    except Exception as error:  # what a store raises depends on what it is
        problem = store_problem(error, uri)
        if problem is None:
            raise
        raise InputError(problem) from error
    _OPENED.add(_key(uri))


def _key(uri: str) -> tuple[str, str]:
    # The path of an SQLite file may be relative.
    return os.getcwd(), uri


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Nobody else makes the tables of a new SQLite file meanwhile, which MLflow does not see to."""
    if not uri.startswith(_SQLITE) or ":memory:" in uri:
        yield
        return
    folder = Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"The store '{uri}' cannot be made ({error.strerror}); set MLFLOW_TRACKING_URI.") from None
    with suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)
