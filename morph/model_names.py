"""The file that a model's name stands for: a path, `models:/morph@champion`, or any MLflow URI.

Beside the package of the model, because it loads nothing: what only needs the file need not wait for Keras.
"""

from pathlib import Path

from morph.errors import InputError
from morph.tracking_store import open_store

#: The weights that ship with the package, trained on SDSS.
SHIPPED = Path(__file__).parent / "weights" / "sdss.keras"
SHIPPED_NAME = "models:/morph@sdss"

#: How MLflow says that there is no such model, and that it has no such alias.
_NONE_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

#: Where MLflow keeps its database when nobody says otherwise.
DEFAULT_TRACKING = "sqlite:///mlruns/mlflow.db"


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
    import os

    import mlflow
    from mlflow.exceptions import MlflowException

    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path(DEFAULT_TRACKING.removeprefix("sqlite:///")).exists():
        # Asking MLflow would make an empty database just to say that there is nothing in it.
        if uri == SHIPPED_NAME:
            return SHIPPED
        raise InputError(f"There is no model '{uri}': nothing is tracked here yet; {SHIPPED_NAME} always works.")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(DEFAULT_TRACKING)
    open_store(mlflow.get_tracking_uri())
    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, OSError) as error:
        # Only where the registry holds none: a server that does not answer may hold another.
        if uri == SHIPPED_NAME and getattr(error, "error_code", "") in _NONE_THERE:
            return SHIPPED
        raise InputError(f"There is no model '{uri}' ({str(error).splitlines()[0][:160]}).") from None
    return find_model(folder)
