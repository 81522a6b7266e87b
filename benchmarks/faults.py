"""Every verb that writes, under everything that goes wrong; prints a table, and ends with 1 where something is lost.

    python benchmarks/faults.py [--verb VERB ...] [--fault FAULT ...] [--jobs N] [--keep FOLDER]

Each cell is a real process that writes to a folder whose name has blanks and umlauts. Afterwards its status must be
right, what it says one sentence and no traceback, its result whole or not there at all, and what was there before
untouched. A command that is stopped must end within seconds, and the same command must go on from there. The
folders of 3 MB and those that cannot be written to are file systems of their own, for which it takes root on Linux.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faulty import (
    AT_ONCE,
    VERBS,
    Place,
    Verb,
    both,
    closed_pipe,
    digest,
    judged,
    leave_unsent,
    little_memory,
    one_core,
    stop,
)

#: Of older files.
NOTHING: Mapping[str, str] = MappingProxyType({})

#: What a file system of 3 MB has left, bytes.
LEFT = {"full 0": 0, "full 20 kB": 20_000, "full 300 kB": 300_000, "full 3 MB": 3_000_000}


class Cell:
    """A verb under one circumstance."""

    def __init__(self, verb: Verb, inputs: Path, folder: Path, whole: Path, seconds: float):
        self.verb, self.inputs, self.folder, self.whole, self.seconds = verb, inputs, folder, whole, seconds
        self.store = inputs / ("late" if verb.sends else "") / "mlruns"

    def place(self) -> Place:
        """A new place with the store of runs."""
        place = Place(self.folder, self.inputs)
        shutil.copytree(self.store, place.work / "mlruns")
        return place

    def put_older(self, to: Path) -> dict[str, str]:
        """An older result, as if of another command."""
        for path in self.whole.iterdir():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, to / path.name)
        return digest(to)

    def run(self, place: Place, allowed: tuple[int, ...], older: Mapping[str, str] = NOTHING, **how) -> list[str]:
        """What is wrong after the verb."""
        return judged(self.verb, place, *place.run(self.verb, **how), allowed, older)


# --- The circumstances -----------------------------------------------------------------------------------------------


def plainly(cell: Cell, **how) -> list[str]:
    return cell.run(cell.place(), (0,), **how)


def in_ascii(cell: Cell) -> list[str]:
    return plainly(cell, env={"LANG": "C", "LC_ALL": "C"})


def under_jax(cell: Cell) -> list[str]:
    return plainly(cell, env={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"})


def on_one_core(cell: Cell) -> list[str]:
    return plainly(cell, before=one_core)


def with_little_memory(cell: Cell) -> list[str]:
    return cell.run(cell.place(), (0, 2), before=little_memory)


def unread(cell: Cell) -> list[str]:
    with closed_pipe() as nobody:
        return plainly(cell, stdout=nobody)


def hindered(cell: Cell) -> list[str]:
    """An old locale, a closed pipe, one core and little memory, at the price of one cell."""

    def limit() -> None:
        one_core()
        little_memory()

    with closed_pipe() as nobody:
        return plainly(cell, before=limit, stdout=nobody, env={"LANG": "C", "LC_ALL": "C"})


def twice(cell: Cell) -> list[str]:
    return both(cell.verb, cell.place())


def _stopped(number: int, when: Callable[[Cell, Place, float], bool]) -> Callable[[Cell], list[str]]:
    def try_it(cell: Cell) -> list[str]:
        place, older = cell.place(), {}
        if not cell.verb.adds:
            older = cell.put_older(place.to)
        began = time.monotonic()
        status, errors, seconds = stop(place.start(cell.verb), number, lambda: when(cell, place, began))
        wrong = judged(cell.verb, place, status, errors, (0, 128 + number, -number), older)
        wrong += [f"it ended after {seconds:.0f} s"] if seconds > AT_ONCE else []
        return wrong + [f"again: {each}" for each in cell.run(place, (0,))]

    return try_it


def at_start(cell: Cell, _: Place, began: float) -> bool:
    return time.monotonic() - began > min(1.0, 0.2 * cell.seconds)


def in_the_middle(cell: Cell, _: Place, began: float) -> bool:
    return time.monotonic() - began > 0.6 * cell.seconds


def while_writing(_: Cell, place: Place, __: float) -> bool:
    # Of its folder, or of one that it makes in it.
    return bool([*place.to.glob(".*.building*"), *place.to.glob("*/.*.building*"), *place.to.glob("*/*/.*.building*")])


def _on_a_disk(left: int | None, of: str) -> Callable[[Cell], list[str]]:
    """On a file system of 3 MB with so much left; None: that cannot be written to. `of`: what is on it."""

    def try_it(cell: Cell) -> list[str]:
        place = cell.place()
        folder = place.to if of == "to" else place.work
        with _disk(folder):
            older = {}
            if of == "work":
                shutil.copytree(cell.store, folder / "mlruns", ignore=shutil.ignore_patterns("artifacts"))
            elif not cell.verb.adds and _size(cell.whole) < 2_500_000:
                older = cell.put_older(folder)
            if left is None:
                _mount("-o", "remount,ro", folder)
            else:
                _fill(folder, left)
            return cell.run(place, (0, 2) if left else (2,), older)

    return try_it


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    _mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*arguments) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _fill(folder: Path, left: int) -> None:
    disk = os.statvfs(folder)
    size = disk.f_bavail * disk.f_frsize - left
    if size > 0:
        (folder / "filler").write_bytes(bytes(size))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


FAULTS: dict[str, Callable[[Cell], list[str]]] = {
    "plain": plainly,
    **{name: _on_a_disk(left, "to") for name, left in LEFT.items()},
    "read-only": _on_a_disk(None, "to"),
    "pipe": unread,
    "SIGINT start": _stopped(signal.SIGINT, at_start),
    "SIGINT middle": _stopped(signal.SIGINT, in_the_middle),
    "SIGINT writing": _stopped(signal.SIGINT, while_writing),
    "SIGTERM middle": _stopped(signal.SIGTERM, in_the_middle),
    "two at once": twice,
    "hindered": hindered,
    "6 GB": with_little_memory,
    "full store": _on_a_disk(20_000, "work"),
    "read-only store": _on_a_disk(None, "work"),
    "LANG=C": in_ascii,
    "one core": on_one_core,
    "jax": under_jax,
}


#: Faults for which no undisturbed result is needed.
WITHOUT_RESULT = {
    "pipe",
    "two at once",
    "hindered",
    "6 GB",
    "full store",
    "read-only store",
    "LANG=C",
    "one core",
    "jax",
}


def does_not_apply(verb: Verb, fault: str) -> bool:
    """Whether a fault has nothing to do with a verb."""
    if fault == "jax":
        return not verb.keras
    if fault.endswith("store"):
        return not verb.tracked
    return not verb.outputs and (fault.startswith("full") or fault in ("read-only", "SIGINT writing"))


# --- The inputs and the table ----------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """What the verbs read: galaxies, cutouts, a tile, its scores and two runs."""
    from morph.cli.quickstart import _write_cutouts

    for words in (
        "simulate galaxies -n 48 --survey des --processes 1 --to sample",
        "simulate tile --size 256 --galaxies 5 --to tile",
        "score tile --model models:/morph@sdss --engine keras --out scores",
        "evaluate models:/morph@sdss sample --split all --run one",
        "evaluate models:/morph@sdss sample --split all --run two",
    ):
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "MLFLOW_TRACKING_URI": ""}
        command = [sys.executable, "-m", "morph", *words.split()]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    _write_cutouts(folder / "sample", folder / "cutouts")
    (folder / "late").mkdir()
    leave_unsent(folder / "late")


def try_verb(name: str, faults: list[str], inputs: Path, base: Path) -> list[str]:
    """One verb under these faults, after a run that nothing hinders; what is wrong, as it is printed."""
    verb, whole, seconds = VERBS[name], base / "whole", 0.0
    found = []
    faults = [each for each in faults if each != "plain" and not does_not_apply(verb, each)]
    for fault in [*["plain"] * (not WITHOUT_RESULT.issuperset(faults)), *faults]:
        cell = Cell(verb, inputs, base / fault, whole, seconds)
        began = time.monotonic()
        try:
            wrong = FAULTS[fault](cell)
        except Exception as error:  # one cell costs no other
            wrong = [f"could not be tried: {error!r}"]
        lasted = time.monotonic() - began
        print(
            f"{'FAILED' if wrong else 'passed'}  {name:17} {fault:15} {lasted:6.1f} s  {'; '.join(wrong)}", flush=True
        )
        found += wrong
        if fault == "plain":
            seconds = lasted
            (base / fault / "größe 2").rename(whole)
            if wrong:
                break
        shutil.rmtree(base / fault, ignore_errors=True)
    return found


@click.command()
@click.option("--verb", "verbs", multiple=True, type=click.Choice([*VERBS]), help="Only this verb.")
@click.option("--fault", "faults", multiple=True, type=click.Choice([*FAULTS]), help="Only this fault.")
@click.option("--jobs", default=2, show_default=True, help="Verbs that are tried at once.")
@click.option("--inputs", type=click.Path(path_type=Path), help="Keep the inputs here, and take them from here.")
def main(verbs: tuple[str, ...], faults: tuple[str, ...], jobs: int, inputs: Path | None) -> None:
    """Try verbs under faults."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        inputs = (inputs or base / "inputs").absolute()
        if not inputs.exists():
            inputs.mkdir(parents=True)
            prepare(inputs)
        with ThreadPoolExecutor(jobs) as pool:
            tried = [
                pool.submit(try_verb, verb, list(faults or FAULTS), inputs, base / verb) for verb in verbs or VERBS
            ]
        failed = sum(len(each.result()) for each in tried)
    print(f"{failed} faults" if failed else "all passed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
