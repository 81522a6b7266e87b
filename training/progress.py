"""Many items: on all cores, and with a progress bar."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from morph import signals
from morph.workers import workers

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Below so many items a core, starting another process costs more than it saves.
WORTHWHILE = 32


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`function` of every item, in order, on all cores."""
    processes = min(os.cpu_count() or 1, max(1, len(items) // WORTHWHILE))
    if processes == 1:
        yield from map(function, items)
        return
    with workers(processes) as pool:
        yield from pool.map(function, items, chunksize=16)


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """`items`, with a progress bar on the error stream where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for item in progress.track(items, total=total, description=what):
            signals.check()
            yield item
