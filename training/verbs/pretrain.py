"""`morph pretrain`: train a model from nothing."""

from pathlib import Path

import click

from training.train import Task, check, override, shared_options, train, weighted


@click.command("pretrain")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option("--survey", help="The survey that the model is for; by default that of the first dataset.")
@click.option("--epochs", type=click.IntRange(1), help="Passes through the data.  [default: 30]")
@click.option("--steps", type=click.IntRange(1), help="Batches an epoch; by default about one pass.")
@click.option("--batch-size", type=click.IntRange(2), help="Galaxies a step.  [default: 64]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Its peak.  [default: 0.002]")
@shared_options
def command(
    datasets: tuple[str, ...],
    survey: str | None,
    epochs: int | None,
    steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    name: str | None,
    experiment: str,
    to: Path,
    unlabelled: tuple[str, ...],
    unlabelled_share: float,
    labels: int | None,
    seed: int,
    alias: str | None,
    precision: str,
) -> None:
    """Train a model from nothing on the training split of one or more datasets.

    Every galaxy belongs to the training (70 %), validation (10 %) or test split (20 %) by its id, the same in every
    dataset; test galaxies are never touched here. The run is tracked in MLflow, its model registered as `morph`. An
    interrupted run goes on where it stopped when the same command is given again.

    A weight behind a dataset's name has it drawn from more often: gz1:2.

    \b
    morph pretrain gz1 gz2 --unlabelled sdss-unlabelled --to sdss.keras --alias sdss
    morph pretrain my-survey --labels 300 --to from-scratch.keras
    """
    check(to, (*datasets, *unlabelled))
    from morph.galaxies import Galaxies
    from morph.model.classifier import Classifier
    from training.fit import Recipe

    task = Task("pretrain", name or "pretrain", experiment, datasets, unlabelled, labels, unlabelled_share)
    recipe = override(
        Recipe(seed=seed), epochs=epochs, steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    survey = survey or Galaxies.open(weighted(datasets[0])[0]).survey
    train(Classifier(survey=survey, precision=precision), task, recipe, to, alias)
