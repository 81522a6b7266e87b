"""The Dask worker: it scores one tile after the other with a backend that it keeps open."""

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from morph import __version__
from morph.errors import InputError
from morph.tiles.tile import tile_name
from serving.scores.summary import Result
from serving.scoring.backends import Answers, Backend
from serving.scoring.job import Job
from serving.scoring.pipeline import score_tiles

#: The job in its folder.
FILE = "job.pickle"

#: Backends that a worker keeps open: those of jobs that share it.
KEPT = 2


@dataclass(frozen=True)
class Unseen:
    """A tile with a file that a worker does not see."""

    tile: str
    worker: str
    path: Path


@contextmanager
def job_folder(job: Job) -> Iterator[Path]:
    """The folder in the output folder where workers find the job and its model, as long as the context lasts."""
    import cloudpickle

    folder = job.out / f".job-{job.token}"
    try:
        folder.mkdir()
        shared = replace(job, source=job.source.shared(folder))
        (folder / FILE).write_bytes(cloudpickle.dumps(shared))
    except OSError as error:
        raise InputError(f"Nothing can be written into '{job.out}' ({error.strerror}).") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sees(paths: Sequence[Path]) -> tuple[str, Path | None]:
    """This worker's version of morph, and the first of the files that it does not see."""
    return __version__, next((path for path in paths if not path.exists()), None)


def score_one(group: list[Path], folder: Path) -> Result | Unseen | InputError:
    """Score one tile of the job in `folder`; an InputError where the backend or the output fails, and not the tile."""
    for path in (folder / FILE, *group):
        if not path.exists():
            return Unseen(tile_name(group), _name(), path)
    try:
        job = _job(folder)
        (result,) = score_tiles([group], job, _backend(job), lambda tiles, galaxies: None)
    except InputError as error:
        # As it is, an error would count as the task's failure.
        return InputError(str(error))
    return result


@lru_cache(KEPT)
def _job(folder: Path) -> Job:
    import cloudpickle

    logging.getLogger("serving").addHandler(_FORWARDING)
    return cloudpickle.loads((folder / FILE).read_bytes())


#: The open backends of this process: {job's token: (backend, what closes it)}, the latest job last.
_OPEN: dict[str, tuple[Backend, ExitStack]] = {}
_OPENING = threading.Lock()


def _backend(job: Job) -> Backend:
    """The job's backend, opened once a job and process."""
    with _OPENING:
        if job.token not in _OPEN:
            while len(_OPEN) >= KEPT:
                _OPEN.pop(next(iter(_OPEN)))[1].close()
            stack = ExitStack()
            _OPEN[job.token] = _limited(stack.enter_context(job.source.open())), stack
        backend = _OPEN[job.token][0]
    if backend.description["version"] != job.description["version"]:
        raise InputError(
            f"The worker {_name()} has version {backend.description['version']} of the model, and this machine "
            f"{job.description['version']}; start again when both have the same."
        )
    return backend


def _limited(backend: Backend) -> Backend:
    """The backend, for a worker with several threads, called by no more of them than it can serve."""
    turns = threading.Semaphore(backend.at_once)

    def answer(stamps) -> Answers:
        with turns:
            return backend.answer(stamps)

    return replace(backend, answer=answer)


class _ForwardingHandler(logging.Handler):
    """Forwards log messages to the client of the cluster."""

    def emit(self, record: logging.LogRecord) -> None:
        from distributed import get_worker

        with suppress(ValueError):  # the worker is closing
            get_worker().log_event("morph", f"{record.getMessage()} (worker {_name()})")


_FORWARDING = _ForwardingHandler()


def _name() -> str:
    from distributed import get_worker

    return str(get_worker().address)
