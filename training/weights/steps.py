"""The execution of a recipe's steps, which an interruption does not repeat, and the record of what they made."""

import fcntl
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import click

from morph.atomic import atomic
from morph.errors import InputError

#: The record of the finished steps, in the folder of the work.
RECORD = "steps.json"

#: Characters of a step's command that are shown.
SHOWN = 300


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes
    ----------
    name : unique in the recipe.
    words : the words after ``morph`` of a verb, or what else identifies the step.
    inputs, outputs : the files and folders that it reads and makes.
    seconds : how long it takes on two cores, for the estimate.
    action : called instead of the verb.
    """

    name: str
    words: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    seconds: float = 0.0
    action: Callable[[], object] | None = None

    @property
    def command(self) -> str:
        """What is typed to do the same."""
        return shlex.join(self.words if self.action else ("morph", *self.words))


class Record:
    """The finished steps of a recipe: what each was called with, read and made, in ``steps.json``.

    Parameters
    ----------
    work : the folder of the datasets and models.
    """

    def __init__(self, work: Path):
        self.file = work / RECORD
        self.steps: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            try:
                self.steps = dict(json.loads(self.file.read_text()))
            except ValueError:
                raise InputError(f"'{self.file}' is not a record of steps; remove it to repeat them all.") from None

    def is_done(self, step: Step) -> bool:
        """Whether the step is finished: the same command with the same input made what is there."""
        found = self.steps.get(step.name, {})
        return bool(found) and all(found[key] == value for key, value in _state(step).items())

    def add(self, step: Step, took: float) -> None:
        """Add a finished step. InputError when it did not make its output."""
        state = _state(step)
        if missing := [path for path, found in state["outputs"].items() if found is None]:
            raise InputError(f"The step '{step.name}' did not make {' and '.join(missing)}.")
        self.steps[step.name] = {**state, "seconds": round(took, 1), "code": code_digest()}
        self._write()

    def remove(self, step: Step) -> None:
        """Remove a step that is to be repeated."""
        if self.steps.pop(step.name, None):
            self._write()

    def _write(self) -> None:
        with atomic(self.file) as building:
            building.write_text(json.dumps(self.steps, indent=1) + "\n")


def run_steps(steps: Sequence[Step], work: Path, call: Callable[[Step], object] | None = None) -> Record:
    """Do the steps that are not finished.

    A step is repeated when its command or a digest of its input has changed, or when its output is missing or is not
    what it made, such as a file that was cut off. What follows from a repeated step is repeated where its output
    differs.

    Parameters
    ----------
    steps : in order.
    work : the folder of the record.
    call : does a step; by default its action or verb.

    Returns
    -------
    The record of all steps.
    """
    record = Record(work)
    _warn_of_other_code(record, steps)
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        label = f"Step {number} of {len(steps)}, {step.name}"
        if record.is_done(step):
            click.echo(f"{label}: finished already.", err=True)
            continue
        record.remove(step)
        line = step.command
        click.echo(f"{label}: {line if len(line) < SHOWN else line[:SHOWN] + ' ...'}", err=True)
        start = time.monotonic()
        (call or _do)(step)
        took = time.monotonic() - start
        record.add(step, took)
        left = sum(each.seconds for each in steps[number:] if not record.is_done(each))
        click.echo(
            f"{label}: took {duration(took)}; {duration(time.monotonic() - began)} since the start, "
            f"about {duration(left)} to go.",
            err=True,
        )
    return record


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(3725)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))


def _do(step: Step) -> None:
    if step.action is not None:
        step.action()
        return
    from morph.cli.main import cli

    if "keras" in sys.modules:
        # A step begins as in a process of its own: with its random numbers, names of layers and memory.
        sys.modules["keras"].utils.clear_session()
    cli.main(list(step.words), prog_name="morph", standalone_mode=False)


def _state(step: Step) -> dict[str, Any]:
    return {
        "words": list(step.words),
        "inputs": {f"{path}": digest(path) for path in step.inputs},
        "outputs": {f"{path}": digest(path) for path in step.outputs},
    }


def digest(path: Path) -> str | None:
    """The first half of the SHA-256, in hexadecimal, of a file, or of a folder's files and their names; None where
    there is nothing."""
    if not path.exists():
        return None
    if path.is_file():
        return _sha256(path)[:32]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    listed = "\n".join(f"{file.relative_to(path)} {_sha256(file)}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()[:32]


def _sha256(file: Path) -> str:
    state = file.stat()
    return _sha256_of(file.absolute(), state.st_ino, state.st_mtime_ns, state.st_size)


@cache
def _sha256_of(file: Path, *_: int) -> str:
    """Each version of a file is read once."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@cache
def code_digest() -> str:
    """What identifies the source code of the packages that datasets and models are made by."""
    root = Path(__file__).parents[2]
    files = sorted(file for package in ("morph", "training") for file in (root / package).rglob("*.py"))
    return hashlib.sha256("\n".join(_sha256(file) for file in files).encode()).hexdigest()[:12]


def _warn_of_other_code(record: Record, steps: Sequence[Step]) -> None:
    codes = {name: found["code"] for name, found in record.steps.items()}
    others = [step.name for step in steps if codes.get(step.name, code_digest()) != code_digest()]
    if others:
        click.echo(
            f"Made by other source code than today's, and not repeated: {', '.join(others)}. Remove '{record.file}' "
            "to repeat all steps.",
            err=True,
        )


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Keep others from working in a folder; InputError when one does."""
    work.mkdir(parents=True, exist_ok=True)
    lock = os.open(work / ".weights.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(
            f"Another command makes weights in '{work}' already; wait for it, or give another --work."
        ) from None
    finally:
        os.close(lock)
