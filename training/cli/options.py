"""The options that `morph pretrain` and `morph finetune` share."""

import functools
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from morph.checks import check_file, check_memory
from morph.dataset import find_dataset
from morph.errors import InputError
from training.experiments import tracking
from training.experiments.registry import check_alias
from training.fitting.sets import Task, weighted


@dataclass(frozen=True)
class Options:
    """The options given; one that was not given is None."""

    survey: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    name: str | None
    experiment: str
    to: Path
    unlabelled: tuple[str, ...]
    pseudo_labelled: tuple[str, ...]
    teacher: str | None
    held_out: tuple[str, ...]
    unlabelled_share: float
    labels: int | None
    seed: int
    alias: str | None
    precision: str

    def check(self, datasets: tuple[str, ...]) -> None:
        """InputError on wrong arguments, a full disk or a missing server, before anything slow is loaded."""
        if bool(self.pseudo_labelled) != bool(self.teacher):
            raise InputError(
                "Give --pseudo-labelled and --teacher together: the teacher predicts the votes of those galaxies."
            )
        if self.to.suffix != ".keras":
            raise InputError(f"--to {self.to} should end in .keras, for instance {self.to.name or 'model'}.keras.")
        paths = []
        for name in (*datasets, *self.unlabelled, *self.pseudo_labelled, *self.held_out):
            path, weight = weighted(name)
            find_dataset(path)
            if not 0 < weight < math.inf:
                raise InputError(f"The weight of '{name}' should be a positive number.")
            paths.append(path)
        check_file(self.to)
        if self.to.exists() and not zipfile.is_zipfile(self.to):
            raise InputError(f"'{self.to}' exists and is not a model; choose another --to.")
        check_memory(paths)
        check_alias(self.alias)
        tracking.check_tracking()

    def task(self, kind: str, datasets: tuple[str, ...]) -> Task:
        """The data to train on."""
        return Task(
            kind,
            self.name or kind,
            self.experiment,
            datasets,
            self.unlabelled,
            self.labels,
            self.unlabelled_share,
            self.pseudo_labelled,
            self.teacher,
            self.held_out,
        )

    def recipe(self, usual, **more):
        """The usual recipe, changed by the options given."""
        given = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        changed = {name: value for name, value in {**given, **more}.items() if value is not None}
        return replace(usual, seed=self.seed, **changed)

    def target(self, datasets: tuple[str, ...]) -> str:
        """The survey that the model is for."""
        from morph.dataset import Galaxies
        from morph.surveys import get_survey

        return get_survey(self.survey or Galaxies.open(weighted(datasets[0])[0]).survey).name


_SHARED = [
    click.option("--survey", help="The survey that the model is for; by default that of the first dataset."),
    click.option("--epochs", type=click.IntRange(1), help="Passes through the data.  [default: 30]"),
    click.option("--name", help="The run's name; the verb's name by default."),
    click.option("--experiment", default=tracking.DEFAULT_EXPERIMENT, show_default=True, help="MLflow experiment."),
    click.option("--to", type=click.Path(path_type=Path), required=True, help="Where to save the model (.keras)."),
    click.option(
        "--unlabelled",
        multiple=True,
        metavar="DATASET",
        help="More galaxies, whose votes are not read: they train the encoder through the reconstruction and "
        "through their measured properties. Repeat for several.",
    ),
    click.option(
        "--pseudo-labelled",
        multiple=True,
        metavar="DATASET",
        help="More unlabelled galaxies, with the votes that --teacher predicts. Repeat for several.",
    ),
    click.option(
        "--teacher", metavar="MODEL", help="The model that predicts the votes of --pseudo-labelled galaxies."
    ),
    click.option(
        "--held-out",
        multiple=True,
        metavar="DATASET",
        help="More galaxies to hold out beside the validation splits: nothing is trained on them, and the anomaly "
        "score's reference and the calibration are fitted to them. Repeat for several.",
    ),
    click.option(
        "--unlabelled-share",
        type=click.FloatRange(0, 0.95),
        default=0.25,
        show_default=True,
        help="Share of every batch for the galaxies without labels of their own.",
    ),
    click.option("--labels", type=click.IntRange(1), help="Use only so many labelled galaxies, drawn at random."),
    click.option("--seed", default=0, show_default=True, help="Random seed."),
    click.option("--alias", help="Alias of the registered model, for instance champion."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "mixed_bfloat16"]),
        default="float32",
        show_default=True,
        help="Precision of the encoder in training; bfloat16 is faster where the processor supports it.",
    ),
]


def training_options(batch_size: str, learning_rate: str) -> Callable[[Callable], Callable]:
    """A decorator that adds all `Options` to a command, as its argument ``options``.

    Parameters
    ----------
    batch_size, learning_rate : the defaults that the help states.
    """
    usual = [
        click.option("--batch-size", type=click.IntRange(2), help=f"Galaxies a step.  [default: {batch_size}]"),
        click.option(
            "--learning-rate", type=click.FloatRange(0, min_open=True), help=f"Its peak.  [default: {learning_rate}]"
        ),
    ]

    def decorate(command: Callable) -> Callable:
        @functools.wraps(command)
        def gathered(**given: Any):
            shared = Options(**{field.name: given.pop(field.name) for field in fields(Options)})
            return command(options=shared, **given)

        for option in reversed([*_SHARED, *usual]):
            gathered = option(gathered)
        return gathered

    return decorate
