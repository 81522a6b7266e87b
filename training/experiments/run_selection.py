"""The evaluations that a comparison's names stand for: runs, or registered versions with all their evaluations."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morph.errors import InputError
from training.evaluation.evaluate import FOLDER, Evaluation
from training.experiments import registry, tracking
from training.experiments.comparison import Compared

#: The number of runs to compare when none is named.
NEWEST = 3
#: The number of a version's evaluations to consider, newest first.
_MOST = 30


def find(names: Sequence[str], experiment: str | None = None) -> list[Compared]:
    """The evaluations that names stand for, in the order of the names.

    Parameters
    ----------
    names : each a run (its name or id), a registered version (``models:/morph/3``, ``models:/morph@champion``) or
        another model as `morph evaluate` was given it. A model stands for all its evaluations, the newest of each set
        of galaxies, and so does a run that trained a registered model. Without names, the newest evaluated run and
        the newest that share galaxies with it are taken.
    experiment : where to look; everywhere if None.

    InputError when a name is unknown, has no evaluation, or when there are no runs at all.
    """
    tracking.setup()
    runs = tracking.list_runs(experiment)
    if names:
        return [found for name in dict.fromkeys(names) for found in _named(name, runs)]
    newest: list[Compared] = []
    for run in runs:
        if not _is_evaluated(run):
            continue
        candidate = _load(run)
        if not newest or np.isin(candidate.evaluation.ids, newest[0].evaluation.ids).any():
            newest.append(candidate)
        if len(newest) == NEWEST:
            break
    if not newest:
        where = f"in experiment '{experiment}'" if experiment else "here"
        raise InputError(f"There are no evaluated runs {where}; make one with `morph evaluate MODEL DATASET`.")
    return newest[::-1]


def with_version(found: Sequence[Compared], version: int | None) -> list[Compared]:
    """The runs, and a version's evaluations of the same galaxies where it is not among them."""
    if version is None or any(run.version == version for run in found):
        return list(found)
    wanted = [set(run.evaluation.ids) for run in found]
    more = _of_version(version, tracking.list_runs(), registry.label_of(version))
    return [*found, *(each for each in more if any(ids <= set(each.evaluation.ids) for ids in wanted))]


def siblings(run: Compared) -> list[Compared]:
    """All evaluations of a run's model, its own among them, the newest of each set of galaxies."""
    runs = tracking.list_runs()
    if run.version is not None:
        return _of_version(run.version, runs, run.name)
    return _newest([other for other in runs if other.data.params.get("model") == run.params.get("model")], run.name)


def _named(name: str, runs: list) -> list[Compared]:
    run = next((run for run in runs if name in (run.info.run_id, run.info.run_name)), None)
    version = None
    if run is None:
        version = tracking.version_of(name)
    elif _is_evaluated(run):
        return [_load(run)]
    else:
        version = registry.version_made_by(run.info.run_id)
    if version is not None:
        found = _of_version(version, runs, str(run.info.run_name) if run else registry.label_of(version))
        model = registry.uri_of(version)
    else:
        evaluated = [run for run in runs if run.data.params.get("model") == name]
        found, model = _newest(evaluated, name.removeprefix("models:/")), name
    if found:
        return found
    if run is not None and version is None:
        raise InputError(f"Run '{name}' holds no evaluation; evaluate its model with `morph evaluate MODEL DATASET`.")
    if version is not None or Path(name).exists():
        raise InputError(
            f"'{name}' has no evaluation; make one with `morph evaluate {model} DATASET --split validation`."
        )
    known = ", ".join(dict.fromkeys(str(run.info.run_name) for run in runs[:8])) or "none yet"
    raise InputError(f"There is no run '{name}', nor a registered version of that name; the newest runs are: {known}.")


def _of_version(version: int, runs: list, label: str) -> list[Compared]:
    return _newest(registry.evaluations_of(version, runs), label)


def _newest(runs: list, label: str) -> list[Compared]:
    """The newest of these runs on each set of galaxies, as one group."""
    found: dict[tuple, Compared] = {}
    for run in runs[:_MOST]:
        inputs = run.inputs.dataset_inputs if run.inputs else []
        galaxies = tuple(sorted(each.dataset.digest for each in inputs)) or (run.info.run_id,)
        if galaxies not in found and _is_evaluated(run):
            found[galaxies] = _load(run, label)
    return list(found.values())


def _is_evaluated(run) -> bool:
    import mlflow

    return bool(mlflow.MlflowClient().list_artifacts(run.info.run_id, FOLDER))


def _load(run, label: str | None = None) -> Compared:
    """A run with its evaluation; with a label, as a part of the group of that name."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        evaluation = Evaluation.load(Path(mlflow.MlflowClient().download_artifacts(run.info.run_id, FOLDER, folder)))
    tags, params = dict(run.data.tags), dict(run.data.params)
    known, model = tags.get("morph.model_version"), params.get("model", "")
    version = None
    if not evaluation.about["split"].endswith("folds"):
        # A number does not move as an alias does.
        version = int(known) if known else tracking.version_of(model) if "@" not in model else None
    return Compared(
        run.info.run_id,
        label or str(run.info.run_name),
        params,
        tags,
        evaluation,
        version,
        registry.trained(version, tags.get("morph.model_run")),
        label or "",
    )
