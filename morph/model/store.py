"""Models by name: a path, `models:/morph@champion`, or any MLflow URI; and the loader that MLflow calls."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from morph.checks import FORMAT, MODEL_FORMAT, check_format
from morph.errors import InputError, first_line
from morph.registry import SHIPPED, find_model

#: The record of the galaxies that the shipped weights were trained on, for weights that do not hold it themselves.
RECORD = SHIPPED.with_suffix(".seen.json")


def load_model(name: str | Path, precision: str = "float32"):
    """Load a `Classifier` by its name.

    Parameters
    ----------
    name : a `.keras` file, a folder that holds one, or an MLflow URI (`models:/`, `runs:/`, `mlflow-artifacts:/`).
        `models:/morph@sdss` means the shipped weights wherever the registry holds none.
    precision : dtype policy of the convolutions, such as ``mixed_bfloat16``.

    Raises
    ------
    InputError : there is no model by that name, or the file does not hold one of morph's.

    Examples
    --------
    >>> model = load_model("models:/morph@sdss")
    >>> model.answer(np.zeros((1, 64, 64, 3), "float32"))["probabilities"].shape
    (1, 42)
    """
    import keras

    from morph.model.classifier import Classifier

    path = find_model(name)
    _check_format(path, name)
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds for damaged files
        first = first_line(error)
        raise InputError(f"The model at '{name}' cannot be read ({first[:160]}); export or train it again.") from None
    if not isinstance(model, Classifier):
        raise InputError(f"'{name}' holds a {type(model).__name__}, not a morph model.")
    if not model.seen and path == SHIPPED and RECORD.is_file():
        _add_record(model)
    return model if precision == "float32" else model.in_precision(precision)


def _check_format(path: Path, name: str | Path) -> None:
    """Raise InputError for a model of a newer morph, whose layers Keras would not find."""
    try:
        with zipfile.ZipFile(path) as file:
            found = json.loads(file.read("config.json"))["config"].get(FORMAT)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile):
        return  # Keras reports what is wrong
    check_format(found, MODEL_FORMAT, "model", name)


def _add_record(model) -> None:
    """Give the shipped weights the record beside them, if its digest is theirs."""
    record = json.loads(RECORD.read_text())
    if record["weights"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:32]:
        model.seen = record["seen"]
        model.about = {**model.about, "votes": record["votes"]}


class RegisteredClassifier:
    """A classifier behind MLflow's general interface: flux in, the exported model's outputs out.

    A registered model names this module as its loader and carries a copy of the package.
    """

    def __init__(self, path: str):
        self.classifier = load_model(path)

    def predict(self, model_input: dict[str, np.ndarray], params: dict | None = None) -> dict[str, np.ndarray]:
        """Answer for `model_input`, {"image": float32 [n, size, size, 3]}: nanomaggies per pixel in g, r, i."""
        return self.classifier.answer(np.asarray(model_input["image"], dtype="float32"))


def _load_pyfunc(path: str) -> RegisteredClassifier:
    """MLflow calls the loader by this name."""
    return RegisteredClassifier(path)
