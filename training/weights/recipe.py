"""The verbs that make the weights that ship, in order, and their execution, which an interruption does not repeat."""

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from morph.atomic import atomic
from training.importers.pictures import find_pictures

#: Labelled pictures: folder, its labels, and the name of the dataset.
LABELLED = (("sdss-galaxyzoo1", "labels.csv", "gz1"), ("sdss-galaxyzoo2", "votes.csv", "gz2"))
UNLABELLED = (("sdss-unlabelled", "unlabelled"), ("sdss-spirals", "spirals"))
#: Simulated galaxies train the questions with few labels (bars, arms, rings, mergers, artefacts), magnitudes, sizes
#: and redshifts. The votes of those of DES are not used.
SIMULATED = {
    "sim-sdss": (5000, "--survey sdss --mix balanced --seed 11"),
    "sim-des": (6000, "--survey des --mix survey --seed 21"),
}
#: Passes of each training, and batches in a pass.
EPOCHS = {"teacher": 32, "sdss": 60}
STEPS = 250


@dataclass(frozen=True)
class Extent:
    """The part of the recipe to run; None stands for all of it.

    Attributes
    ----------
    epochs, steps : of both trainings.
    limit : galaxies of each set.
    """

    epochs: int | None = None
    steps: int | None = None
    limit: int | None = None

    @property
    def whole(self) -> bool:
        return self == Extent()


def verbs(data: Path, work: Path, extent: Extent = Extent()) -> list[list[str]]:
    """The words of every verb after ``morph``; the last word of each is the file or folder that it makes.

    Parameters
    ----------
    data : the folder of survey images and labels.
    work : the folder for datasets and models; the last verb makes ``sdss.keras`` in it.
    extent : the part of the recipe to run.

    Returns
    -------
    One list of words a verb.
    """
    steps = [
        _import(data / folder, extent.limit, work / name, "--labels", f"{data / folder / labels}")
        for folder, labels, name in LABELLED
    ]
    steps += [_import(data / folder, extent.limit, work / name) for folder, name in UNLABELLED]
    for name, (number, options) in SIMULATED.items():
        number = min(number, extent.limit or number)
        steps.append(["simulate", "galaxies", "--number", f"{number}", *options.split(), "--to", f"{work / name}"])
    unlabelled, spirals = f"{work / 'unlabelled'}", f"{work / 'spirals'}:0.55"
    steps.append(_pretrain(work, "teacher", extent, "--unlabelled", unlabelled, "--unlabelled", spirals))
    teacher = f"{work / 'teacher.keras'}"
    pseudo_labelled = ("--pseudo-labelled", unlabelled, "--pseudo-labelled", spirals, "--teacher", teacher)
    steps.append(_pretrain(work, "sdss", extent, *pseudo_labelled))
    return steps


def _import(folder: Path, limit: int | None, to: Path, *labels: str) -> list[str]:
    """Import a folder's images, or the first few of them by name."""
    images = [folder / "images"] if limit is None else find_pictures([folder / "images"])[:limit]
    return ["import", *map(str, images), *labels, "--survey", "sdss", "--to", f"{to}"]


def _pretrain(work: Path, name: str, extent: Extent, *more: str) -> list[str]:
    sets = [f"{work / 'gz1'}", f"{work / 'gz2'}:0.75", f"{work / 'sim-sdss'}:0.35"]
    share = ["--unlabelled", f"{work / 'sim-des'}:1.1", *more, "--unlabelled-share", "0.32"]
    length = ["--epochs", f"{extent.epochs or EPOCHS[name]}", "--steps", f"{extent.steps or STEPS}"]
    # A short training has a name of its own, so that it neither resumes the whole one nor replaces it in the registry.
    called = ["--name", name if extent.whole else f"{name}-short"]
    if name == "sdss" and extent.whole:
        called += ["--alias", name]
    same = ["--seed", "1", "--precision", "mixed_bfloat16"]
    return ["pretrain", *sets, *share, *length, *same, *called, "--to", f"{work / name}.keras"]


#: Characters of a verb that are shown.
SHOWN = 300


def run_verbs(verbs: Sequence[list[str]], work: Path, call: Callable[[list[str]], object] | None = None) -> None:
    """Call the verbs that are not finished yet.

    ``done.json`` in the folder `work` lists the finished ones in order. A verb that differs from its entry, or whose
    file or folder is missing, is called again, and so are all verbs after it.

    Parameters
    ----------
    verbs : the words of each; the last word names what it makes.
    work : the folder.
    call : called with the words; by default the verb is called in this process.
    """
    call = call or _morph
    record = work / "done.json"
    left = json.loads(record.read_text()) if record.exists() else []
    done: list[list[str]] = []
    for words, before in zip(verbs, left, strict=False):
        if words != before or not Path(words[-1]).exists():
            break
        done.append(words)
    began = time.monotonic()
    for number, words in enumerate(verbs, 1):
        if number <= len(done):
            click.echo(f"{number} of {len(verbs)}: {words[-1]} exists already.", err=True)
            continue
        # Later verbs depend on this one and must be repeated.
        _write(record, done)
        line = shlex.join(["morph", *words])
        click.echo(f"{number} of {len(verbs)}: {line if len(line) < SHOWN else line[:SHOWN] + ' ...'}", err=True)
        call(words)
        done.append(words)
        _write(record, done)
        click.echo(f"{timedelta(seconds=round(time.monotonic() - began))} elapsed.", err=True)


def _morph(words: list[str]) -> None:
    from morph.cli.main import cli

    cli.main(words, prog_name="morph", standalone_mode=False)


def _write(record: Path, done: list[list[str]]) -> None:
    with atomic(record) as building:
        building.write_text(json.dumps(done, indent=1))
