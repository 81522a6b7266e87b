"""The records of a run on their way to MLflow.

Each record is first written atomically below ``mlruns/unsent``, and removed when MLflow has it. A thread sends records
to a server, so that a disconnected server neither stops nor delays the training. Records that could not be sent when
the run ends stay there; `send_all`, which is `morph sync`, sends them.
"""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morph.atomic import atomic
from morph.errors import InputError, causes, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The folder of unsent records, with a subfolder for each run.
UNSENT = Path("mlruns") / "unsent"
#: Seconds that the end of a run waits for unsent records, and between two attempts.
TIMEOUT, RETRY = 10.0, 15.0
#: Names of a record and of the other files in a run's folder.
_RECORD, _ABOUT, _FILES = "record.json", "about.json", "files"


class Outbox:
    """The records of one run.

    Parameters
    ----------
    client, uri : of the store; run_id, name : of the run.
    """

    def __init__(self, client: "MlflowClient", uri: str, run_id: str, name: str):
        self._client, self._uri, self._run, self._name = client, uri, run_id, name
        self._folder = UNSENT / run_id
        self._next = len(_records(self._folder))
        self._problem: Exception | None = None
        self._lock: int | None = None
        self._thread: threading.Thread | None = None
        self._wake, self._closed = threading.Event(), threading.Event()

    def put(self, kind: str, content: Any, files: Callable[[Path], Any] | None = None) -> None:
        """Log a record: at once to a database file, soon to a server.

        Parameters
        ----------
        kind : one of `_SENDERS`; content : for its function, JSON-able.
        files : writes the files that go with it into a folder.

        Raises InputError where nothing can be written below `UNSENT`.
        """
        self._open()
        with atomic(self._folder / f"{self._next:06d}", "A run's records") as building:
            building.mkdir()
            if files:
                (building / _FILES).mkdir()
                files(building / _FILES)
            (building / _RECORD).write_text(json.dumps([kind, content]), encoding="utf-8")
        self._next += 1
        if self._uri.startswith(("http://", "https://")):
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_on, daemon=True, name="morph-outbox")
                self._thread.start()
            self._wake.set()
        else:
            self._send()

    def close(self, timeout: float = TIMEOUT) -> None:
        """Send the remaining records for up to `timeout` seconds, and report those that remain unsent."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        elif self._next:
            self._send()
        left = len(_records(self._folder))
        if left:
            reason = _reason(self._problem) if self._problem else "the server is slow"
            click.echo(
                f"{left} records of run '{self._name}' could not be sent to MLflow at {self._uri} ({reason}); they "
                f"are kept in {self._folder}, and `morph sync` sends them.",
                err=True,
            )
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            if not left:
                shutil.rmtree(self._folder, ignore_errors=True)
                with suppress(OSError):
                    UNSENT.rmdir()

    def _open(self) -> None:
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with atomic(self._folder / _ABOUT) as building:
                building.write_text(json.dumps({"uri": self._uri, "name": self._name}), encoding="utf-8")

    def _send_on(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            self._send()
            if self._problem is not None:
                self._closed.wait(RETRY)
                self._wake.set()
        self._send()

    def _send(self) -> None:
        """Send records in order, as long as the store answers. A record that it rejects stays."""
        self._problem = None
        for record in _records(self._folder):
            try:
                _send(self._client, self._run, record)
            except Exception as error:  # stores raise errors of many types
                self._problem = error
                if not _is_rejected(error):
                    return
                if self._thread is None:
                    shutil.rmtree(record)
                    raise


def send_all(say: Callable[[str], None]) -> None:
    """Send all records below `UNSENT` to their stores.

    Parameters
    ----------
    say : called with a sentence for each run.

    Raises InputError where something could not be sent; it stays where it is.

    Examples
    --------
    >>> send_all(print)
    mlruns/unsent holds no records.
    """
    problems = []
    folders = sorted(path for path in UNSENT.glob("*") if (path / _ABOUT).is_file())
    if not folders:
        say(f"{UNSENT} holds no records.")
    for folder in folders:
        # Gone where another command has sent everything meanwhile.
        with suppress(FileNotFoundError), _locked(folder) as free:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            if not free:
                say(f"Run '{about['name']}' is still in progress and sends its records itself.")
                continue
            records = _records(folder)
            problem = _try_to_send(records, folder.name, about["uri"])
            if left := len(_records(folder)):
                problems.append(f"{left} records of run '{about['name']}' ({problem})")
            else:
                shutil.rmtree(folder, ignore_errors=True)
            say(f"Sent {len(records) - left} records of run '{about['name']}' to {about['uri']}.")
    with suppress(OSError):
        UNSENT.rmdir()
    if problems:
        raise InputError(f"MLflow rejected {', '.join(problems)}; they stay in {UNSENT}.")


def _try_to_send(records: list[Path], run_id: str, uri: str) -> str:
    """Send records to a store; returns the reason why some were not sent."""
    import mlflow

    from training.experiments import tracking

    problem = ""
    try:
        tracking.setup(uri)
        client = mlflow.MlflowClient(uri)
        for record in records:
            try:
                _send(client, run_id, record)
            except Exception as error:
                problem = _reason(error)
                if not _is_rejected(error):
                    raise
    except Exception as error:  # stores raise errors of many types
        problem = _reason(error)
    return problem


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a run's folder; False where a run is writing to it."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def _records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if (path / _RECORD).is_file())


def _send(client: "MlflowClient", run_id: str, record: Path) -> None:
    """Log one record, and remove it."""
    kind, content = json.loads((record / _RECORD).read_text(encoding="utf-8"))
    _SENDERS[kind](client, run_id, content, record / _FILES)
    # First, so that no record is ever without its files.
    (record / _RECORD).unlink()
    shutil.rmtree(record)


def _is_rejected(error: Exception) -> bool:
    """Whether the store answers and rejects the record."""
    return getattr(error, "error_code", "") in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")


def _reason(error: Exception) -> str:
    """The first cause of an error, in one line."""
    return first_line(error if isinstance(error, InputError) else [*causes(error)][-1])


# --- The kinds of records: each is sent by a function of client, run, content and the folder of its files --------


def _params(client, run_id: str, content: dict[str, str], _: Path) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(*each) for each in content.items()])


def _metrics(client, run_id: str, content: list, _: Path) -> None:
    from mlflow.entities import Metric

    client.log_batch(run_id, metrics=[Metric(*each) for each in content])


def _tags(client, run_id: str, content: dict[str, str], _: Path) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*each) for each in content.items()])


def _dataset(client, run_id: str, content: dict[str, Any], _: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = [InputTag(*each) for each in content["tags"].items()]
    client.log_inputs(run_id, [DatasetInput(Dataset(**content["dataset"]), tags)])


def _artifacts(client, run_id: str, content: str | None, files: Path) -> None:
    client.log_artifacts(run_id, str(files), content)


def _status(client, run_id: str, content: str, _: Path) -> None:
    client.set_terminated(run_id, content)


_SENDERS: dict[str, Callable] = {
    "params": _params,
    "metrics": _metrics,
    "tags": _tags,
    "dataset": _dataset,
    "artifacts": _artifacts,
    "status": _status,
}
