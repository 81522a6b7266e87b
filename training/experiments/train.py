"""One training run, from datasets to a tracked, registered model; shared by `pretrain` and `finetune`.

>>> from morph.model.classifier import Classifier
>>> from training.fitting.objective import Recipe
>>> task = Task("pretrain", "first", "morph", ["sample"])
>>> train(Classifier(), task, Recipe(epochs=1, steps=1, batch_size=4), Path("model.keras"), alias="champion")
>>> Path("model.keras").is_file()
True
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from morph.atomic import atomic
from morph.console import Display
from morph.dataset import Galaxies, dataset_name
from morph.errors import InputError, first_line
from morph.training_record import TrainingRecord
from morph.votes import one_kind
from training.experiments import registry, tracking
from training.fitting.sets import Task, joined, training_sets

#: Where interrupted runs keep their state.
UNFINISHED = Path("mlruns") / "unfinished"


class Unfinished:
    """The state of a training on disk, from which the same command resumes it.

    Parameters
    ----------
    experiment, name : of the run; they name the folder.
    same : everything that must be the same for a later command to resume it, JSON-able.

    Attributes
    ----------
    checkpoint : the folder of the training itself.
    """

    def __init__(self, experiment: str, name: str, same: Mapping[str, Any]):
        self.experiment, self.name = experiment, name
        self.folder = UNFINISHED / f"{experiment}-{name}"
        self.checkpoint = self.folder / "state"
        self._file = self.folder / "run.json"
        self._same = json.loads(json.dumps(same))
        self._kept: dict[str, Any] = {}

    def find(self) -> str | None:
        """The id of an interrupted run of this name with the same data and settings, if there is one.

        The state of any other run of this name is removed.
        """
        if not self._file.exists():
            return None
        try:
            self._kept = json.loads(self._file.read_text())
            if self._kept["same"] == self._same:
                return tracking.find_run(self._kept["run"], self.experiment)
        except (ValueError, KeyError, TypeError, InputError):
            pass
        self._kept = {}
        click.echo(f"An unfinished run '{self.name}' had other data or settings; this one starts anew.", err=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return None

    def keep(self, **more: Any) -> None:
        """Store values, such as the run's id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._kept = {**self._kept, "same": self._same, **more}
        with atomic(self._file) as building:
            building.write_text(json.dumps(self._kept))

    def get(self, name: str) -> Any:
        """A stored value, or None."""
        return self._kept.get(name)

    def keep_saved(self, to: Path) -> None:
        """Store that the trained model is in the file `to`."""
        self.keep(saved=_digest(to))

    def is_saved(self, to: Path) -> bool:
        """Whether `to` is the file that this training saved, so that only its registration remains."""
        return "saved" in self._kept and to.is_file() and _digest(to) == self._kept["saved"]

    def remove(self) -> None:
        """Remove the state of a finished training."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def train(
    classifier, task: Task, recipe, to: Path, alias: str | None, parent: str | None = None, parent_votes: str = ""
) -> None:
    """Train, save, track and register a model, in this order.

    An interrupted run leaves its state in a folder of its own (see `Unfinished`); the same command resumes it, under
    the same MLflow run.

    Parameters
    ----------
    classifier : the model to train, in place.
    task, recipe : the data, and how to train.
    to, alias : the `.keras` file to write, and an alias for the registered version.
    parent, parent_votes : the model whose weights `classifier` starts from, and whether it predicts raw or debiased
        votes (see `morph.votes`).

    Raises
    ------
    InputError : the sets cannot be trained on; or the model is saved and could not be logged or registered.
    """
    sets, held_out = training_sets(task, recipe.seed)
    validation = joined(held_out)
    votes = one_kind((galaxies for galaxies, _ in sets), "be trained on")
    _warn_beforehand(validation, parent, parent_votes, votes)
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
                click.echo(f"'{task.name}' is trained and saved already; only its registration remains.", err=True)
                classifier = _load(to)
            else:
                seen = _seen(classifier, task, sets, held_out, parent)
                _fit(run, classifier, task, recipe, (sets, held_out, validation), unfinished, resume)
                classifier.seen, classifier.about = seen, _about(task, sets, parent, votes, run.id)
                classifier.digest = ""
                save(classifier, to)
                saved = True
                unfinished.keep_saved(to)
            if not unfinished.get("logged"):
                unfinished.keep(logged=registry.log_model(run, classifier))
        version = registry.register(unfinished.get("logged"), run.id, aliases=(alias,) if alias else ())
    except Exception as error:
        if not saved:
            raise
        raise InputError(
            f"The trained model is saved as {to}, but MLflow did not accept it ({first_line(error)}); the same "
            f"command registers it without training again."
        ) from error
    click.echo(f"Saved {to}; registered as models:/{tracking.MODEL_NAME}/{version}.", err=True)
    unfinished.remove()


def _load(path: Path):
    from morph.model.store import load_model

    return load_model(path)


def _fit(run: tracking.Run, classifier, task: Task, recipe, data, unfinished: Unfinished, resume: str | None) -> None:
    """Train in place, and record settings, datasets and losses.

    Parameters
    ----------
    data : the sets with their shares, the galaxies held out of them, and the validation galaxies.
    resume : the id of the interrupted run to resume, if any.
    """
    from training.fitting.fit import fit
    from training.plots import training_curves

    sets, held_out, validation = data
    total = sum(len(galaxies) for galaxies, _ in sets)
    click.echo(
        f"{'Resuming' if resume else 'Training'} '{task.name}': {total} galaxies, "
        f"{len(validation)} for validation, {recipe.epochs} epochs.",
        err=True,
    )
    run.log_params({**recipe.parameters(), "labels": task.labels or "all", "galaxies": total})
    for galaxies, _ in sets:
        run.log_dataset(galaxies, "training")
    run.log_dataset(validation, "validation")
    if task.kind == "finetune" and resume is None:
        _report_domain_shift(run, classifier, [galaxies for galaxies, _ in sets])
    began, done = time.monotonic(), 0
    with Display("epochs", recipe.epochs) as display:

        def report(epoch: int, figures: dict[str, float]) -> None:
            nonlocal done
            done += 1
            left = (time.monotonic() - began) / done * (recipe.epochs - epoch - 1)
            run.log_metrics(figures, step=epoch)
            _show_epoch(display, epoch, recipe.epochs, figures, left)

        def display_part(name: str) -> None:
            display.update(recipe.epochs, f"fitting: {name}", f"fitting: {name}")

        # Anomalies are injected on labelled galaxies only: unlabelled ones may be artifacts.
        hosts = [galaxies for galaxies, _ in sets[: len(task.labelled)]]
        checkpoint = unfinished.checkpoint
        history = fit(
            classifier, sets, validation, recipe, checkpoint, report, held_out, hosts=hosts, announce=display_part
        )
    if len(history.get("loss", [])) > 1:
        run.log_figure(training_curves(history), "plots/training.png")


def _show_epoch(display: Display, epoch: int, epochs: int, figures: dict[str, float], left: float) -> None:
    """Show an epoch's losses, and the seconds left; without a terminal, about ten lines a training."""
    names = ("votes", "val_votes", "val_reconstruction")
    text = "  ".join(f"{name} {figures[name]:.2f}" for name in names if name in figures)
    now = (epoch + 1) % max(1, epochs // 10) == 0 or epoch + 1 == epochs
    display.update(
        epoch + 1, text, f"epoch {epoch + 1}/{epochs}  {text}  {timedelta(seconds=round(left))} left" if now else ""
    )


def _about(task: Task, sets, parent: str | None, votes: str, run_id: str) -> dict[str, Any]:
    """The description of its training that a model keeps."""
    return {
        "trained_on": [dataset_name(galaxies) for galaxies, _ in sets],
        "simulated": sorted({str(g.simulated).lower() for g, _ in sets}),
        "votes": votes,
        "parent": parent,
        "run_name": task.name,
        "run": run_id,
    }


def _seen(classifier, task: Task, sets, held_out: list[Galaxies], parent: str | None) -> str:
    """The record of this training's galaxies and of its parents' (see `morph.training_record`)."""
    galaxies = [galaxies for galaxies, _ in sets]
    n = len(task.labelled)
    now = TrainingRecord.of({"labelled": galaxies[:n], "unlabelled": galaxies[n:], "held out": held_out})
    before = TrainingRecord.from_text(classifier.seen) if parent else TrainingRecord()
    return now.merged(before).to_text()


def _warn_beforehand(validation: Galaxies, parent: str | None, parent_votes: str, votes: str) -> None:
    """Warn of a missing anomaly reference, and of votes of another kind than the parent's."""
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
            f"{parent} was trained on {parent_votes} votes and these are {votes}: the new model predicts "
            f"{votes} ones, and its figures cannot be compared with its parent's.",
            err=True,
        )


def _report_domain_shift(run: tracking.Run, classifier, sets: Sequence[Galaxies]) -> None:
    """Report and record the domain shift between the target survey and the parent's training set."""
    from morph.domain_shift.report import lines
    from training.fitting.reference_sample import log, shift_of

    target = max([g for g in sets if g.survey == classifier.survey] or sets, key=len)
    shift = shift_of(classifier, target)
    log(run, shift, target)
    for line in lines(shift):
        click.echo(line, err=True)


def save(classifier, to: Path) -> None:
    """Write a `.keras` file atomically."""
    with atomic(to) as building:
        classifier.save(building)
