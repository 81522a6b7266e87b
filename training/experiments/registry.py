"""Registered versions: which evaluations are a version's own, how it was trained, and what it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.experiments.tracking import MODEL_NAME, version_of

#: Under which name the training datasets stand among the parameters.
TRAINED_ON = "trained on"
#: Parameters that say how a run was called and not how a model was trained.
_NOT_TRAINING = ("model", "split")


@dataclass(frozen=True)
class Trained:
    """How a model was trained, as far as that is tracked.

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
    """The version that has an alias; None where none has."""
    return version_of(f"models:/{MODEL_NAME}@{alias}")


def label_of(version: int) -> str:
    """A version's short name with its aliases, for instance ``morph/3 (champion)``."""
    aliases = _get(version).aliases
    return f"{MODEL_NAME}/{version}" + (f" ({', '.join(sorted(aliases))})" if aliases else "")


def uri_of(version: int) -> str:
    """A version as every verb takes it."""
    return f"models:/{MODEL_NAME}/{version}"


def identity(model: str, about: Mapping[str, Any]) -> dict[str, str]:
    """Tags by which a run that used a model is found again from its registered version.

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
    """Those of the MLflow `runs` that evaluated a version, in the order given; a cross-validation evaluates others."""
    named = uri_of(version)
    return [
        run
        for run in runs
        if (run.data.tags.get("morph.model_version") == str(version) or run.data.params.get("model") == named)
        and not run.data.params.get("split", "").endswith("folds")
    ]


def trained(version: int | None, run_id: str | None = None) -> Trained:
    """How a version, or the model that a run trained, was made; empty where that is not tracked here."""
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
    """Note that a run evaluated a version."""
    import mlflow

    mlflow.MlflowClient().set_tag(run_id, "morph.model_version", str(version))


def note(version: int, name: str, text: str) -> None:
    """Keep a sentence with a version, as a tag."""
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
