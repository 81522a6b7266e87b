"""Models by name: a path, `models:/morph@champion`, or any MLflow URI; their files; the loader that MLflow calls."""

import hashlib
import io
import json
import math
import shlex
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from morph.atomic import atomic
from morph.checks import FORMAT, MODEL_FORMAT, OLDEST_MODEL_FORMAT, check_format
from morph.errors import InputError, first_line
from morph.registry import SHIPPED, SHIPPED_MODELS, find_model

#: The record of the galaxies that the shipped weights were trained on, for weights that do not hold it themselves.
RECORD = SHIPPED.with_suffix(".seen.json")

#: The restorer of all models, which is trained on simulated galaxies and depends on nothing else of a model.
SHIPPED_RESTORER = SHIPPED.with_name("restorer.npz")


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
    model.digest = digest(path)
    if SHIPPED_RESTORER.is_file():
        model.restorer.read(SHIPPED_RESTORER)
    if not model.seen and path == SHIPPED and RECORD.is_file():
        _add_record(model)
    return model if precision == "float32" else model.in_precision(precision)


def _check_format(path: Path, name: str | Path) -> None:
    """Raise InputError for a model of a newer morph, whose layers Keras would not find, and for one too old."""
    try:
        with zipfile.ZipFile(path) as file:
            document = json.loads(file.read("config.json"))
            config = document["config"]
            ours, found, about = document["class_name"] == "Classifier", config.get(FORMAT), config.get("about") or {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile):
        return  # Keras reports what is wrong
    check_format(found, MODEL_FORMAT, "model", name)
    if ours and (found or 1) < OLDEST_MODEL_FORMAT:
        raise InputError(
            f"The model '{name}' was made by an earlier morph and lacks parts of today's models; make it anew by "
            f"`{_command_of(path, about)}`."
        )


def _command_of(path: Path, about: dict[str, Any]) -> str:
    """The command that makes a model anew, as far as its description of its training says."""
    if path in SHIPPED_MODELS.values():
        return "make weights"
    parent = about.get("parent")
    sets = about.get("trained_on") or ["DATASET"]
    start = ["morph", "finetune", parent] if parent else ["morph", "pretrain"]
    return shlex.join([*start, *sets, "--to", path.name])


def _add_record(model) -> None:
    """Give the shipped weights the record beside them, if its digest is theirs."""
    record = json.loads(RECORD.read_text())
    if record["weights"] == model.digest:
        model.seen = record["seen"]
        model.about = {**model.about, "votes": record["votes"]}


def digest(path: Path) -> str:
    """What identifies a model's file: the first half of its SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


#: The least numbers of an array that is stored in half precision: smaller ones take no room.
FEWEST_HALF = 1024

#: How the names of the weights end that are rounded to half precision: those that inputs are multiplied by.
KERNEL = "kernel"


def write_half(model: str | Path, to: Path) -> None:
    """Write a model's file anew with the kernels of its network in half precision, 16 bits a number.

    Biases, statistics of batch normalisation, quantiles, calibrations and all other arrays keep their 32 bits. The
    model is loaded as any other, and computes in float32.

    Parameters
    ----------
    model : its name.
    to : the file to write; the same model always gives the same bytes.
    """
    import keras

    source = find_model(model)
    classifier = load_model(model)
    for weight in classifier.weights:
        if weight.name.endswith(KERNEL) and math.prod(weight.shape) >= FEWEST_HALF:
            weight.assign(keras.ops.convert_to_numpy(weight).astype("float16").astype("float32"))
    with atomic(to) as building:
        rounded = building.with_name(f"rounded-{building.name}")
        classifier.save(rounded)
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(rounded) as new, zipfile.ZipFile(building, "w") as file:
            # The description and the date are those of the training.
            for name in ("metadata.json", "config.json"):
                file.writestr(zipfile.ZipInfo(name), old.read(name))
            weights = _halved(old.read("model.weights.h5"), new.read("model.weights.h5"))
            file.writestr(zipfile.ZipInfo("model.weights.h5"), weights)
        rounded.unlink()


def _halved(weights: bytes, rounded: bytes) -> bytes:
    """A file of weights with every large array in half precision that this holds exactly once it is rounded. Keras
    reads it as before."""
    import h5py

    made = io.BytesIO()
    with (
        h5py.File(io.BytesIO(weights), "r") as old,
        h5py.File(io.BytesIO(rounded), "r") as new,
        h5py.File(made, "w") as file,
    ):

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = new[name][()]
                with np.errstate(over="ignore"):
                    half = values.astype("float16") if values.size >= FEWEST_HALF else values
                exact = np.array_equal(half.astype(values.dtype), values)
                copied = file.create_dataset(name, data=half if exact else item[()])
            else:
                copied = file.require_group(name)
            copied.attrs.update(item.attrs)

        file.attrs.update(old.attrs)
        old.visititems(copy)
    return made.getvalue()


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
