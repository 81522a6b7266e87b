"""`morph finetune`: adapt a model to another survey with a few labels."""

from pathlib import Path

import click

from training.train import Task, check, override, shared_options, train, weighted


@click.command("finetune")
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option("--survey", help="The survey that the model is for; by default that of the first dataset.")
@click.option("--epochs", type=click.IntRange(1), help="Passes through the data.  [default: 30]")
@click.option("--batch-size", type=click.IntRange(2), help="Galaxies a step.  [default: 32]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Its peak.  [default: 0.0005]")
@click.option(
    "--freeze",
    type=click.Choice(["nothing", "statistics", "encoder"]),
    default="statistics",
    show_default=True,
    help="What keeps its weights: nothing, the batch-normalisation statistics, or the whole encoder.",
)
@click.option(
    "--layer-decay",
    type=click.FloatRange(0, 1, min_open=True),
    help="Learning rate of each of the encoder's layers as a share of that of the layer after it.  [default: 1]",
)
@shared_options
def command(
    model: str,
    datasets: tuple[str, ...],
    survey: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    freeze: str,
    layer_decay: float | None,
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
    """Adapt MODEL to the training split of one or more datasets.

    MODEL is a .keras file, a folder with one, or an MLflow URI; models:/morph@sdss are the weights that ship. The
    anomaly score is taught anew what is normal on the datasets' validation galaxies, if there are enough of them.

    \b
    morph finetune models:/morph@sdss my-survey --labels 300 --to adapted.keras --alias champion
    """
    check(to, (*datasets, *unlabelled))
    from morph.galaxies import Galaxies
    from morph.model.store import load_model
    from morph.surveys import get_survey
    from training.adapt import adapted_to
    from training.fit import FINETUNING

    task = Task("finetune", name or "finetune", experiment, datasets, unlabelled, labels, unlabelled_share)
    recipe = override(
        FINETUNING,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        freeze=freeze,
        layer_decay=layer_decay,
    )
    parent = load_model(model)
    target = get_survey(survey or Galaxies.open(weighted(datasets[0])[0]).survey).name
    train(adapted_to(parent, target, precision=precision), task, recipe, to, alias, parent=model)
