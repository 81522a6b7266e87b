"""Processes that share a command's work, and end with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

#: How processes are started: a forked copy of one that runs TensorFlow's threads can hang, a fresh one cannot.
CONTEXT = multiprocessing.get_context("spawn")


@contextmanager
def workers(number: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes. Where the block fails, or is stopped, they are ended at once, whatever they do."""
    others = {*multiprocessing.active_children()}
    with ProcessPoolExecutor(number, CONTEXT, depend_on_parent) as pool:
        try:
            yield pool
        except BaseException:
            for process in {*multiprocessing.active_children()} - others:
                process.kill()
            pool.shutdown(cancel_futures=True)
            raise


def depend_on_parent() -> None:
    """Let this process leave Ctrl-C, which a terminal sends to all of a command's processes, to the one that started
    it, and end when that one has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
