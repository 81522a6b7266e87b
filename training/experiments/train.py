"""One training run, from datasets to a tracked, registered model: what `pretrain` and `finetune` share."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from morph.atomic import atomic
from morph.checks import check_file, check_memory
from morph.dataset import Galaxies, dataset_name, find_dataset
from morph.errors import InputError, first_line
from morph.votes import one_kind
from training.experiments import models, tracking
from training.experiments.preflight import check_alias, check_tracking
from training.experiments.seen import Seen
from training.experiments.unfinished import Unfinished
from training.fitting.sets import Task, joined, training_sets, weighted


def train(
    classifier, task: Task, recipe, to: Path, alias: str | None, parent: str | None = None, parent_votes: str = ""
) -> Path:
    """Train, save, track and register, in this order; returns where the model went.

    An interrupted run leaves its state in a folder of its own (see `training.experiments.unfinished`); the same
    command goes on from there, under the same MLflow run.

    Parameters
    ----------
    parent : the name of the model that `classifier` has its weights from; parent_votes : whether that answers raw or
        debiased votes (see `morph.votes`).

    Raises
    ------
    InputError : the sets cannot be trained on; or the model is saved and could not be logged or registered, and how to
        have that done.
    """
    sets, held_out = training_sets(task, recipe.seed)
    validation = joined(held_out)
    votes = one_kind((galaxies for galaxies, _ in sets), "be trained on")
    _tell_beforehand(validation, parent, parent_votes, votes)
    same = {
        "parent": parent,
        "survey": classifier.survey,
        "recipe": recipe.parameters(),
        "data": [[galaxies.digest, share] for galaxies, share in sets],
        "tracking": tracking.setup(),
    }
    unfinished = Unfinished(task.experiment, task.name, same)
    resume = unfinished.find()
    saved = resume is not None and unfinished.is_saved(to)
    try:
        with tracking.run(task.experiment, task.name, task.kind, resume=resume, parent=parent) as run:
            unfinished.keep(run=run.id)
            if saved:
                click.echo(f"'{task.name}' is trained and saved already; what is left is to register it.", err=True)
                classifier = _trained(to)
            else:
                seen = _seen(classifier, task, sets, held_out, parent)
                _fit(run, classifier, task, recipe, (sets, held_out, validation), unfinished, resume)
                classifier.seen, classifier.about = seen, _about(task, sets, parent, votes, run.id)
                save(classifier, to)
                saved = True
                unfinished.keep_saved(to)
            if not unfinished.get("logged"):
                unfinished.keep(logged=models.log_model(run, classifier))
        version = models.register(unfinished.get("logged"), run.id, aliases=(alias,) if alias else ())
    except Exception as error:
        if not saved:
            raise
        why = first_line(error)
        raise InputError(
            f"The trained model is saved as {to}, but MLflow did not take it ({why}); the same command registers it "
            f"without training again."
        ) from error
    click.echo(f"Saved {to}; registered as models:/{tracking.MODEL_NAME}/{version}.", err=True)
    unfinished.remove()
    return to


def _fit(run: tracking.Run, classifier, task: Task, recipe, data, unfinished: Unfinished, resume: str | None) -> None:
    """Train in place, recording settings, datasets and the course of it.

    Parameters
    ----------
    data : the sets with their shares, all that is held out of them, and of that what is watched.
    resume : the interrupted run that this goes on with, if any.
    """
    from training.fitting.fit import fit
    from training.plots import training_curves

    sets, held_out, validation = data
    total = sum(len(galaxies) for galaxies, _ in sets)
    click.echo(
        f"{'Going on with' if resume else 'Training'} '{task.name}': {total} galaxies, "
        f"{len(validation)} to watch, {recipe.epochs} epochs.",
        err=True,
    )
    run.log_params({**recipe.parameters(), "labels": task.labels or "all", "galaxies": total})
    for galaxies, _ in sets:
        run.log_dataset(galaxies, "training")
    run.log_dataset(validation, "validation")
    if task.kind == "finetune" and resume is None:
        _tell_distance(run, classifier, [galaxies for galaxies, _ in sets])
    with epoch_display(recipe.epochs) as show:

        def report(epoch: int, figures: dict[str, float]) -> None:
            run.log_metrics(figures, step=epoch)
            show(epoch, figures)

        # Nobody has said which of the others are artifacts, on which nothing should be planted.
        hosts = [galaxies for galaxies, _ in sets[: len(task.labelled)]]
        history = fit(classifier, sets, validation, recipe, unfinished.checkpoint, report, held_out, hosts)
    if len(history.get("loss", [])) > 1:
        run.log_figure(training_curves(history), "plots/training.png")


def _about(task: Task, sets, parent: str | None, votes: str, run_id: str) -> dict[str, Any]:
    """What a model keeps of its training, beside the galaxies."""
    return {
        "trained_on": [dataset_name(galaxies) for galaxies, _ in sets],
        "simulated": sorted({str(g.simulated).lower() for g, _ in sets}),
        "votes": votes,
        "parent": parent,
        "run_name": task.name,
        "run": run_id,
    }


def _seen(classifier, task: Task, sets, held_out: list[Galaxies], parent: str | None) -> str:
    """The galaxies of this training and of those before it (see `training.experiments.seen`)."""
    galaxies = [galaxies for galaxies, _ in sets]
    n = len(task.labelled)
    now = Seen.of({"labelled": galaxies[:n], "unlabelled": galaxies[n:], "held out": held_out})
    before = Seen.from_text(classifier.seen) if parent else Seen()
    return now.joined(before).to_text()


def _tell_beforehand(validation: Galaxies, parent: str | None, parent_votes: str, votes: str) -> None:
    """Say what the training will not be able to do, or will do that is easily overlooked."""
    from training.fitting.anomaly_reference import ENOUGH_NORMAL, FEWEST_NORMAL
    from training.fitting.batches import mostly_artifact

    normal = int((~mostly_artifact(validation.votes)).sum())
    if normal < ENOUGH_NORMAL:
        few = normal < FEWEST_NORMAL
        effect = "the anomaly score keeps its old reference" if few else "nothing reaches p < 0.01"
        click.echo(
            f"Only {normal} normal galaxies in the validation split: {effect}. {ENOUGH_NORMAL} of them, a dataset "
            f"of 1,000 galaxies, give a flag at 1 %.",
            err=True,
        )
    if parent and votes and parent_votes and votes != parent_votes:
        click.echo(
            f"{parent} was trained on {parent_votes} votes and these are {votes}: the model made from it answers "
            f"{votes} ones, and its figures and its parent's cannot be compared.",
            err=True,
        )


def _tell_distance(run: tracking.Run, classifier, sets: Sequence[Galaxies]) -> None:
    """Say and record what adapting has to bridge: how far the target survey is from what taught the parent model."""
    from morph.domain_shift.report import lines
    from training.fitting.reference_sample import log, shift_of

    target = max([g for g in sets if g.survey == classifier.survey] or sets, key=len)
    shift = shift_of(classifier, target)
    log(run, shift, target)
    for line in lines(shift):
        click.echo(line, err=True)


def save(classifier, to: Path) -> None:
    """Write a `.keras` file whole or not at all."""
    with atomic(to) as building:
        classifier.save(building)


class epoch_display:
    """A context that shows epochs as they end: a progress bar on a terminal, now and then a line elsewhere."""

    def __init__(self, epochs: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.epochs = epochs
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("epochs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Callable[[int, dict[str, float]], None]:
        self.progress.start()
        self.task = self.progress.add_task("epochs", total=self.epochs, figures="")
        return self.show

    def __exit__(self, *_) -> None:
        self.progress.stop()

    def show(self, epoch: int, figures: dict[str, float]) -> None:
        names = ("votes", "val_votes", "val_reconstruction")
        text = "  ".join(f"{name} {figures[name]:.2f}" for name in names if name in figures)
        self.progress.update(self.task, completed=epoch + 1, figures=text)
        every = max(1, self.epochs // 10)
        if not self.console.is_terminal and ((epoch + 1) % every == 0 or epoch + 1 == self.epochs):
            click.echo(f"epoch {epoch + 1}/{self.epochs}  {text}", err=True)


def _trained(path: Path):
    from morph.model.store import load_model

    return load_model(path)


def check(to: Path, datasets: Sequence[str], alias: str | None = None) -> None:
    """Say at once what is wrong with the arguments and the machine, before anything slow is loaded."""
    if to.suffix != ".keras":
        raise InputError(f"--to {to} should end in .keras, for instance {to.name or 'model'}.keras.")
    for name in datasets:
        path, weight = weighted(name)
        find_dataset(path)
        if not 0 < weight < np.inf:
            raise InputError(f"The weight of '{name}' should be a positive number.")
    check_file(to)
    if to.exists() and not zipfile.is_zipfile(to):
        raise InputError(f"'{to}' exists and is not a model; choose another --to.")
    check_memory(weighted(name)[0] for name in datasets)
    check_alias(alias)
    check_tracking()


def override(recipe, **values):
    """The recipe with every value that the user gave."""
    return replace(recipe, **{name: value for name, value in values.items() if value is not None})
