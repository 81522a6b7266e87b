"""The options that `morph pretrain` and `morph finetune` have in common."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from morph.errors import InputError
from training.experiments import tracking
from training.experiments.train import check, override
from training.fitting.sets import Task, weighted


@dataclass(frozen=True)
class Options:
    """What the user asked for; an option that was not given is None."""

    survey: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    name: str | None
    experiment: str
    to: Path
    unlabelled: tuple[str, ...]
    taught: tuple[str, ...]
    teacher: str | None
    unlabelled_share: float
    labels: int | None
    seed: int
    alias: str | None
    precision: str

    def check(self, datasets: tuple[str, ...]) -> None:
        """InputError on what can be known to be wrong before anything slow is loaded."""
        if bool(self.taught) != bool(self.teacher):
            raise InputError("--taught and --teacher go together: the teacher's votes are for the taught galaxies.")
        check(self.to, (*datasets, *self.unlabelled, *self.taught), self.alias)

    def task(self, kind: str, datasets: tuple[str, ...]) -> Task:
        """What to train on."""
        name = self.name or kind
        return Task(
            kind,
            name,
            self.experiment,
            datasets,
            self.unlabelled,
            self.labels,
            self.unlabelled_share,
            self.taught,
            self.teacher,
        )

    def recipe(self, usual, **more):
        """The usual recipe with what was asked for."""
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        return override(usual, seed=self.seed, **given, **more)

    def target(self, datasets: tuple[str, ...]) -> str:
        """The survey that the model is for."""
        from morph.dataset import Galaxies
        from morph.surveys import get_survey

        return get_survey(self.survey or Galaxies.open(weighted(datasets[0])[0]).survey).name


def training_options(batch_size: int, learning_rate: float) -> Callable[[Callable], Callable]:
    """A decorator that gives a command all `Options`, as its argument ``options``.

    Parameters
    ----------
    batch_size, learning_rate : what the help says is taken where none is given.
    """
    options = [
        click.option("--survey", help="The survey that the model is for; by default that of the first dataset."),
        click.option("--epochs", type=click.IntRange(1), help="Passes through the data.  [default: 30]"),
        click.option("--batch-size", type=click.IntRange(2), help=f"Galaxies a step.  [default: {batch_size}]"),
        click.option(
            "--learning-rate",
            type=click.FloatRange(0, min_open=True),
            help=f"Its peak.  [default: {learning_rate:g}]",
        ),
        click.option("--name", help="The run's name; the verb's name by default."),
        click.option(
            "--experiment", default=tracking.DEFAULT_EXPERIMENT, show_default=True, help="MLflow experiment."
        ),
        click.option("--to", type=click.Path(path_type=Path), required=True, help="Where to save the model (.keras)."),
        click.option(
            "--unlabelled",
            multiple=True,
            metavar="DATASET",
            help="More galaxies, whose votes are not read: they teach the encoder through the reconstruction and "
            "through what is measured of them. Repeat for several.",
        ),
        click.option(
            "--taught",
            multiple=True,
            metavar="DATASET",
            help="More unlabelled galaxies, with the votes that --teacher expects of them. Repeat for several.",
        ),
        click.option("--teacher", metavar="MODEL", help="The model that gives the --taught galaxies their votes."),
        click.option(
            "--unlabelled-share",
            type=click.FloatRange(0, 0.95),
            default=0.25,
            show_default=True,
            help="Share of every batch for the galaxies without labels of their own.",
        ),
        click.option("--labels", type=click.IntRange(1), help="Use only so many labelled galaxies, drawn at random."),
        click.option("--seed", default=0, show_default=True, help="Of everything that is drawn at random."),
        click.option("--alias", help="Also give the registered model this alias, for instance champion."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "mixed_bfloat16"]),
            default="float32",
            show_default=True,
            help="Of the encoder's arithmetic in training; bfloat16 is faster where the processor has it.",
        ),
    ]

    def decorate(command: Callable) -> Callable:
        @functools.wraps(command)
        def gathered(**given: Any):
            shared = Options(**{field.name: given.pop(field.name) for field in fields(Options)})
            return command(options=shared, **given)

        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return decorate
