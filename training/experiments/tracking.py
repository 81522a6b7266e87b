"""Runs and models in MLflow.

Everything is kept in ``mlruns/`` below the current directory, an SQLite database and a folder of artifacts, or
on any MLflow server that `MLFLOW_TRACKING_URI` names. MLflow 3 no longer writes plain files.
"""

import json
import logging
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import morph
from morph import __version__, signals
from morph.dataset import Galaxies, dataset_name
from morph.errors import InputError, first_line
from morph.registry import open_store
from morph.signals import sigterm_interrupts
from training.experiments import tracking
from training.experiments.outbox import Outbox

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

#: What a run is for.
KINDS = ("pretrain", "finetune", "evaluate", "transfer")
#: The registered model, and the experiment of runs that name none.
MODEL_NAME = "morph"
DEFAULT_EXPERIMENT = "morph"
#: Seconds to wait for a tracking server's first answer, where MLflow itself would wait for minutes, and at the end of
#: a run that was stopped or has failed.
TIMEOUT, TIMEOUT_FAILED = 10, 3
#: The tag by which MLflow's experiment page recognises trainings.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"

#: The runs in progress, each nested in the one before.
_OPEN: list[str] = []


def setup(uri: str | None = None) -> str:
    """Set the tracking URI and silence MLflow's logging; returns the URI.

    `uri` takes precedence over `MLFLOW_TRACKING_URI`, and that over ``mlruns/mlflow.db``. InputError when MLflow no
    longer accepts that kind of URI, or its server does not answer.
    """
    from morph.registry import DEFAULT_TRACKING

    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith(("http://", "https://")):
        _check_answers(uri)
    elif "://" not in uri or uri.startswith("file:"):
        raise InputError(
            f"MLflow keeps no runs in plain files ('{uri}'); set MLFLOW_TRACKING_URI to sqlite:///FILE.db."
        )

    # The outbox retries the records of a run anyway.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

    import mlflow

    # A user cannot act on migrations of a new database, nor on advice about type hints and schemas.
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Logs with a traceback what it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    open_store(uri)
    mlflow.set_tracking_uri(uri)
    return uri


def ready() -> None:
    """InputError where the server that keeps runs does not answer."""
    import mlflow

    if (uri := mlflow.get_tracking_uri()).startswith(("http://", "https://")):
        _check_answers(uri)


def _check_answers(uri: str) -> None:
    try:
        urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # it answers, and MLflow itself knows how to log in
    except OSError as error:
        raise InputError(
            f"No MLflow server answers at {uri} ({error}); start it, or unset MLFLOW_TRACKING_URI."
        ) from None


class Run:
    """A run in progress. MLflow may receive later what is logged (see `training.experiments.outbox`).

    Attributes
    ----------
    id, name, experiment, experiment_id : as in MLflow.
    """

    def __init__(self, client: "MlflowClient", run: "MlflowRun", experiment: str, uri: str):
        self.client, self.id, self.name = client, run.info.run_id, str(run.info.run_name)
        self.experiment, self.experiment_id = experiment, run.info.experiment_id
        self._params, self._simulated = dict(run.data.params), run.data.tags.get("morph.simulated")
        self._outbox = Outbox(client, uri, self.id, self.name)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters. InputError when a resumed run was started with other values."""
        for name, value in params.items():
            if self._params.get(name, str(value)) != str(value):
                raise InputError(
                    f"Run '{self.name}' was started with {name}={self._params[name]}, not {value}; "
                    f"resume it with the same settings or start a new run."
                )
        new = {name: str(value) for name, value in params.items() if name not in self._params}
        self._params |= new
        self._outbox.put("params", new)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics, for instance once an epoch."""
        signals.check()
        now = int(time.time() * 1000)
        self._outbox.put("metrics", [[name, float(value), now, step] for name, value in metrics.items()])

    def log_table(self, columns: Mapping[str, list], path: str) -> None:
        """Keep a table, {column: values}, as an artifact that MLflow shows beside those of other runs."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self.log_json({"columns": list(columns), "data": rows}, path)
        self._outbox.put("tags", {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])})

    def log_dataset(self, galaxies: Galaxies, context: str = "training") -> None:
        """Record a dataset: name, digest, and whether the galaxies are simulated."""
        name = dataset_name(galaxies)
        dataset = {
            "name": name,
            "digest": galaxies.digest,
            "source_type": "local",
            "source": json.dumps({"uri": name}),
            "profile": json.dumps({"galaxies": len(galaxies), "answered": galaxies.answered()}),
        }
        simulated = "yes" if galaxies.simulated else "no"
        tags = {"mlflow.data.context": context, "simulated": simulated, "survey": galaxies.survey}
        self._outbox.put("dataset", {"dataset": dataset, "tags": tags})
        self._simulated = simulated if self._simulated in (None, simulated) else "partly"
        self.tag({"simulated": self._simulated, "survey": galaxies.survey})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Record tags; they are kept as ``morph.<name>``."""
        self._outbox.put("tags", {f"morph.{name}": value for name, value in tags.items()})

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Keep a matplotlib figure as an artifact, for instance ``plots/training.png``."""
        self._log_file(path, lambda file: figure.savefig(file, dpi=130))

    def log_folder(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a folder's files as artifacts."""
        self._outbox.put("artifacts", folder, lambda files: shutil.copytree(path, files, dirs_exist_ok=True))

    def log_json(self, content: dict, path: str) -> None:
        """Keep a JSON document as an artifact."""
        self._log_file(path, lambda file: file.write_text(json.dumps(content, indent=2), encoding="utf-8"))

    def end(self, status: str) -> None:
        """Mark the run FINISHED, KILLED or FAILED, and send what is not sent yet."""
        self._outbox.put("status", status)
        self._outbox.close(TIMEOUT if status == "FINISHED" else TIMEOUT_FAILED)

    def _log_file(self, path: str, write: Callable[[Path], Any]) -> None:
        folder, _, name = path.rpartition("/")
        self._outbox.put("artifacts", folder or None, lambda files: write(files / name))


@contextmanager
def run(
    experiment: str, name: str, kind: str, resume: str | None = None, parent: str | None = None, uri: str | None = None
) -> Iterator[Run]:
    """A run, marked FINISHED at the end, KILLED when interrupted or terminated, FAILED on any other error.

    Parameters
    ----------
    experiment, name : made when they do not exist.
    kind : one of `KINDS`.
    resume : id or name of a run to go on with under the same id. InputError when there is none.
    parent : the model that this one started from.
    uri : see `setup`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, not one of {KINDS}")
    uri = setup(uri)

    import mlflow

    client = mlflow.MlflowClient()
    experiment_id = _experiment(client, experiment, uri)
    run_id = find_run(resume, experiment) if resume else None
    this = Run(client, _started(client, experiment_id, run_id, name), experiment, uri)
    status = "FAILED"
    _OPEN.append(this.id)
    try:
        with sigterm_interrupts():
            this.tag({"kind": kind, "version": __version__, **code_tags()})
            if parent:
                this.tag({"parent": parent})
                version = version_of(parent)
                if version is not None:
                    # An alias can move to another version.
                    this.tag({"parent_version": str(version)})
            yield this
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _OPEN.remove(this.id)
        this.end(status)


def _started(client: "MlflowClient", experiment_id: str, run_id: str | None, name: str) -> "MlflowRun":
    """A new run, or one that goes on. Not by `mlflow.start_run`, which asks the store again when the process ends."""
    from mlflow.tracking.context import registry

    if run_id:
        client.update_run(run_id, status="RUNNING")
        return client.get_run(run_id)
    tags = registry.resolve_tags({"mlflow.parentRunId": _OPEN[-1]} if _OPEN else {})
    return client.create_run(experiment_id, tags=tags, run_name=name)


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    """The experiment's id. Beside a local database its artifacts stand beside it too."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage != "active":
            client.restore_experiment(known.experiment_id)
        if KIND_TAG not in known.tags:
            client.set_experiment_tag(known.experiment_id, KIND_TAG, KIND)
        return known.experiment_id
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "artifacts").as_uri()
    return client.create_experiment(name, location, {KIND_TAG: KIND})


def find_run(name: str, experiment: str | None = None) -> str:
    """The id of a run given by id or name, the newest of that name. InputError when there is none."""
    runs = list_runs(experiment)
    for found in runs:
        if name in (found.info.run_id, found.info.run_name):
            return found.info.run_id
    names = ", ".join(dict.fromkeys(str(found.info.run_name) for found in runs[:8])) or "none yet"
    raise InputError(f"There is no run '{name}'; the newest are: {names}.")


def list_runs(experiment: str | None = None) -> list:
    """MLflow runs, newest first, of one experiment or of all; InputError when there is no such experiment."""
    import mlflow

    client = mlflow.MlflowClient()
    experiments = client.search_experiments()
    chosen = [e.experiment_id for e in experiments if experiment is None or e.name == experiment]
    if not chosen:
        names = ", ".join(e.name for e in experiments)
        raise InputError(f"There is no experiment '{experiment}'; there are: {names}.")
    return list(client.search_runs(chosen, order_by=["attributes.start_time DESC"], max_results=1000))


def set_alias(alias: str, version: int, name: str = MODEL_NAME) -> None:
    """Give an alias to a version: ``models:/<name>@<alias>``.

    Parameters
    ----------
    alias, version : the alias and its new version.
    name : of the registered model.
    """
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(name, alias, str(version))


def version_of(model: str, name: str = MODEL_NAME) -> int | None:
    """The registered version of `models:/morph/3` or `models:/morph@alias`; None where there is none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    found = None
    try:
        if model.startswith(f"models:/{name}@"):
            found = client.get_model_version_by_alias(name, model.removeprefix(f"models:/{name}@"))
        elif model.startswith(f"models:/{name}/"):
            found = client.get_model_version(name, model.removeprefix(f"models:/{name}/"))
    except MlflowException:
        return None
    return None if found is None else int(found.version)


def code_tags() -> dict[str, str]:
    """The code's `commit`, and `dirty` (yes or no), where the code is a git checkout of its own; else nothing."""
    folder = Path(morph.__file__).parent
    # An installed package can lie inside another repository.
    if not _git(folder, "ls-files", "__init__.py"):
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "dirty": "yes" if _git(folder, "status", "--porcelain", "-uno") else "no"}


def _git(folder: Path, *arguments: str) -> str:
    """The output of git; empty without git or a repository."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def check_tracking() -> None:
    """InputError unless runs can be tracked and models registered where they are to be."""
    uri = tracking.setup()

    import mlflow
    from mlflow.exceptions import MlflowException

    where = mlflow.get_registry_uri()
    try:
        mlflow.MlflowClient().search_registered_models(max_results=1)
    except (MlflowException, OSError) as error:
        why = first_line(error)
        what = f"The model registry at {where}" if where != uri else f"MLflow at {uri}"
        raise InputError(f"{what} does not answer ({why}); start it, or set MLFLOW_TRACKING_URI to another.") from None
