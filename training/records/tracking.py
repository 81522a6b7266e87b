"""Runs and models in MLflow.

Everything is kept in ``mlruns/`` below the current directory, an SQLite database and a folder of artifacts, or
on any MLflow server that `MLFLOW_TRACKING_URI` names. MLflow 3 no longer writes plain files.
"""

import logging
import os
import signal
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morph import __version__
from morph.errors import BadInput
from morph.galaxies import Galaxies
from training.records import code_version

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

#: What a run is for.
KINDS = ("pretrain", "finetune", "evaluate", "transfer")
#: The registered model, and the experiment of runs that name none.
MODEL_NAME = "morph"
DEFAULT_EXPERIMENT = "morph"
#: Seconds to wait for a tracking server's first word. MLflow itself would try for minutes.
PATIENCE = 10


def setup(uri: str | None = None) -> str:
    """Say where runs are kept, and keep MLflow quiet; returns the tracking URI.

    `uri` beats `MLFLOW_TRACKING_URI`, which beats ``mlruns/mlflow.db``. BadInput when the URI is of a kind that
    MLflow no longer takes, or its server does not answer.
    """
    from morph.model.store import DEFAULT_TRACKING

    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith(("http://", "https://")):
        _knock(uri)
    elif "://" not in uri or uri.startswith("file:"):
        raise BadInput(f"MLflow keeps no runs in plain files ('{uri}'); set MLFLOW_TRACKING_URI to sqlite:///FILE.db.")
    elif uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)

    import mlflow

    # Migrations of a new database, and advice on type hints and schemas, say nothing that a user can act on.
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    return uri


def _knock(uri: str) -> None:
    try:
        urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        return  # it answers, and MLflow itself knows how to log in
    except OSError as error:
        raise BadInput(
            f"No MLflow server answers at {uri} ({error}); start it, or unset MLFLOW_TRACKING_URI."
        ) from None


#: Set when SIGTERM came. Python swallows an exception that a signal raises inside a finaliser, so the next metrics
#: that a run logs ask again.
_terminated = threading.Event()


class Run:
    """A run that is being written.

    Attributes
    ----------
    id, name, experiment : as in MLflow.
    """

    def __init__(self, client: "MlflowClient", id: str, name: str, experiment: str):
        self.client, self.id, self.name, self.experiment = client, id, name, experiment

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters. BadInput when a resumed run was started with other values."""
        from mlflow.entities import Param

        known = self.client.get_run(self.id).data.params
        for name, value in params.items():
            if name in known and known[name] != str(value):
                raise BadInput(
                    f"Run '{self.name}' was started with {name}={known[name]}, not {value}; "
                    f"resume it with the same settings or start a new run."
                )
        new = [Param(name, str(value)) for name, value in params.items() if name not in known]
        self.client.log_batch(self.id, params=new)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics, for instance once an epoch."""
        if _terminated.is_set():
            raise KeyboardInterrupt
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(
            self.id, metrics=[Metric(name, float(value), now, step) for name, value in metrics.items()]
        )

    def log_dataset(self, galaxies: Galaxies, context: str = "training") -> None:
        """Record which galaxies went in: name, digest, where from, and whether they are simulated."""
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        name = dataset_name(galaxies)
        dataset = Dataset(
            name=name,
            digest=galaxies.digest,
            source_type="local",
            source=json.dumps({"uri": name}),
            profile=json.dumps({"galaxies": len(galaxies), "answered": galaxies.answered()}),
        )
        simulated = "yes" if galaxies.simulated else "no"
        tags = {"mlflow.data.context": context, "simulated": simulated, "survey": galaxies.survey}
        self.client.log_inputs(self.id, [DatasetInput(dataset, [InputTag(*tag) for tag in tags.items()])])
        before = self.client.get_run(self.id).data.tags.get("morph.simulated", simulated)
        self.tag({"simulated": simulated if before == simulated else "partly", "survey": galaxies.survey})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Record tags; they are kept as ``morph.<name>``."""
        for name, value in tags.items():
            self.client.set_tag(self.id, f"morph.{name}", value)

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Keep a matplotlib figure as an artifact, for instance ``plots/training.png``."""
        self.client.log_figure(self.id, figure, path, save_kwargs={"dpi": 130})

    def log_folder(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a folder's files as artifacts."""
        self.client.log_artifacts(self.id, str(path), folder)

    def log_json(self, content: dict, path: str) -> None:
        """Keep a JSON document as an artifact."""
        self.client.log_dict(self.id, content, path)


def dataset_name(galaxies: Galaxies) -> str:
    """The names of the folders that a set was read from, without where on this machine they are."""
    paths = str(galaxies.about.get("path") or "unnamed").split(" + ")
    return " + ".join(Path(path).name for path in paths)


@contextmanager
def run(
    experiment: str,
    name: str,
    kind: str,
    resume: str | None = None,
    parent: str | None = None,
    uri: str | None = None,
) -> Iterator[Run]:
    """A run, marked FINISHED at the end, KILLED when interrupted or terminated, FAILED on any other error.

    Parameters
    ----------
    experiment, name : made when they do not exist.
    kind : one of `KINDS`.
    resume : id or name of a run to go on with under the same id. BadInput when there is none.
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
    active = mlflow.start_run(run_id, experiment_id, None if run_id else name, nested=mlflow.active_run() is not None)
    this = Run(client, active.info.run_id, active.info.run_name, experiment)
    status = "FAILED"
    try:
        with _termination_interrupts():
            this.tag({"kind": kind, "version": __version__, **code_version.tags()})
            if parent:
                this.tag({"parent": parent})
                version = version_of(parent)
                if version is not None:
                    # An alias may stand for another version tomorrow.
                    this.tag({"parent_version": str(version)})
            yield this
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run(status)


def _experiment(client: "MlflowClient", name: str, uri: str) -> str:
    """The experiment's id. Beside a local database its artifacts stand beside it too."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage != "active":
            client.restore_experiment(known.experiment_id)
        return known.experiment_id
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "artifacts").as_uri()
    return client.create_experiment(name, artifact_location=location)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM, which batch systems send, end a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_):
        _terminated.set()
        raise KeyboardInterrupt

    _terminated.clear()
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def find_run(name: str, experiment: str | None = None) -> str:
    """The id of a run given by id or name, the newest of that name. BadInput when there is none."""
    runs = list_runs(experiment)
    for found in runs:
        if name in (found.info.run_id, found.info.run_name):
            return found.info.run_id
    names = ", ".join(dict.fromkeys(str(found.info.run_name) for found in runs[:8])) or "none yet"
    raise BadInput(f"There is no run '{name}'; the newest are: {names}.")


def list_runs(experiment: str | None = None) -> list:
    """MLflow runs, newest first, of one experiment or of all; BadInput when there is no such experiment."""
    import mlflow

    client = mlflow.MlflowClient()
    experiments = client.search_experiments()
    chosen = [e.experiment_id for e in experiments if experiment is None or e.name == experiment]
    if not chosen:
        names = ", ".join(e.name for e in experiments)
        raise BadInput(f"There is no experiment '{experiment}'; there are: {names}.")
    return list(client.search_runs(chosen, order_by=["attributes.start_time DESC"], max_results=1000))


def log_classifier(
    run: Run, classifier, register_as: str | None = MODEL_NAME, aliases: Iterable[str] = ()
) -> int | None:
    """Log a classifier with its run and register it; returns the new version, or None if not registered."""
    logged = log_model(run, classifier)
    return None if register_as is None else register(logged, run.id, register_as, aliases)


def log_model(run: Run, classifier) -> tuple[str, str]:
    """Log a classifier with its run; returns the URI and the id of the logged model, which `register` takes.

    The logged model holds one ``.keras`` file, which `morph.model.store.load_model` finds, and answers by itself
    through ``mlflow.pyfunc.load_model(uri).predict({"image": flux})`` where morph is installed, on any backend.
    """
    import mlflow

    classifier.about.setdefault("run", run.id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # An example would only let MLflow check a signature that is known here.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        path = Path(folder) / "model.keras"
        classifier.save(path)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module="training.registered",
            data_path=str(path),
            signature=signature(classifier),
            # Given explicitly, because MLflow would otherwise load the model once more to find out.
            pip_requirements=[f"morph-galaxies=={__version__}"],
            metadata={"survey": classifier.survey, "morph": __version__},
        )
    return logged.model_uri, logged.model_id


def register(logged: tuple[str, str], run_id: str, name: str = MODEL_NAME, aliases: Iterable[str] = ()) -> int:
    """Register what `log_model` logged with a run; returns the new version."""
    import mlflow

    client = mlflow.MlflowClient()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    uri, model_id = logged
    version = int(client.create_model_version(name, uri, run_id, model_id=model_id).version)
    for alias in aliases:
        set_alias(alias, version, name)
    return version


def set_alias(alias: str, version: int, name: str = MODEL_NAME) -> None:
    """Let ``models:/<name>@<alias>`` stand for a version."""
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias(name, alias, str(version))


def version_of(model: str, name: str = MODEL_NAME) -> int | None:
    """The registered version that `models:/morph/3` or `models:/morph@alias` stands for; None where there is none."""
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


def signature(classifier):
    """The MLflow signature of the exported model's `serving_default`."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    from morph.questions import ANSWERS

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
