"""Export: a `Classifier` as a SavedModel that TensorFlow Serving runs as it is::

    MODEL_DIR/
      models.config, batching_parameters.txt, monitoring.config
      morph/
        1/  saved_model.pb, variables/, assets.extra/tf_serving_warmup_requests

Preprocessing (sky, scale, stretch) is part of it, so a client sends what the survey measured. Only TensorFlow's own
operations are used.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from morph.atomic import atomic
from morph.errors import InputError
from serving.protocol.configuration import BatchingParameters
from serving.savedmodel.remote import Remote, is_url, local

#: The largest difference between the exported model and the Keras model, relative to the value where it is
#: above one: float32 arithmetic in another order differs by 1e-6 to 1e-5.
TOLERANCE = 1e-4

#: The anomaly score counts how many of 1,024 normal galaxies are more anomalous, so a difference of 1e-6 in the
#: statistic can change it by a few steps.
SCORE_TOLERANCE = 4 / 1024

#: The tolerance for a model that computes in bfloat16, which has three digits.
ROUNDED = 0.1

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
#: Signatures whose warm-up is a single galaxy: a full batch of them takes seconds, which a server would need to start.
WARMED_BY_ONE = frozenset({"restore"})


def export_model(
    classifier, to: str | Path, version: int | None = None, name: str = "morph", run: str | None = None
) -> Path | str:
    """Export `classifier` as version `version` of the model `name` in the folder `to`.

    The version appears whole or not at all: a server that watches `to` never sees half of it. Files for
    deployment stand beside the model's folder and are left alone where they exist already.

    Parameters
    ----------
    classifier : a `morph.model.classifier.Classifier`.
    to : the folder for the model, made where it does not exist; or a URL that fsspec knows (s3://, gs://, ...).
    version : its number; one more than the highest in the folder if not given.
    name : of the model, as requests ask for it.
    run : the MLflow run that made the model, for `describe`; the run of the model's metadata if not given.

    Returns
    -------
    The version's folder, ``to/name/version``: a Path, or a URL where `to` is one.

    Raises
    ------
    InputError : the version exists, Keras runs on another backend than TensorFlow, or the URL cannot be written.
    RuntimeError : the exported model does not give the numbers of the Keras model.

    Examples
    --------
    >>> from morph.model.store import load_model
    >>> from serving.client import MorphClient
    >>> from serving.server.embedded import Server
    >>> export_model(load_model("models:/morph@sdss"), "served").as_posix()
    'served/morph/1'
    >>> with Server("served", port=0, rest_port=None) as server, MorphClient(server.address) as client:
    ...     answers = client.classify(np.zeros((2, 64, 64, 3), "uint8"))
    >>> answers["probabilities"].shape
    (2, 42)
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Export needs Keras's TensorFlow backend, not {keras.backend.backend()}; unset KERAS_BACKEND."
        )
    must_be_name(name)
    if is_url(to):
        remote = Remote(str(to))
        version = _free_version(remote.versions(name), version, f"{remote}/{name}")
        with TemporaryDirectory() as folder:
            _export(classifier, Path(folder), version, name, run)
            return remote.upload(Path(folder), name, version)
    to = local(to)
    while True:
        number = _free_version(versions(to / name), version, to / name)
        try:
            return _export(classifier, to, number, name, run)
        except FileExistsError:
            # Another export took this number; the next one is tried, unless this one was asked for.
            continue


def _free_version(taken: list[int], version: int | None, where: str | Path) -> int:
    """The version to write: the one asked for if it is free, or the next."""
    highest = max(taken, default=0)
    version = highest + 1 if version is None else version
    if version in taken:
        raise InputError(f"'{where}/{version}' exists; choose a version above {highest}.")
    if version < 1:
        raise InputError(f"{version} is not a version; versions are numbered from 1.")
    return version


def _export(classifier, to: Path, version: int, name: str, run: str | None) -> Path:
    """Write and check the model on this machine, and put it into its place."""
    model_dir = to / name
    folder = model_dir / str(version)
    if folder.exists():
        raise InputError(f"'{folder}' exists and does not hold a model; remove it or choose another version.")
    here = to / "batching_parameters.txt"
    batching = here if here.exists() else TEMPLATES / here.name
    with atomic(folder, f"Version {version}", replace=False) as building:
        _write_saved_model(classifier, building, description(classifier, name, version, run))
        _write_warmup(building / WARMUP, name, classifier, batching)
        check(classifier, building)
        # Last, so that a model that could not be written leaves no files.
        write_configurations(to, name)
    return folder


def versions(model_dir: Path) -> list[int]:
    """The versions in a model's folder, in rising order."""
    return sorted(version_folders(model_dir))


def version_number(name: str) -> int | None:
    """The version that a folder's name stands for, as TensorFlow Serving reads it: `7` and `00000123` are versions.
    None where it is not a number of 64 bits."""
    if not (name.isascii() and name.isdigit()) or int(name) >= 1 << 63:
        return None
    return int(name)


def version_folders(model_dir: Path) -> dict[int, Path]:
    """Version -> its folder, of a model's folder. Of two names of one number (`7`, `007`) the last in the alphabet
    counts."""
    if not model_dir.is_dir():
        return {}
    return {
        number: path
        for path in sorted(model_dir.iterdir())
        if (number := version_number(path.name)) is not None and (path / "saved_model.pb").is_file()
    }


def description(classifier, name: str, version: int, run: str | None) -> dict[str, Any]:
    """The document of the signature `describe`: the classifier's own, with what the export adds.

    Parameters
    ----------
    classifier : the model.
    name, version : of the export.
    run : of MLflow; the classifier's own if not given.
    """
    from morph.model.sampling import describe_sampling

    own = {**classifier.describe(), "sampling": describe_sampling(classifier)}
    return {**own, "name": name, "version": version, "run": run or classifier.about.get("run")}


def _write_saved_model(classifier, folder: Path, about: dict[str, Any]) -> None:
    """The signatures of the contract, for any number of galaxies at once."""
    import keras
    import tensorflow as tf

    from morph.model.conditions import CONDITIONS
    from morph.model.sampling import sample as drawn
    from morph.model.sampling import sample_noise_size

    text = json.dumps(about)
    kept = classifier.reference_sample.sample
    reference = "" if kept is None else kept.to_text()
    stamp = (None, classifier.size, classifier.size, 3)

    def describe(query):
        return {"description": tf.fill(tf.shape(query), text)}

    def reference_sample(query):
        return {"sample": tf.fill(tf.shape(query), reference)}

    def sample(noise, conditions):
        return drawn(classifier, noise, conditions)

    archive = keras.export.ExportArchive()
    archive.track(classifier)
    flux = tf.TensorSpec(stamp, tf.float32, name="image")
    widths = [tf.TensorSpec((None,), tf.float32, name=name) for name in ("psf_fwhm", "target_fwhm")]
    for name, function, *specs in (
        ("serving_default", classifier.from_flux, flux),
        ("composite", classifier.from_composite, tf.TensorSpec(stamp, tf.uint8, name="image")),
        ("reconstruct", classifier.reconstruct, flux),
        ("restore", classifier.restore, flux, *widths),
        ("describe", describe, tf.TensorSpec((None,), tf.string, name="query")),
        ("reference_sample", reference_sample, tf.TensorSpec((None,), tf.string, name="query")),
    ):
        archive.add_endpoint(name, function, input_signature=specs)
    of_sample = {"noise": sample_noise_size(classifier), "conditions": len(CONDITIONS)}
    specs = [tf.TensorSpec((None, width), tf.float32, name=name) for name, width in of_sample.items()]
    archive.add_endpoint("sample", sample, input_signature=specs)
    archive.write_out(str(folder), verbose=False)


def _write_warmup(path: Path, name: str, classifier, batching: Path) -> None:
    """Write the requests that a server answers before it reports itself ready: one galaxy and a full batch, for every
    signature that runs the network. A single value stands for a whole array, which keeps the file small."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from morph.model.conditions import CONDITIONS
    from morph.model.sampling import sample_noise_size

    path.parent.mkdir(parents=True)
    largest = BatchingParameters.read(batching).max_batch_size
    image = (classifier.size, classifier.size, 3)
    inputs: dict[str, dict[str, tuple]] = {
        "serving_default": {"image": (tf.float32, image)},
        "composite": {"image": (tf.uint8, image)},
        "reconstruct": {"image": (tf.float32, image)},
        "sample": {
            "noise": (tf.float32, (sample_noise_size(classifier),)),
            "conditions": (tf.float32, (len(CONDITIONS),)),
        },
        "restore": {"image": (tf.float32, image), "psf_fwhm": (tf.float32, ()), "target_fwhm": (tf.float32, ())},
    }
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in inputs.items():
            for count in (1,) if signature in WARMED_BY_ONE else (1, largest):
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name, request.model_spec.signature_name = name, signature
                for key, (dtype, shape) in tensors.items():
                    tensor = request.inputs[key]
                    tensor.dtype = dtype.as_datatype_enum
                    for length in (count, *shape):
                        tensor.tensor_shape.dim.add(size=length)
                    (tensor.float_val if dtype == tf.float32 else tensor.int_val).append(1)
                writer.write(log.SerializeToString())


def check(classifier, folder: Path) -> None:
    """Compare the SavedModel in `folder` with the Keras model on noise, composites, missing pixels and samples.

    Raises RuntimeError where they differ by more than `TOLERANCE`.
    """
    import tensorflow as tf
    from keras import ops

    from morph.model.conditions import encode_conditions
    from morph.model.sampling import sample, sample_noise_size

    signatures = tf.saved_model.load(str(folder)).signatures
    random = np.random.default_rng(0)
    shape = (3, classifier.size, classifier.size, 3)
    flux = random.normal(1.0, 1.0, shape).astype("float32")
    flux[1, : classifier.size // 4] = np.nan
    flux[2] = np.nan
    check_restored(signatures["restore"], classifier, flux)
    picture = random.integers(0, 256, shape, dtype="uint8")
    noise = random.standard_normal((3, sample_noise_size(classifier)), dtype="float32")
    # The second is drawn without detail.
    noise[1, classifier.latent :] = np.nan
    known = np.array([[19.0, 18.0, 17.5, 3.0, 0.1], [np.nan, 18.0, np.nan, np.nan, np.nan], [np.nan] * 5])
    conditions = encode_conditions(3, measurements=known, surveys=["sdss"] * 3, kind="flux")
    for name, function, inputs in (
        ("serving_default", classifier.from_flux, {"image": flux}),
        ("composite", classifier.from_composite, {"image": picture}),
        ("reconstruct", classifier.reconstruct, {"image": flux}),
        ("sample", partial(sample, classifier), {"noise": noise, "conditions": conditions}),
    ):
        exported = signatures[name](**{key: tf.constant(array) for key, array in inputs.items()})
        for output, tensor in function(*map(ops.convert_to_tensor, inputs.values())).items():
            _compare(name, output, exported[output].numpy(), ops.convert_to_numpy(tensor), classifier.precision)


def _compare(name: str, output: str, exported: np.ndarray, tensor: np.ndarray, precision: str) -> None:
    """Raise RuntimeError where an output of the exported model differs from the Keras model's."""
    rounded = precision != "float32"
    if output == "anomaly" or (rounded and output == "anomaly_score"):  # steps, which any rounding can cross
        return
    expected = tensor.astype("float64")
    difference = np.abs(exported - expected) / np.maximum(np.abs(expected), 1.0)
    tolerance = SCORE_TOLERANCE if output == "anomaly_score" else ROUNDED if rounded else TOLERANCE
    # A NaN on either side must fail too.
    if not difference.max() <= tolerance:
        raise RuntimeError(
            f"The exported model's {output} ({name}) differs from the Keras model's by {difference.max():.2g}."
        )


def check_restored(exported, classifier, flux: np.ndarray) -> None:
    """Compare the signature `restore` with the Keras model on stamps, one of them sharpened.

    Parameters
    ----------
    exported : the signature.
    classifier : the Keras model.
    flux : three stamps.

    Raises
    ------
    RuntimeError : they differ by more than `TOLERANCE`, or are NaN or infinite in other places.
    """
    import tensorflow as tf
    from keras import ops

    widths = {"psf_fwhm": [3.6, np.nan, 3.6], "target_fwhm": [2.0, np.nan, 1.0]}
    tensors = {name: ops.convert_to_tensor(value, "float32") for name, value in widths.items()}
    found = exported(image=tf.constant(flux), **tensors)
    for output, tensor in classifier.restore(ops.convert_to_tensor(flux), **tensors).items():
        one, other = found[output].numpy(), ops.convert_to_numpy(tensor)
        if not np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            raise RuntimeError(f"The exported model's {output} (restore) differs from the Keras model's.")


TEMPLATES = Path(__file__).parent / "templates"


#: What every server reads, TensorFlow Serving's or morph's own.
CONFIGURATIONS = ("models.config", "batching_parameters.txt", "monitoring.config")


def must_be_name(name: str) -> None:
    """Raise InputError unless a model's name can stand in models.config and name a Service of Kubernetes (RFC 1123),
    with the ten characters of `-dashboard` behind it."""
    if not re.fullmatch("[a-z]([-a-z0-9]{0,51}[a-z0-9])?", name):
        raise InputError(
            f"The name '{name}' does not do; use up to 53 of a-z, 0-9 and '-', beginning with a letter, such as morph."
        )


def write_configurations(to: Path, name: str) -> list[Path]:
    """Write the three configurations for the model `name` into the folder `to`; a file that exists is left alone.

    Returns the files written. Raises InputError where the name does not do.
    """
    must_be_name(name)
    return write_templates(((TEMPLATES / file, to / file) for file in CONFIGURATIONS), {"{name}": name})


def write_templates(pairs: Iterable[tuple[Path, Path]], fields: Mapping[str, str]) -> list[Path]:
    """Write files from templates, each of them a pair of a template and a target, with `fields` filled in.

    A target that exists is left alone: it may hold what the user changed. Returns the files written.
    """
    written = []
    for source, target in pairs:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text()
            for field, value in fields.items():
                text = text.replace(field, value)
            target.write_text(text)
            target.chmod(target.stat().st_mode | (source.stat().st_mode & 0o111))
            written.append(target)
    return written
