"""A scoring job that is killed at some moment and started again, and what must be so afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

#: Seconds after which a job hangs.
TOO_LONG = 120


@dataclass(frozen=True)
class Trial:
    """What is scored by the sleeping model, by how many processes, and how long it takes for a galaxy."""

    tiles: Path
    catalogue: Path
    workers: int = 1
    seconds: float = 0.05

    def start(self, out: Path, scheduler: str | None = None) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.serving.scoring.sleeping", self.tiles, self.catalogue, out]
        command += ["--workers", self.workers, "--seconds", self.seconds]
        command += ["--scheduler", scheduler] if scheduler else []
        return _process(command)

    def run(self, out: Path, scheduler: str | None = None) -> int:
        """The exit status of a job that nobody disturbs."""
        return ended(self.start(out, scheduler))

    def kill_job(self, out: Path, moment: float) -> int:
        """Kill the whole job after so many seconds and start it again; the exit status of the second."""
        job = self.start(out)
        time.sleep(moment)
        job.kill()
        job.communicate()
        return self.run(out)

    def kill_worker(self, out: Path, moment: float) -> int:
        """Kill one of the job's workers after so many seconds, or when there is one; the job's exit status."""
        job = self.start(out)
        end = time.monotonic() + TOO_LONG
        time.sleep(moment)
        while job.poll() is None and time.monotonic() < end:
            workers = [child for child in psutil.Process(job.pid).children(recursive=True) if _is_worker(child)]
            if workers:
                os.kill(workers[-1].pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        return ended(job)

    def kill_scheduler(self, out: Path, moment: float) -> int:
        """Kill the scheduler of a cluster after so many seconds; then the same command with a new one.

        The exit status of the second job, or -1 where the first one said nothing of the scheduler.
        """
        with cluster(self.workers) as (address, scheduler):
            job = self.start(out, address)
            time.sleep(moment)
            scheduler.kill()
            _, errors = job.communicate(timeout=TOO_LONG)
            # Quicker than the killer, or too slow to have noticed that there was a scheduler.
            told = job.returncode == 0 or (job.returncode == 2 and "scheduler" in errors and errors.count("\n") == 1)
        with cluster(self.workers) as (address, _):
            status = self.run(out, address)
        if not told:
            print(f"status {job.returncode}: {errors}", file=sys.stderr)
        return status if told else -1


def differences(out: Path, whole: Path) -> list[str]:
    """How the folder `out` differs from that of an undisturbed run: other files, or files with other rows."""
    names = [{path.name for path in folder.glob("*")} for folder in (out, whole)]
    found = [f"{name} in one folder only" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if name.endswith(".parquet"):
            one, other = pq.read_table(out / name), pq.read_table(whole / name)
            if not one.equals(other):
                columns = [column for column in one.column_names if not one[column].equals(other[column])]
                found.append(f"{name} has other rows ({', '.join(columns[:5])})")
    return found


@contextmanager
def cluster(workers: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """A Dask cluster of processes of its own, as on several machines: its address, and the scheduler's process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    scheduler = _process([*dask, "scheduler", "--host", address, "--no-dashboard", "--no-show"])
    hands = [
        _process([*dask, "worker", address, "--nthreads", 1, "--no-dashboard", "--death-timeout", 60, "--no-nanny"])
        for _ in range(workers)
    ]
    try:
        yield address, scheduler
    finally:
        for process in (scheduler, *hands):
            process.kill()
            process.communicate()


def ended(job: subprocess.Popen) -> int:
    """Wait for a job; what it says goes on to standard error where it fails."""
    try:
        _, errors = job.communicate(timeout=TOO_LONG)
    except subprocess.TimeoutExpired:
        job.kill()
        raise
    if job.returncode:
        print(errors, file=sys.stderr)
    return job.returncode


def _process(command: list) -> subprocess.Popen:
    places = os.pathsep.join(str(place) for place in (ROOT, HERE))
    return subprocess.Popen(
        [str(word) for word in command],
        # As the command and its workers: sums by several threads differ in their last bits.
        env={**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # gone meanwhile
        return False
