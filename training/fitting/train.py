"""One training run, from datasets to a tracked, registered model: what `pretrain` and `finetune` share."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from morph.errors import BadInput
from morph.galaxies import Galaxies, find_dataset
from training.fitting.one_sided import check_labels, told
from training.records import tracking

#: Where unfinished runs keep their state.
UNFINISHED = Path("mlruns") / "unfinished"


@dataclass(frozen=True)
class Task:
    """What a run trains on.

    Attributes
    ----------
    kind : "pretrain" or "finetune"; name : the run's; experiment : the MLflow experiment it belongs to.
    labelled, unlabelled : paths of datasets, with a weight behind a colon if wanted. Of the labelled ones, only the
        training split is trained on, and the validation split watched.
    taught : more unlabelled datasets, whose votes the model named `teacher` gives.
    labels : how many labelled galaxies to use; all when None.
    unlabelled_share : share of every batch that comes from the unlabelled sets.
    """

    kind: str
    name: str
    experiment: str
    labelled: Sequence[str]
    unlabelled: Sequence[str] = ()
    labels: int | None = None
    unlabelled_share: float = 0.25
    taught: Sequence[str] = ()
    teacher: str | None = None


def training_sets(task: Task, seed: int) -> tuple[list[tuple[Galaxies, float]], list[Galaxies]]:
    """The sets with their shares of every batch, and the galaxies held out of them: the labelled sets' validation
    splits, and those of unlabelled sets that have one.

    A set's share grows with the square root of its size, so that a large set does not drown a small one, times the
    weight written behind its name. Galaxies that look the same as one of the labelled sets' validation or test
    galaxies are taken out of the unlabelled sets.
    """
    from training.fitting.batches import unanswered
    from training.sources.overlap import without_duplicates

    names, weights = zip(*(weighted(name) for name in task.labelled), strict=True)
    labelled = [Galaxies.open(name).split() for name in names]
    train = [parts["train"] for parts in labelled]
    held_out = [parts[name] for parts in labelled for name in ("validation", "test")]
    if task.labels is not None:
        train = _budget(train, task.labels, seed)
    note = told(check_labels(train), "alone they teach a model to say it always")
    if note:
        click.echo(note, err=True)
    sets = [
        (galaxies, weight * float(np.sqrt(len(galaxies)))) for galaxies, weight in zip(train, weights, strict=True)
    ]
    more = [weighted(name) for name in (*task.unlabelled, *task.taught)]
    extra = [without_duplicates(_unlabelled(name), held_out) for name, _ in more]
    seen = len(task.unlabelled)
    extra = [unanswered(galaxies) for galaxies in extra[:seen]] + _with_a_teacher(task, extra[seen:])
    if extra:
        known = sum(share for _, share in sets)
        each = [weight * float(np.sqrt(len(galaxies))) for galaxies, (_, weight) in zip(extra, more, strict=True)]
        scale = known * task.unlabelled_share / (1 - task.unlabelled_share) / max(sum(each), 1e-9)
        sets += [(galaxies, share * scale) for galaxies, share in zip(extra, each, strict=True)]
    return sets, [parts["validation"] for parts in labelled] + _normal_of([name for name, _ in more[:seen]])


def _unlabelled(path: str) -> Galaxies:
    """A dataset whose votes are not read: all of it, or the training split where redshifts are known, since what is
    measured is taught too."""
    galaxies = Galaxies.open(path)
    return galaxies.split()["train"] if _measured(galaxies) else galaxies


def _measured(galaxies: Galaxies) -> bool:
    return bool(np.isfinite(galaxies.properties["redshift"]).any())


def _normal_of(unlabelled: Sequence[str]) -> list[Galaxies]:
    """What normal galaxies look like in the validation splits of unlabelled sets. Their votes are read for one thing:
    an artifact among a hundred galaxies would be what one in a hundred looks like."""
    from training.fitting.batches import mostly_artifact, unanswered

    held_out = [g.split()["validation"] for g in map(Galaxies.open, unlabelled) if _measured(g)]
    return [unanswered(g.select(np.flatnonzero(~mostly_artifact(np.nan_to_num(g.votes))))) for g in held_out]


def _with_a_teacher(task: Task, sets: list[Galaxies]) -> list[Galaxies]:
    """The sets with the votes that the task's teacher gives."""
    if not sets:
        return []
    from morph.model.store import load_model
    from training.fitting.teacher import taught

    assert task.teacher is not None, "a task with sets to teach names their teacher"
    teacher = load_model(task.teacher)
    return [taught(teacher, galaxies) for galaxies in sets]


def weighted(name: str) -> tuple[str, float]:
    """A dataset's path and the weight written behind it: ``gz1:2`` is drawn from twice as often."""
    path, colon, weight = name.rpartition(":")
    try:
        return (path, float(weight)) if colon else (name, 1.0)
    except ValueError:
        return name, 1.0


def _budget(train: list[Galaxies], labels: int, seed: int) -> list[Galaxies]:
    """`labels` galaxies drawn at random from all sets together."""
    sizes = [len(galaxies) for galaxies in train]
    if labels > sum(sizes):
        raise BadInput(f"The datasets hold {sum(sizes)} galaxies to train on; ask for that many --labels or fewer.")
    chosen = np.sort(np.random.default_rng(seed).permutation(sum(sizes))[:labels])
    starts = np.cumsum([0, *sizes])
    return [
        galaxies.select(chosen[(chosen >= start) & (chosen < start + len(galaxies))] - start)
        for galaxies, start in zip(train, starts[:-1], strict=True)
    ]


def _joined(sets: list[Galaxies]) -> Galaxies:
    """Validation sets as one. Those of another kind of image than the first cannot share its array, and are
    left out of the watching (never of the training)."""
    return Galaxies.concatenate([s for s in sets if (s.kind, s.size) == (sets[0].kind, sets[0].size)])


def train(classifier, task: Task, recipe, to: Path, alias: str | None, parent: str | None = None) -> Path:
    """Train, track and save; returns where the model went.

    An interrupted run leaves its state under `UNFINISHED`; the same command goes on from there, under the same
    MLflow run.
    """
    from training.anomalies.normal import ENOUGH_NORMAL, FEWEST_NORMAL
    from training.fitting.batches import mostly_artifact
    from training.fitting.fit import fit
    from training.plots import training_curves

    folder = UNFINISHED / f"{task.experiment}-{task.name}"
    state = folder / "run.json"
    sets, held_out = training_sets(task, recipe.seed)
    validation = _joined(held_out)
    total = sum(len(galaxies) for galaxies, _ in sets)
    same = {
        "parent": parent,
        "survey": classifier.survey,
        "recipe": recipe.parameters(),
        "data": [[galaxies.digest, share] for galaxies, share in sets],
        "tracking": tracking.setup(),
    }
    resume = _unfinished(state, same, task)
    click.echo(
        f"{'Going on with' if resume else 'Training'} '{task.name}': {total} galaxies, "
        f"{len(validation)} to watch, {recipe.epochs} epochs.",
        err=True,
    )
    with tracking.run(task.experiment, task.name, task.kind, resume=resume, parent=parent) as run:
        folder.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps({"run": run.id, "same": same}))
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
            history = fit(classifier, sets, validation, recipe, folder / "state", report, held_out, hosts)
        classifier.about = {
            "trained_on": [tracking.dataset_name(galaxies) for galaxies, _ in sets],
            "simulated": sorted({str(g.simulated).lower() for g, _ in sets}),
            "parent": parent,
            "run_name": task.name,
        }
        if len(history.get("loss", [])) > 1:
            run.log_figure(training_curves(history), "plots/training.png")
        normal = int((~mostly_artifact(np.nan_to_num(validation.votes))).sum())
        if normal < ENOUGH_NORMAL:
            few = normal < FEWEST_NORMAL
            effect = "the anomaly score keeps its old reference" if few else "nothing reaches p < 0.01"
            click.echo(
                f"Only {normal} normal galaxies in the validation split: {effect}. {ENOUGH_NORMAL} of them, a dataset "
                f"of 1,000 galaxies, give a flag at 1 %.",
                err=True,
            )
        version = tracking.log_classifier(run, classifier, aliases=(alias,) if alias else ())
        save(classifier, to)
        click.echo(f"Saved {to}; registered as models:/{tracking.MODEL_NAME}/{version}.", err=True)
    shutil.rmtree(folder, ignore_errors=True)
    return to


def _tell_distance(run: tracking.Run, classifier, sets: Sequence[Galaxies]) -> None:
    """Say and record what adapting has to bridge: how far the target survey is from what taught the parent model."""
    from morph.shift.words import lines
    from training.evaluation.shift import log, shift_of

    target = max([g for g in sets if g.survey == classifier.survey] or sets, key=len)
    shift = shift_of(classifier, target)
    log(run, shift, target)
    for line in lines(shift):
        click.echo(line, err=True)


def _unfinished(state: Path, same: dict, task: Task) -> str | None:
    """The run to go on with, if one of this name was interrupted that trains the same on the same.

    What is left of any other run of this name is removed: its weights are not this one's.
    """
    if not state.exists():
        return None
    try:
        left = json.loads(state.read_text())
        if left["same"] == json.loads(json.dumps(same)):
            return tracking.find_run(left["run"], task.experiment)
    except (ValueError, KeyError, TypeError, BadInput):
        pass
    click.echo(f"An unfinished run '{task.name}' had other data or settings; this one starts anew.", err=True)
    shutil.rmtree(state.parent, ignore_errors=True)
    return None


def save(classifier, to: Path) -> None:
    """Write a `.keras` file whole or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    building = to.with_name(f".{to.stem}.building.keras")
    classifier.save(building)
    building.rename(to)


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


def check(to: Path, datasets: Sequence[str]) -> None:
    """Say at once what is wrong with the arguments, before anything slow is loaded."""
    if to.suffix != ".keras":
        raise BadInput(f"--to {to} should end in .keras, for instance {to.name or 'model'}.keras.")
    for name in datasets:
        path, weight = weighted(name)
        find_dataset(path)
        if not 0 < weight < np.inf:
            raise BadInput(f"The weight of '{name}' should be a positive number.")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"'{to}' cannot be written ({error.strerror}); choose another place.") from None


def override(recipe, **values):
    """The recipe with every value that the user gave."""
    return replace(recipe, **{name: value for name, value in values.items() if value is not None})
