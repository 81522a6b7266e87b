"""`morph evaluate`: evaluate a model on galaxies."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from training.experiments.evaluation_run import EvaluationRun, RetrievalRun
    from training.experiments.rate_distortion_run import RateDistortionRun


@click.command(name="evaluate")
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    show_default=True,
    help="The part of the dataset's split to evaluate on. A galaxy's id decides its part, the same in every dataset "
    "and in training, so the test part was never trained on. Take all of a dataset that no model was trained on.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Cross-validate instead: fine-tune MODEL on all folds but one and evaluate it on that one, for each fold. "
    "For sets too small to split; implies --split all.",
)
@click.option(
    "--alpha",
    "alphas",
    type=float,
    multiple=True,
    default=(0.01, 0.05),
    show_default=True,
    help="A false-alarm rate at which the anomaly score is measured; repeat for several.",
)
@click.option(
    "--prior",
    is_flag=True,
    help="Measure the latent prior too: how well its draws agree with the embeddings of these galaxies.",
)
@click.option(
    "--retrieval",
    is_flag=True,
    help="Measure similarity search instead of the answers: what each galaxy's nearest have in common with it.",
)
@click.option(
    "--paired",
    metavar="DATASET",
    help="The same galaxies as another survey sees them, with the same ids; implies --retrieval.",
)
@click.option(
    "--rate-distortion",
    is_flag=True,
    help="Measure codes (morph compress) instead of the answers: pictures by the number of bytes, and what is "
    "measured on decoded images.",
)
@click.option("--run", "name", metavar="NAME", help="Name of the run; MODEL on DATASET by default.")
@click.option("--experiment", default="morph", show_default=True, help="MLflow experiment.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as one JSON document.")
def command(
    model: str,
    datasets: tuple[str, ...],
    split: str,
    folds: int | None,
    alphas: tuple[float, ...],
    prior: bool,
    retrieval: bool,
    paired: str | None,
    rate_distortion: bool,
    name: str | None,
    experiment: str,
    as_json: bool,
) -> None:
    """Evaluate MODEL on galaxies of the DATASETs that it was not trained on.

    The figures, with 95 % intervals from a bootstrap over galaxies, plots and every prediction go to a run of MLflow;
    `morph compare` compares such runs. The anomaly score is measured on anomalies injected into up to 200 of the
    galaxies, and on those that volunteers called an artifact.

    With --retrieval, every galaxy searches for the nearest of the others, by the similarity vector and, to compare,
    by other vectors: nDCG@10 for each class, how often a copy finds its original, and what else the hits share.

    With --rate-distortion, galaxies are compressed to codes of 8 to 64 numbers and 2 to 16 bits, and compared with
    their originals, beside principal components and WebP; simulated ones also with the noiseless truth.
    """
    import json

    from training.experiments.evaluation_run import evaluate_model, evaluate_retrieval

    result: EvaluationRun | RetrievalRun | RateDistortionRun
    if folds and (retrieval or paired or rate_distortion):
        raise click.UsageError("--folds trains models on labels; similarity search and codes are measured without it.")
    if rate_distortion:
        if retrieval or paired:
            raise click.UsageError("Give --rate-distortion or --retrieval; each measures something else.")
        from training.experiments.rate_distortion_run import evaluate_rate_distortion

        result = evaluate_rate_distortion(model, datasets, split, name, experiment)
    elif retrieval or paired:
        result = evaluate_retrieval(model, datasets, split, paired, name, experiment)
    else:
        result = evaluate_model(model, datasets, split, folds, alphas, name, experiment, prior)
    if as_json:
        click.echo(json.dumps(result.as_json()))
    else:
        result.print()
