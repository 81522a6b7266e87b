"""Work that overlaps keeps its order, its exceptions, and within its bounds."""

import threading
import time

import pytest

from morph.parallel import ahead, spread


def test_items_made_ahead_keep_their_order_and_their_exceptions():
    def items():
        yield from range(20)
        raise ValueError("after twenty")

    coming = ahead(items(), 4)
    assert [next(coming) for _ in range(20)] == list(range(20))
    with pytest.raises(ValueError, match="after twenty"):
        next(coming)


def test_no_more_is_made_ahead_than_asked_for():
    made = []
    coming = ahead((made.append(i) or i for i in range(100)), 3)
    assert next(coming) == 0
    coming.close()
    assert len(made) <= 5


def test_work_spread_over_threads_keeps_its_order_and_runs_at_once():
    together = threading.Barrier(3, timeout=5)

    def work(number: int) -> int:
        together.wait()  # passes only where three are at it at once
        time.sleep(0.01 * (3 - number % 3))
        return number

    assert list(spread(work, range(9), 3)) == list(range(9))


def test_work_that_fails_stops_the_rest():
    done = []

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        done.append(number)
        return number

    with pytest.raises(ValueError, match="two"):
        list(spread(work, range(100), 1))
    assert len(done) <= 5
