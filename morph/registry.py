"""The store of runs and models that MLflow keeps: where it is, and the file that a model's name stands for.

It loads neither Keras nor, until a store is used, MLflow.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morph.errors import InputError, first_line, store_problem

#: The weights that ship with the package, trained on SDSS: of the small model, which is meant wherever nothing else is
#: said, and of the large one.
SHIPPED = Path(__file__).parent / "weights" / "sdss.keras"
SHIPPED_NAME = "models:/morph@sdss"
SHIPPED_MODELS = {SHIPPED_NAME: SHIPPED, f"{SHIPPED_NAME}-large": SHIPPED.with_name("sdss-large.keras")}

#: Where runs and models are kept by default, and what is not yet logged there.
DEFAULT_TRACKING = "sqlite:///mlruns/mlflow.db"

#: How the URI of a database begins that MLflow takes; a driver may follow the name, as in ``postgresql+psycopg2``.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SQLITE = "sqlite:///"

#: MLflow's codes for a model that does not exist, and for an alias that it does not have.
_NO_SUCH_MODEL = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

#: The stores that this process has opened.
_OPENED: set[tuple[str, str]] = set()


def find_model(name: str | Path) -> Path:
    """The `.keras` file that a model's name stands for; InputError when there is none."""
    text = str(name)
    if ":/" in text:
        return _from_mlflow(text)
    path = Path(name)
    if path.is_file() and path.suffix == ".keras":
        return path
    if path.is_dir():
        found = sorted(path.rglob("*.keras"))
        if len(found) == 1:
            return found[0]
        what = "no model" if not found else f"{len(found)} models"
        raise InputError(f"'{path}' holds {what} (*.keras); name one model file, or models:/morph@champion.")
    if path.exists():
        raise InputError(f"'{path}' is not a model; name a .keras file, a folder with one, or models:/morph@champion.")
    raise InputError(f"There is no model at '{path}'; name a .keras file, or {SHIPPED_NAME} for the shipped weights.")


def _from_mlflow(uri: str) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path(DEFAULT_TRACKING.removeprefix("sqlite:///")).exists():
        # Asking MLflow would make an empty database just to say that there is nothing in it.
        if uri in SHIPPED_MODELS:
            return _shipped(uri)
        raise InputError(f"There is no model '{uri}': nothing is tracked here yet; {SHIPPED_NAME} always works.")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(DEFAULT_TRACKING)
    open_store(mlflow.get_tracking_uri())
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        # A server that does not answer may hold another model of this name.
        if uri in SHIPPED_MODELS and getattr(error, "error_code", "") in _NO_SUCH_MODEL:
            return _shipped(uri)
        raise InputError(f"There is no model '{uri}' ({first_line(error)}).") from None
    return find_model(folder)


def _shipped(uri: str) -> Path:
    path = SHIPPED_MODELS[uri]
    if not path.is_file():
        raise InputError(f"The weights '{uri}' are not part of this installation; `make weights` makes them.")
    return path


def open_store(uri: str) -> None:
    """Make the store, or check that it can be used. A server is not asked.

    Raises
    ------
    InputError : MLflow supports no such store, its driver is not installed, it was made by an older or newer MLflow,
        or it does not answer.
    """
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in ("http", "https") or _key(uri) in _OPENED:
        return
    if scheme not in (*DATABASES, "databricks", "uc"):
        known = ", ".join(f"{name}://" for name in (*DATABASES, "http", "https"))
        raise InputError(
            f"'{uri}' is not a store of runs; set MLFLOW_TRACKING_URI to {_SQLITE}FILE.db, or to one of {known}."
        )
    import mlflow

    try:
        with _locked(uri):
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
def _locked(uri: str) -> Iterator[None]:
    """Lock a new SQLite file while its tables are made, since two commands may make it at once."""
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
