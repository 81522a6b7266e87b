"""Commands that write, in places and under circumstances that hinder them, and what must be so afterwards."""

import hashlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).parents[1]

#: Seconds after which a command hangs, and those that it has to end in once it is stopped, on a machine that does
#: much else.
TOO_LONG, AT_ONCE = 1800, 45

#: What of the store of runs a stopped command may leave: that is how the next one goes on.
KEPT = ("mlruns/unfinished", "mlruns/unsent")

#: By how many bytes a command's address space is limited, where it is.
ADDRESS_SPACE = 6_000_000_000


@dataclass(frozen=True)
class Verb:
    """A verb as a user types it.

    Parameters
    ----------
    words : with {to}, the folder to write into, and {NAME}, an input.
    outputs : what it makes in that folder.
    tracked : whether it also writes into the store of runs, in the current directory.
    adds : whether an older result is kept beside the new one.
    keras : whether any of Keras's backends will do.
    sends : whether it sends the records of a run that MLflow has not received.
    """

    words: str
    outputs: tuple[str, ...] = ()
    tracked: bool = False
    adds: bool = False
    keras: bool = False
    sends: bool = False

    def arguments(self, to: Path, inputs: Path) -> list[str]:
        return [word.format(to=to, inputs=inputs) for word in self.words.split()]


VERBS = {
    "import": Verb("import {inputs}/cutouts --survey des --to {to}/set", ("set",)),
    "simulate galaxies": Verb(
        "simulate galaxies -n 12 --processes 1 --to {to}/set --sheet {to}/sheet.png", ("set", "sheet.png")
    ),
    "simulate tile": Verb("simulate tile --size 256 --galaxies 5 --to {to}/tile", ("tile",)),
    "deploy write": Verb("deploy write {to}", ("compose.yaml", "kustomization.yaml"), adds=True),
    "compare": Verb("compare one two --plot {to}/difference.png", ("difference.png",)),
    "report": Verb("report --runs one --runs two --scores {inputs}/scores --to {to}/report.html", ("report.html",)),
    "predict": Verb(
        "predict models:/morph@sdss {inputs}/sample --given votes,photometry --infer redshift,image --draws 100 "
        "--to {to}/p.parquet",
        ("p.parquet", "p_images.npy", "p_images.png"),
        keras=True,
    ),
    "score": Verb(
        "score {inputs}/tile --model models:/morph@sdss --engine keras --out {to}/scores --hats --fits --overwrite",
        ("scores", "scores-catalogue"),
        keras=True,
    ),
    "export": Verb("export models:/morph@sdss --to {to}/served", ("served/morph/1",), adds=True),
    "finetune": Verb(
        "finetune models:/morph@sdss {inputs}/sample --epochs 2 --batch-size 8 --to {to}/m.keras",
        ("m.keras",),
        tracked=True,
        keras=True,
    ),
    "pretrain": Verb(
        "pretrain {inputs}/sample --epochs 2 --steps 2 --batch-size 8 --to {to}/m.keras",
        ("m.keras",),
        tracked=True,
        keras=True,
    ),
    "evaluate": Verb("evaluate models:/morph@sdss {inputs}/sample --split all --run three", tracked=True, keras=True),
    "transfer": Verb(
        "transfer models:/morph@sdss {inputs}/sample --labels 0,16 --methods frozen --repeats 1 --steps 2 "
        "--to {to}/transfer",
        ("transfer",),
        tracked=True,
        keras=True,
    ),
    "sync": Verb("sync", tracked=True, sends=True),
}


@dataclass
class Place:
    """Where a command works, and where it writes to: names with blanks and umlauts."""

    folder: Path
    inputs: Path
    work: Path = field(init=False)
    to: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.to = self.folder / "Übung 1", self.folder / "größe 2"
        self.work.mkdir(parents=True)
        self.to.mkdir()

    def start(self, verb: Verb, before: Callable[[], None] | None = None, **options) -> subprocess.Popen:
        """The verb in a process group of its own; `before` runs in the process that becomes it."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": "",
            "MORPH_FAST": "0",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **options.pop("env", {}),
        }
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-m", "morph", *verb.arguments(self.to, self.inputs)],
            cwd=self.work,
            env=environment,
            preexec_fn=before,
            start_new_session=True,
            **{**pipes, **options},
        )

    def run(self, verb: Verb, before: Callable[[], None] | None = None, **options) -> tuple[int, str]:
        return ended(self.start(verb, before, **options))


def ended(job: subprocess.Popen, seconds: float = TOO_LONG) -> tuple[int, str]:
    """The exit status of a command, and what it said on standard error."""
    try:
        _, errors = job.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        _, errors = job.communicate()
        return -signal.SIGKILL, errors.decode(errors="replace") + f"\nIt had not ended after {seconds:.0f} s."
    return job.returncode, errors.decode(errors="replace")


# --- What must be so afterwards ------------------------------------------------------------------------------------


def judged(
    verb: Verb,
    place: Place,
    status: int,
    errors: str,
    allowed: tuple[int, ...],
    older: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """What is wrong after a command, where the files `older` were there before."""
    wrong = said(status, errors, allowed) + leftovers(place.to) + leftovers(place.work)
    found = damaged(verb, place.to)
    if verb.sends:
        wrong += lost(place.work, all_sent=status == 0)
    if status == 0:
        return wrong + found
    if older and not found and status != 2:
        return wrong  # a signal may come when the new result, or a whole part of it, is in its place
    parts = [each for each in found if not each.startswith("missing")]
    return wrong + changed(older, place.to) + ([] if older else parts)


def both(verb: Verb, place: Place) -> list[str]:
    """What is wrong after the same command twice at once."""
    jobs = [place.start(verb) for _ in range(2)]
    ends = [ended(job) for job in jobs]
    wrong = [each for status, errors in ends for each in said(status, errors, (0, 2))]
    status = min(status for status, _ in ends)
    return wrong + judged(verb, place, status, "", (0,))


def said(status: int, errors: str, allowed: tuple[int, ...]) -> list[str]:
    """What is wrong with how a command ended: no other status, one sentence where it failed, never a traceback."""
    found = [] if status in allowed else [f"status {status}"]
    if "Traceback" in errors or "Error:" in errors.split("morph: ")[0]:
        found.append("a traceback")
    lines = [line for line in errors.splitlines() if line.strip()]
    # Python itself ends by the signal where morph has not begun yet.
    if status > 0 and not (lines and lines[-1].startswith("morph: ")):
        found.append("no sentence at the end")
    return [f"{each}: {errors.strip()[-600:]!r}" for each in found]


def leftovers(folder: Path) -> list[str]:
    """Hidden files, which is how everything that is half-written is called."""
    names = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
    return [f"left: {name}" for name in sorted(names) if not name.startswith(KEPT)]


def damaged(verb: Verb, to: Path) -> list[str]:
    """What is missing or cannot be read of a verb's result."""
    missing = [f"missing: {name}" for name in verb.outputs if not (to / name).exists()]
    files = [path for name in verb.outputs for path in [to / name, *(to / name).rglob("*")] if path.is_file()]
    return missing + [f"damaged: {path.name}" for path in files if not _is_whole(path)]


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".parquet" and not path.name.startswith("_"):
            pq.read_table(path)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".keras":
            return zipfile.ZipFile(path).testzip() is None
        elif path.suffix == ".png":
            Image.open(path).verify()
        elif path.suffix == ".html":
            return path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        return path.stat().st_size > 0
    except Exception:  # as many kinds as there are readers
        return False


def digest(folder: Path) -> dict[str, str]:
    """What is in every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(before: Mapping[str, str], folder: Path) -> list[str]:
    """What of the older files has changed or gone."""
    now = digest(folder)
    return [f"not as before: {name}" for name, content in before.items() if now.get(name) != content]


# --- Records that MLflow has not received ----------------------------------------------------------------------------

#: How many values the run logs whose records are to be sent.
VALUES = 5

#: Logs them while the store's database is locked.
_UNSENT = f"""
from unittest.mock import patch
from training.experiments import tracking
from mlflow import MlflowClient
tracking.setup()
with patch.object(MlflowClient, "log_batch", side_effect=OSError), tracking.run("morph", "late", "evaluate") as run:
    for step in range({VALUES}):
        run.log_metrics({{"loss": float(step)}}, step=step)
"""


def leave_unsent(folder: Path) -> None:
    """Make a run in the store below a folder, and records of it that the store has not received."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": ""}
    subprocess.run([sys.executable, "-c", _UNSENT], cwd=folder, env=environment, check=True, capture_output=True)


def lost(folder: Path, all_sent: bool) -> list[str]:
    """What is neither in the store below a folder nor waits to be sent, or waits although all was sent."""
    waiting = [json.loads(path.read_text())[1] for path in folder.glob("mlruns/unsent/*/*/record.json")]
    steps = {value[3] for content in waiting if isinstance(content, list) for value in content}
    with closing(sqlite3.connect(f"file:{folder}/mlruns/mlflow.db?mode=ro", uri=True)) as database:
        logged = {step for (step,) in database.execute("SELECT step FROM metrics WHERE key = 'loss'")}
    gone = [f"lost: step {step}" for step in range(VALUES) if step not in steps | logged]
    return gone + ["not sent"] * bool(all_sent and (waiting or len(logged) < VALUES))


# --- Circumstances, for the process that becomes the command ------------------------------------------------------


def small_files(size: int) -> Callable[[], None]:
    """No file can be larger than so many bytes, as on a disk that fills up."""

    def limit() -> None:
        # Otherwise the system ends a process that tries.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def respecting_modes() -> None:
    """The system's modes hold for root too."""
    import ctypes

    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that may not be written into, for commands that respect its mode."""
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def stop(job: subprocess.Popen, number: int, when: Callable[[], bool]) -> tuple[int, str, float]:
    """Send a signal as soon as something is so: Ctrl-C, as a terminal does, to the whole group. Gives the exit
    status, what was said, and the seconds that it took from then."""
    began = time.monotonic()
    while job.poll() is None and not when() and time.monotonic() - began < TOO_LONG:
        time.sleep(0.02)
    began = time.monotonic()
    if job.poll() is None:
        (os.killpg if number == signal.SIGINT else os.kill)(job.pid, number)
    status, errors = ended(job, 3 * AT_ONCE)
    return status, errors, time.monotonic() - began
