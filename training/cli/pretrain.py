"""`morph pretrain`: train a model from scratch."""

import click

from training.cli.options import Options, training_options
from training.experiments.train import train


@click.command("pretrain")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option("--steps", type=click.IntRange(1), help="Batches an epoch; by default about one pass.")
@click.option(
    "--architecture",
    type=click.Choice(["small", "large"]),
    default="small",
    show_default=True,
    help="Size of the encoder: 64 px and 1.5 M weights, or 128 px (a wider field) and 9 M.",
)
@click.option(
    "--contrast",
    type=click.FloatRange(0),
    help="Weight of the contrastive term between two views of each galaxy, which doubles the images of a step; "
    "0 leaves it out.  [default: 0]",
)
@training_options(batch_size="64, large: 40", learning_rate="0.002, large: 0.001")
def command(
    datasets: tuple[str, ...], steps: int | None, architecture: str, contrast: float | None, options: Options
) -> None:
    """Train a model from scratch on the training split of one or more datasets.

    Every galaxy belongs to the training (70 %), validation (10 %) or test split (20 %) by its id, the same in every
    dataset; test galaxies are never touched here. The run is tracked in MLflow, its model saved and then registered as
    `morph`. An interrupted run goes on where it stopped when the same command is given again; so does one whose model
    could not be registered. Raw and debiased votes are not trained on together.

    A weight after a dataset's name changes how often it is sampled: gz1:2.

    \b
    morph pretrain gz1 gz2 --unlabelled sdss-unlabelled --to sdss.keras --alias sdss
    morph pretrain my-survey --labels 300 --to from-scratch.keras
    """
    options.check(datasets)
    from morph.console import import_quietly
    from morph.model.classifier import Classifier
    from training.fitting.objective import PRETRAINING

    recipe = options.recipe(PRETRAINING[architecture], steps=steps, contrast=contrast)
    import_quietly("keras").utils.set_random_seed(options.seed)
    classifier = Classifier(survey=options.target(datasets), precision=options.precision, architecture=architecture)
    train(classifier, options.task("pretrain", datasets), recipe, options.to, options.alias)
