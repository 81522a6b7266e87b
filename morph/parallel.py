"""Work that overlaps: items made before they are needed, and several of them worked on at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The items, of which a thread makes up to `count` in advance."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := coming.popleft().result()) is not end:
            coming.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # `end` is excluded above
    finally:
        pool.shutdown(cancel_futures=True)


def spread(work: Callable[[Item], Made], items: Iterable[Item], at_once: int) -> Iterator[Made]:
    """`work` of every item, in the items' order, by `at_once` threads.

    One item more is taken in advance, so that no thread waits while the caller uses what was made.
    """
    pool = ThreadPoolExecutor(at_once)
    doing: deque[Future[Made]] = deque()
    try:
        for item in items:
            doing.append(pool.submit(work, item))
            if len(doing) > at_once:
                yield doing.popleft().result()
        while doing:
            yield doing.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
