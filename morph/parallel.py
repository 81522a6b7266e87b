"""Work shared among threads and processes of one command."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from morph.signals import sigint_blocked

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Process(SpawnProcess):
    """A process that only its parent stops."""

    def start(self) -> None:
        with sigint_blocked():
            super().start()


class _Context(SpawnContext):
    Process = _Process


#: How processes are started: a forked copy of a process that runs TensorFlow's threads can hang, a fresh one cannot.
CONTEXT = _Context()

#: With fewer items per core than this, starting another process costs more than it saves.
ITEMS_PER_PROCESS = 32


def threads_allowed() -> int:
    """How many threads this process may compute with: as many as TensorFlow's own settings allow, else one for every
    core that the process may run on."""
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) > 0:
            return int(os.environ[name])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- Threads ------------------------------------------------------------------------------------------


def prefetch(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The items, of which a thread makes up to `count` in advance.

    >>> list(prefetch(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := coming.popleft().result()) is not end:
            coming.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # `end` is excluded above
    finally:
        pool.shutdown(cancel_futures=True)


def map_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`function` of every item, in order, computed by several threads.

    One item more is taken in advance, so that no thread waits while the caller uses a result.

    >>> list(map_threads(len, ["a", "bc"], 2))
    [1, 2]

    Parameters
    ----------
    function : called once per item; what it raises is raised here and ends the work.
    items : may be endless.
    threads : how many items are worked on at once.

    Returns
    -------
    Iterator over the results.
    """
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# --- Processes ----------------------------------------------------------------------------------------


@contextmanager
def process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes, which are killed at once where the block fails or is interrupted."""
    others = {*multiprocessing.active_children()}
    with ProcessPoolExecutor(processes, CONTEXT, end_with_parent) as pool:
        try:
            yield pool
        except BaseException:
            for process in {*multiprocessing.active_children()} - others:
                process.kill()
            pool.shutdown(cancel_futures=True)
            raise


def map_processes(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`function` of every item, in order, on all cores."""
    processes = min(os.cpu_count() or 1, max(1, len(items) // ITEMS_PER_PROCESS))
    if processes == 1:
        yield from map(function, items)
        return
    with process_pool(processes) as pool:
        yield from pool.map(function, items, chunksize=16)


def end_with_parent() -> None:
    """End this process when its parent ends, in whatever way."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def run_in_process(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)` in a process of its own, so that its memory is freed.

    TensorFlow keeps the graph of every training that it compiled, some 400 MB each, as long as the process lives.

    Parameters
    ----------
    function : a module's function; its arguments and its result can be pickled.

    Raises
    ------
    Exception : whatever the function raises.
    RuntimeError : the process was killed.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send_result, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        result, error = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"A training process was killed (exit status {process.exitcode}); is there enough memory?"
        ) from None
    finally:
        process.terminate()
        process.join()
    if error is not None:
        raise error
    return result


def _send_result(sender: Connection, function: Callable, arguments: tuple) -> None:
    end_with_parent()
    outcome: tuple[Any, Exception | None]
    try:
        outcome = (function(*arguments), None)
    except KeyboardInterrupt:
        # SIGTERM from the parent, which was interrupted and no longer reads the result.
        return
    except Exception as error:
        outcome = (None, error)
    try:
        sender.send(outcome)
    except BrokenPipeError:
        return
