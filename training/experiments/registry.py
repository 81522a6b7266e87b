"""Registered versions: which evaluations are a version's own, how it was trained, and what it came from."""

import importlib.metadata
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import morph
from morph import __version__
from morph.errors import InputError, first_line
from training.experiments.tracking import MODEL_NAME, Run, ready, set_alias, version_of

#: The parameter that lists the training datasets.
TRAINED_ON = "trained on"
#: Parameters of a run that do not describe the training.
_NOT_TRAINING = ("model", "split")


@dataclass(frozen=True)
class Trained:
    """The tracked settings of a model's training.

    Attributes
    ----------
    params : of the training run, and the names of the datasets as `TRAINED_ON`; empty where nothing is tracked.
    parent : the model that it started from; empty for one trained from nothing.
    before : the parent's own `params`; empty where its training is not tracked.
    """

    params: dict[str, str] = field(default_factory=dict)
    parent: str = ""
    before: dict[str, str] = field(default_factory=dict)

    def changed(self) -> dict[str, tuple[str, str]]:
        """Parameters that are not the parent's: {name: (parent's, own)}, "" where one has none."""
        if not self.before:
            return {}
        names = sorted(self.params.keys() | self.before.keys())
        pairs = {name: (self.before.get(name, ""), self.params.get(name, "")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def holder(alias: str) -> int | None:
    """The version with an alias; None without one."""
    return version_of(f"models:/{MODEL_NAME}@{alias}")


def label_of(version: int) -> str:
    """A version's short name with its aliases, for instance ``morph/3 (champion)``."""
    aliases = _get(version).aliases
    return f"{MODEL_NAME}/{version}" + (f" ({', '.join(sorted(aliases))})" if aliases else "")


def uri_of(version: int) -> str:
    """A version as every verb takes it."""
    return f"models:/{MODEL_NAME}/{version}"


def identity(model: str, about: Mapping[str, Any]) -> dict[str, str]:
    """Tags that link a run to the registered version of the model that it used.

    Parameters
    ----------
    model : as the user named it; about : the classifier's own, with the run that trained it.
    """
    run = about.get("run")
    version = version_of(model)
    if version is None and run:
        version = version_made_by(str(run))
    tags = {"model_run": run, "model_version": version}
    return {name: str(value) for name, value in tags.items() if value}


def version_made_by(run_id: str) -> int | None:
    """The newest version that a run registered; None where it registered none."""
    import mlflow

    found = mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'")
    return max((int(version.version) for version in found if version.name == MODEL_NAME), default=None)


def evaluations_of(version: int, runs: list) -> list:
    """The MLflow `runs` that evaluated a version, in the order given; cross-validations evaluate other models."""
    named = uri_of(version)
    return [
        run
        for run in runs
        if (run.data.tags.get("morph.model_version") == str(version) or run.data.params.get("model") == named)
        and not run.data.params.get("split", "").endswith("folds")
    ]


def trained(version: int | None, run_id: str | None = None) -> Trained:
    """The training of a version, or of the model that a run trained; empty where it is not tracked here."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        if version is not None:
            run_id = _get(version).run_id or run_id
        if not run_id:
            return Trained()
        run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException:  # deleted since, or tracked elsewhere
        return Trained()
    tags = run.data.tags
    before = tags.get("morph.parent_version")
    return Trained(
        _params(run),
        tags.get("morph.parent", ""),
        trained(int(before)).params if before and int(before) != version else {},
    )


def adopt(run_id: str, version: int) -> None:
    """Tag a run as an evaluation of a version."""
    import mlflow

    mlflow.MlflowClient().set_tag(run_id, "morph.model_version", str(version))


def note(version: int, name: str, text: str) -> None:
    """Tag a version of the model with a sentence.

    Parameters
    ----------
    version : its number.
    name : of the tag.
    text : the sentence.
    """
    import mlflow

    mlflow.MlflowClient().set_model_version_tag(MODEL_NAME, str(version), name, text)


def _params(run) -> dict[str, str]:
    params = {name: value for name, value in run.data.params.items() if name not in _NOT_TRAINING}
    inputs = run.inputs.dataset_inputs if run.inputs else []
    names = [
        each.dataset.name
        for each in inputs
        if any(tag.key == "mlflow.data.context" and tag.value == "training" for tag in each.tags)
    ]
    return {**params, TRAINED_ON: ", ".join(dict.fromkeys(names))} if names else params


def _get(version: int):
    import mlflow

    return mlflow.MlflowClient().get_model_version(MODEL_NAME, str(version))


def check_alias(alias: str | None) -> None:
    """InputError unless MLflow accepts this alias for a registered model, or it is None."""
    if alias is None:
        return
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        why = first_line(error.message)
        raise InputError(
            f"'{alias}' cannot be an alias ({why}); give --alias another name, such as champion."
        ) from None


#: Packages that the copy of morph inside a registered model imports.
REQUIREMENTS = ("keras", "tensorflow", "numpy", "scipy", "pyarrow")


#: The registered model's description; each version has one of its own.
DESCRIPTION = (
    "Galaxy morphology: the probability of every Galaxy Zoo answer, an embedding, the reconstruction error and an "
    "anomaly score of each galaxy. Input: `image`, float32 [n, size, size, 3], nanomaggies per pixel in the bands g, "
    "r, i, NaN where there are no data."
)


def log_classifier(
    run: Run, classifier, register_as: str | None = MODEL_NAME, aliases: Iterable[str] = ()
) -> int | None:
    """Log a classifier with its run and register it.

    Parameters
    ----------
    run, classifier : see `log_model`.
    register_as, aliases : see `register`; None does not register it.

    Returns
    -------
    The new version, or None.
    """
    logged = log_model(run, classifier)
    return None if register_as is None else register(logged, run.id, register_as, aliases)


def log_model(run: Run, classifier) -> tuple[str, str]:
    """Log a classifier with its run; returns the URI and the id of the logged model, which `register` takes.

    The logged model holds one ``.keras`` file, which `morph.model.store.load_model` finds, and a copy of the package
    `morph`, so that ``mlflow.pyfunc.load_model(uri).predict({"image": flux})`` and ``mlflow models serve`` work with
    nothing installed but its requirements from PyPI.

    Raises InputError where MLflow does not answer.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    ready()
    classifier.about.setdefault("run", run.id)
    tags = _tags(classifier)
    made = run.client.create_logged_model(run.experiment_id, "model", run.id, tags, model_type="classifier")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # MLflow suggests inferring what is given here.
        warnings.filterwarnings("ignore", module="mlflow")
        path, code, whole = (Path(folder) / name for name in ("model.keras", "code/morph", "model"))
        classifier.save(path)
        _copy_code(code)
        # Saved and then logged, because MLflow's own `log_model` would load the model once more to try the example.
        mlflow.pyfunc.save_model(
            str(whole),
            loader_module="morph.model.store",
            data_path=str(path),
            code_paths=[str(code)],
            mlflow_model=Model(model_id=made.model_id, run_id=run.id),
            signature=signature(classifier),
            input_example={"image": example(classifier.size)},
            pip_requirements=requirements(),
            metadata={"survey": classifier.survey, "morph": __version__},
        )
        run.client.log_model_artifacts(made.model_id, str(whole))
    run.client.finalize_logged_model(made.model_id, "READY")
    run.client.log_outputs(run.id, [LoggedModelOutput(made.model_id, step=0)])
    return made.model_uri, made.model_id


def register(logged: tuple[str, str], run_id: str, name: str = MODEL_NAME, aliases: Iterable[str] = ()) -> int:
    """Register a logged model.

    Parameters
    ----------
    logged : what `log_model` returned.
    run_id : the run.
    name, aliases : of the registered model, and of the new version.

    Returns
    -------
    The new version.

    Raises
    ------
    InputError : MLflow does not answer.
    """
    import mlflow

    ready()
    client = mlflow.MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, {"task": "galaxy-morphology"}, DESCRIPTION)
    uri, model_id = logged
    tags = {key: text for key, text in client.get_logged_model(model_id).tags.items() if key.startswith("morph.")}
    made = client.create_model_version(name, uri, run_id, tags, description=_description(tags), model_id=model_id)
    for alias in aliases:
        set_alias(alias, int(made.version), name)
    return int(made.version)


def requirements() -> list[str]:
    """The pip requirements of a registered model, in the versions that are installed here."""
    found = []
    for name in REQUIREMENTS:
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # TensorFlow, where a model was trained with JAX
            found.append(name)
    return found


def example(size: int):
    """One galaxy as the model takes it, float32 [1, size, size, 3]: an exponential disk of 18 mag or so."""
    import numpy as np

    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disk = np.exp(-np.hypot(x, 1.6 * y) / (0.1 * size))
    return (63 * disk / disk.sum())[None, ..., None].astype("float32") * np.array([0.6, 1.0, 1.3], "float32")


def _copy_code(to: Path) -> None:
    """The package `morph` without the weights that ship with it."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if (Path(folder) / name).is_file() and not name.endswith(".py")]

    source = Path(morph.__file__).parent
    shutil.copytree(source, to, ignore=lambda f, n: [*left_out(f, n), "weights", "__pycache__"])


def _tags(classifier) -> dict[str, str]:
    """Tags that identify a model in the registry."""
    about = classifier.about
    found = {
        "survey": classifier.survey,
        "version": __version__,
        "trained_on": ", ".join(about.get("trained_on", ())),
        "votes": about.get("votes"),
        "simulated": ", ".join(about.get("simulated", ())),
        "parent": about.get("parent"),
        "run_name": about.get("run_name"),
    }
    return {f"morph.{name}": str(value) for name, value in found.items() if value}


def _description(tags: dict[str, str]) -> str:
    """One sentence about a version, from its tags."""
    text = f"For galaxies of {tags.get('morph.survey', 'an unknown survey')}"
    if trained_on := tags.get("morph.trained_on"):
        text += f", trained on {trained_on}"
    if parent := tags.get("morph.parent"):
        text += f", starting from {parent}"
    return f"{text}, by morph {tags.get('morph.version', __version__)}."


def signature(classifier):
    """The MLflow signature of the exported model's `serving_default`."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    from morph.decision_tree import ANSWERS
    from morph.model.similarity import SIMILARITY_SIZE

    def tensor(name: str, *shape: int, kind: str = "float32") -> TensorSpec:
        return TensorSpec(np.dtype(kind), (-1, *shape), name)

    answers = len(ANSWERS)
    outputs: list[ColSpec | TensorSpec] = [
        tensor("probabilities", answers),
        tensor("tree_probabilities", answers),
        tensor("concentration", answers),
        tensor("embedding", classifier.embedding_size),
        tensor("similarity", SIMILARITY_SIZE),
        tensor("reconstruction_error"),
        tensor("anomaly_score"),
        tensor("anomaly", kind="bool"),
    ]
    return ModelSignature(Schema([tensor("image", classifier.size, classifier.size, 3)]), Schema(outputs))
