"""The terminal: progress bars, lists in sentences, closed pipes, and libraries that print when they are imported."""

import importlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from morph import signals

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: int, show: bool = True) -> Iterator[Item]:
    """`items`, with a progress bar on the error stream where that is a terminal.

    >>> list(track("ab", "Counting", 2))
    ['a', 'b']

    Parameters
    ----------
    items : what is iterated over. A signal that a library swallowed is raised between two items.
    what : the bar's title.
    total : how many items there are.
    show : whether a bar is wanted at all.

    Returns
    -------
    Iterator over the items.
    """
    with Display(what, total, transient=True, show=show) as display:
        for done, item in enumerate(items, 1):
            signals.check()
            yield item
            display.update(done)


class Display:
    """A context that shows progress on the error stream: a bar on a terminal, lines elsewhere.

    Parameters
    ----------
    what : the bar's title.
    total : steps of the whole.
    timed : whether the bar counts the steps and estimates the time left.
    transient : whether the bar disappears at the end.
    show : whether a bar is wanted at all.
    """

    def __init__(self, what: str, total: int, timed: bool = True, transient: bool = False, show: bool = True):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self.terminal = console.is_terminal
        counts = (MofNCompleteColumn(), TimeRemainingColumn()) if timed else ()
        columns = (TextColumn("{task.description}"), BarColumn(), *counts, TextColumn("{task.fields[text]}"))
        disable = not (show and self.terminal)
        self._progress = Progress(*columns, console=console, transient=transient, disable=disable)
        self._task = self._progress.add_task(what, total=total, text="")

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def update(self, completed: float, text: str = "", line: str = "") -> None:
        """Show how far the work is.

        Parameters
        ----------
        completed : steps that are done.
        text : beside the bar.
        line : printed where there is no terminal.
        """
        self._progress.update(self._task, completed=completed, text=text)
        if line and not self.terminal:
            print(line, file=sys.stderr, flush=True)


def listed(items: Sequence[str]) -> str:
    """Items in a sentence.

    >>> listed(["g", "r", "i"])
    'g, r and i'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things in words.

    Parameters
    ----------
    number : how many.
    one : the noun.
    many : its plural, where that is not `one` with an s.

    Examples
    --------
    >>> counted(1, "tile"), counted(2000, "galaxy", "galaxies")
    ('1 tile', '2,000 galaxies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def import_quietly(name: str) -> ModuleType:
    """Import a module with the process's error stream closed meanwhile.

    TensorFlow prints several lines about the processor and missing drivers, some before its own setting can silence
    it; a user of morph can act on none of them. Exceptions are raised as usual.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's Python side warns whenever a model is compiled anew, as in each fold of a cross-validation.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if name in sys.modules:
        return sys.modules[name]
    sys.stderr.flush()
    kept = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(devnull)


class _DiscardAfterClose(io.FileIO):
    """A file descriptor that discards what is written once its reader has closed the pipe."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self.fileno())
            os.close(devnull)
            return len(data)


def ignore_closed_pipes() -> None:
    """Let writing to a closed standard output or error do nothing, for the rest of the process.

    After ``morph score ... | head -1``, the work, whose results are files, goes on.
    """
    sys.stdout = _discarding(sys.stdout, sys.__stdout__)
    sys.stderr = _discarding(sys.stderr, sys.__stderr__)


def _discarding(stream: Any, original: Any) -> Any:
    # A stream that was replaced, such as by a test, is left alone.
    if stream is None or stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    # The descriptor is the process's own.
    raw = io.BufferedWriter(_DiscardAfterClose(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)
