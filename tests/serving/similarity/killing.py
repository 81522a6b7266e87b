"""An index that is built by a process of its own, which is killed at some moment and started again."""

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

from serving.similarity import Index, nearest
from serving.similarity.build import build
from serving.similarity.sources import Source
from tests.serving.similarity.conftest import MODEL, clustered, source

#: Seconds after which a builder hangs, and within which a process has started.
TOO_LONG, STARTED = 900, 60

#: Queries by which two indexes are compared, and hits of each.
QUERIES, HITS = 20, 30

# One process imports what builders need, and they are its copies: most of the time goes into building.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Trial:
    """What is indexed: galaxies in sources of `each`, with lists where there are more than `exact`, and merged."""

    sources: int
    each: int
    exact: int

    def build(self, to: Path) -> float:
        """Build the index undisturbed; how long it takes from the moment at which its process is ready, in seconds."""
        process, begun = self._start(to)
        process.join(TOO_LONG)
        if process.exitcode != 0:
            process.kill()
            raise RuntimeError(f"a builder ended with status {process.exitcode}")
        return time.monotonic() - begun

    def kill(self, to: Path, moment: float) -> bool:
        """Kill a builder so many seconds after it was ready; False where it had ended before."""
        process, _ = self._start(to)
        process.join(moment)
        ended = process.exitcode is not None
        process.kill()
        process.join()
        return not ended

    def _start(self, to: Path) -> tuple[multiprocessing.process.BaseProcess, float]:
        ready = _processes.Event()
        process = _processes.Process(target=_run, args=(self, to, ready), daemon=True)
        process.start()
        if not ready.wait(STARTED):
            raise RuntimeError("a builder does not start")
        return process, time.monotonic()


def _run(trial: Trial, to: Path, ready) -> None:
    nearest.SMALL = nearest.EXACT = trial.exact
    sources = [_source(k, trial.each) for k in range(trial.sources)]
    ready.set()
    build(sources, to, merge=True)


def _source(number: int, count: int) -> Source:
    """A source whose galaxies are made when it is read."""
    name = f"tile{number}"
    return Source(name, Path(name), "a", MODEL, lambda: source(name, clustered(count, seed=number)).read())


def hits_of(to: Path) -> list[list[tuple[str, float]]]:
    """The hits of some queries, of which the last digits depend on how many vectors are multiplied at once."""
    found = Index.open(to)
    tables = [found.search(query, n=HITS) for query in clustered(QUERIES, found.dimension, seed=10**6)]
    return [
        list(zip(hits["id"].to_pylist(), hits["similarity"].to_numpy().round(5).tolist(), strict=True))
        for hits in tables
    ]


def differences(to: Path, whole: Path) -> list[str]:
    """What an index has otherwise than an undisturbed one, in words."""
    said = [] if hits_of(to) == hits_of(whole) else ["other hits"]
    files, expected = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} for folder in (to, whole)
    )
    if files != expected:
        said.append(f"other files: {sorted(files ^ expected)[:5]}")
    return said
