"""Threads and processes share work in order, pass exceptions on, and end with their command."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from morph.errors import InputError
from morph.parallel import map_threads, prefetch, process_pool, run_in_process, threads_allowed
from morph.surveys import get_survey


def test_threads_are_those_that_tensorflow_would_be_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert threads_allowed() == 3
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert threads_allowed() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert threads_allowed() >= 1


def test_items_made_ahead_keep_their_order_and_their_exceptions():
    def items():
        yield from range(20)
        raise ValueError("after twenty")

    coming = prefetch(items(), 4)
    assert [next(coming) for _ in range(20)] == list(range(20))
    with pytest.raises(ValueError, match="after twenty"):
        next(coming)


def test_no_more_is_made_ahead_than_asked_for():
    made = []
    coming = prefetch((made.append(i) or i for i in range(100)), 3)
    assert next(coming) == 0
    coming.close()
    assert len(made) <= 5


def test_work_spread_over_threads_keeps_its_order_and_runs_at_once():
    together = threading.Barrier(3, timeout=5)

    def work(number: int) -> int:
        together.wait()  # passes only where three are at it at once
        time.sleep(0.01 * (3 - number % 3))
        return number

    assert list(map_threads(work, range(9), 3)) == list(range(9))


def test_work_that_fails_stops_the_rest():
    done = []

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        done.append(number)
        return number

    with pytest.raises(ValueError, match="two"):
        list(map_threads(work, range(100), 1))
    assert len(done) <= 5


STARTS_TWO = """
import signal, time
from morph.parallel import process_pool
if __name__ == "__main__":
    # Ignored where the tests themselves run in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with process_pool(2) as pool:
        waiting = [pool.submit(time.sleep, 300) for _ in range(2)]
        print(*pool.map(abs, []), "started", flush=True)
        waiting[0].result()
"""


def test_work_is_shared():
    with process_pool(2) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]


def test_work_that_is_stopped_is_not_waited_for():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _stopped()
    assert time.monotonic() - began < 100


def _stopped() -> None:
    with process_pool(1) as pool:
        assert pool.submit(abs, 1).result() == 1
        pool.submit(time.sleep, 300)
        raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_command(number, tmp_path):
    (tmp_path / "command.py").write_text(STARTS_TWO)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    job = subprocess.Popen([sys.executable, tmp_path / "command.py"], env=environment, **pipes)
    try:
        assert "started" in job.stdout.readline()
        children = psutil.Process(job.pid).children(recursive=True)
        assert len(children) >= 2
        (os.killpg if number == signal.SIGINT else os.kill)(job.pid, number)
        _, errors = job.communicate(timeout=300)
    finally:
        job.kill()
    assert "SpawnProcess" not in errors, "a worker has nothing to say"
    _, alive = psutil.wait_procs(children, timeout=300)
    assert not alive


def test_another_process_does_the_work_and_hands_back_what_came_of_it():
    assert run_in_process(os.getpid) != os.getpid()
    assert run_in_process(get_survey, "des") == get_survey("des")
    with pytest.raises(InputError, match="Unknown survey"):
        run_in_process(get_survey, "many")


def test_a_process_does_not_hear_ctrl_c_from_its_start_on():
    assert signal.SIGINT in run_in_process(signal.pthread_sigmask, signal.SIG_BLOCK, ())
    with process_pool(1) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="exit status 7"):
        run_in_process(os._exit, 7)
