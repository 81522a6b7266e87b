"""Models by name: a path, `models:/morph@champion`, or any MLflow URI."""

import hashlib
import json
import zipfile
from pathlib import Path

from morph.checks import FORMAT, MODEL_FORMAT, check_format
from morph.errors import InputError, first_line
from morph.registry import SHIPPED, find_model

#: The galaxies that the weights that ship were trained on, for weights of before models kept this record themselves.
RECORD = SHIPPED.with_suffix(".seen.json")


def load_model(name: str | Path, precision: str = "float32"):
    """The `Classifier` that `name` stands for.

    `name` is a `.keras` file, a folder that holds one, or an MLflow URI (`models:/`, `runs:/`, `mlflow-artifacts:/`
    ...). `models:/morph@sdss` means the weights that ship wherever the registry holds none. InputError when there is
    no model by that name, or the file is not one of ours.
    """
    import keras

    from morph.model.classifier import Classifier

    path = find_model(name)
    _check_format(path, name)
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises as many kinds as there are ways to damage a file
        first = first_line(error)
        raise InputError(f"The model at '{name}' cannot be read ({first[:160]}); export or train it again.") from None
    if not isinstance(model, Classifier):
        raise InputError(f"'{name}' holds a {type(model).__name__}, not a morph model.")
    if not model.seen and path == SHIPPED and RECORD.is_file():
        _add_record(model)
    return model if precision == "float32" else model.in_precision(precision)


def _check_format(path: Path, name: str | Path) -> None:
    """InputError for a model of a newer morph, whose parts Keras would not find."""
    try:
        with zipfile.ZipFile(path) as file:
            found = json.loads(file.read("config.json"))["config"].get(FORMAT)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile):
        return  # Keras says what is wrong
    check_format(found, MODEL_FORMAT, "model", name)


def _add_record(model) -> None:
    """Give the weights that ship the record beside them, if it is theirs."""
    record = json.loads(RECORD.read_text())
    if record["weights"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:32]:
        model.seen = record["seen"]
        model.about = {**model.about, "votes": record["votes"]}
