"""What a Dask worker does: one tile after the other, with an answerer that it keeps."""

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

#: Answerers that a worker keeps: those of jobs that share it.
KEPT = 2


@dataclass(frozen=True)
class Unseen:
    """A tile of which a worker does not see a file."""

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
    """Score one tile of the job in `folder`; a InputError when not the tile but the answerer or the output fails."""
    for path in (folder / FILE, *group):
        if not path.exists():
            return Unseen(tile_name(group), _name(), path)
    try:
        job = _job(folder)
        (result,) = score_tiles([group], job, _answerer(job), lambda tiles, galaxies: None)
    except InputError as error:
        # As it is, an error would count as the task's failure.
        return InputError(str(error))
    return result


@lru_cache(KEPT)
def _job(folder: Path) -> Job:
    import cloudpickle

    logging.getLogger("serving").addHandler(_TELLING)
    return cloudpickle.loads((folder / FILE).read_bytes())


#: What is open in this process: {job's token: (answerer, what closes it)}, the job that came last at the end.
_OPEN: dict[str, tuple[Backend, ExitStack]] = {}
_OPENING = threading.Lock()


def _answerer(job: Job) -> Backend:
    """The job's answerer, opened once a job and process."""
    with _OPENING:
        if job.token not in _OPEN:
            while len(_OPEN) >= KEPT:
                _OPEN.pop(next(iter(_OPEN)))[1].close()
            stack = ExitStack()
            _OPEN[job.token] = _in_turn(stack.enter_context(job.source.open())), stack
        backend = _OPEN[job.token][0]
    if backend.description["version"] != job.description["version"]:
        raise InputError(
            f"The worker {_name()} finds version {backend.description['version']} of the model where this machine "
            f"has {job.description['version']}; start again when both find the same."
        )
    return backend


def _in_turn(backend: Backend) -> Backend:
    """The answerer, for a worker with several threads, never asked by more of them than it can serve."""
    turns = threading.Semaphore(backend.at_once)

    def answer(stamps) -> Answers:
        with turns:
            return backend.answer(stamps)

    return replace(backend, answer=answer)


class _Telling(logging.Handler):
    """What is worth telling a person goes to the client of the cluster."""

    def emit(self, record: logging.LogRecord) -> None:
        from distributed import get_worker

        with suppress(ValueError):  # the worker is going away
            get_worker().log_event("morph", f"{record.getMessage()} (worker {_name()})")


_TELLING = _Telling()


def _name() -> str:
    from distributed import get_worker

    return str(get_worker().address)
