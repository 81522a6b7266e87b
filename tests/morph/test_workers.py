"""Processes that share a command's work end with it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from morph.workers import workers

STARTS_TWO = """
import time
from morph.workers import workers
if __name__ == "__main__":
    with workers(2) as pool:
        waiting = [pool.submit(time.sleep, 300) for _ in range(2)]
        print(*pool.map(abs, []), "started", flush=True)
        waiting[0].result()
"""


def test_work_is_shared():
    with workers(2) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]


def test_work_that_is_stopped_is_not_waited_for():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _stopped()
    assert time.monotonic() - began < 100


def _stopped() -> None:
    with workers(1) as pool:
        assert pool.submit(abs, 1).result() == 1
        pool.submit(time.sleep, 300)
        raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_command(number, tmp_path):
    (tmp_path / "command.py").write_text(STARTS_TWO)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    job = subprocess.Popen([sys.executable, tmp_path / "command.py"], env=environment, **pipes)
    assert "started" in job.stdout.readline()
    children = psutil.Process(job.pid).children(recursive=True)
    assert len(children) >= 2
    (os.killpg if number == signal.SIGINT else os.kill)(job.pid, number)
    _, errors = job.communicate(timeout=60)
    assert "SpawnProcess" not in errors, "a worker has nothing to say"
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
