"""`morph finetune`: adapt a model to another survey with a few labels."""

import click

from training.cli.options import Options, training_options
from training.experiments.train import train


@click.command("finetune")
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option(
    "--freeze",
    type=click.Choice(["nothing", "statistics", "encoder"]),
    default="statistics",
    show_default=True,
    help="The part that keeps its weights: nothing, the batch-normalisation statistics, or the whole encoder.",
)
@click.option(
    "--layer-decay",
    type=click.FloatRange(0, 1, min_open=True),
    help="Learning rate of each of the encoder's layers as a share of that of the layer after it.  [default: 1]",
)
@training_options(batch_size="32", learning_rate="0.0005")
def command(model: str, datasets: tuple[str, ...], freeze: str, layer_decay: float | None, options: Options) -> None:
    """Adapt MODEL to the training split of one or more datasets.

    MODEL is a .keras file, a folder with one, or an MLflow URI; models:/morph@sdss are the weights that ship. The
    anomaly score gets a new reference of normal galaxies from the datasets' validation splits, if they are large
    enough.

    \b
    morph finetune models:/morph@sdss my-survey --labels 300 --to adapted.keras --alias champion
    """
    options.check(datasets)
    from morph.model.store import load_model
    from training.fitting.adaptation import adapted_to
    from training.fitting.objective import FINETUNING

    recipe = options.recipe(FINETUNING, freeze=freeze, layer_decay=layer_decay)
    source = load_model(model)
    classifier = adapted_to(source, options.target(datasets), precision=options.precision)
    votes = source.about.get("votes", "")
    train(classifier, options.task("finetune", datasets), recipe, options.to, options.alias, model, votes)
