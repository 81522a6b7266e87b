"""Models in MLflow: logged with the run that trained them, and registered."""

import importlib.metadata
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import morph
from morph import __version__
from training.experiments.tracking import MODEL_NAME, Run, ready, set_alias

#: What the copy of morph that goes with a model imports. Anything else of morph's own requirements is for other work.
REQUIREMENTS = ("keras", "tensorflow", "numpy", "scipy", "pyarrow")

#: What stands in the registry about the model, beside each version's own description.
DESCRIPTION = (
    "Galaxy morphology: the probability of every Galaxy Zoo answer, an embedding, the reconstruction error and an "
    "anomaly score of each galaxy. Input: `image`, float32 [n, size, size, 3], nanomaggies per pixel in the bands g, "
    "r, i, NaN where there are no data."
)


def log_classifier(
    run: Run, classifier, register_as: str | None = MODEL_NAME, aliases: Iterable[str] = ()
) -> int | None:
    """Log a classifier with its run and register it; returns the new version, or None if not registered."""
    logged = log_model(run, classifier)
    return None if register_as is None else register(logged, run.id, register_as, aliases)


def log_model(run: Run, classifier) -> tuple[str, str]:
    """Log a classifier with its run; returns the URI and the id of the logged model, which `register` takes.

    The logged model holds one ``.keras`` file, which `morph.model.store.load_model` finds, and a copy of the package
    `morph`, so that ``mlflow.pyfunc.load_model(uri).predict({"image": flux})`` and ``mlflow models serve`` answer with
    nothing installed but its requirements, which PyPI has.

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
        # MLflow proposes to infer what is given here.
        warnings.filterwarnings("ignore", module="mlflow")
        path, code, whole = (Path(folder) / name for name in ("model.keras", "code/morph", "model"))
        classifier.save(path)
        _copy_code(code)
        # Saved and then logged, because MLflow's own `log_model` would load the model once more to try the example.
        mlflow.pyfunc.save_model(
            str(whole),
            loader_module="morph.model.registered",
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
    """Register what `log_model` logged with a run; returns the new version. InputError where MLflow does not
    answer."""
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
    """What pip installs for a registered model, in the versions that are installed here."""
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
    """What tells one model from another in the registry."""
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
    said = f"For galaxies of {tags.get('morph.survey', 'an unknown survey')}"
    if trained_on := tags.get("morph.trained_on"):
        said += f", trained on {trained_on}"
    if parent := tags.get("morph.parent"):
        said += f", starting from {parent}"
    return f"{said}, by morph {tags.get('morph.version', __version__)}."


def signature(classifier):
    """The MLflow signature of the exported model's `serving_default`."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    from morph.decision_tree import ANSWERS

    def tensor(name: str, *shape: int, kind: str = "float32") -> TensorSpec:
        return TensorSpec(np.dtype(kind), (-1, *shape), name)

    answers = len(ANSWERS)
    outputs: list[ColSpec | TensorSpec] = [
        tensor("probabilities", answers),
        tensor("tree_probabilities", answers),
        tensor("concentration", answers),
        tensor("embedding", classifier.embedding_size),
        tensor("reconstruction_error"),
        tensor("anomaly_score"),
        tensor("anomaly", kind="bool"),
    ]
    return ModelSignature(Schema([tensor("image", classifier.size, classifier.size, 3)]), Schema(outputs))
