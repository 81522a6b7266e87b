"""`morph transfer`: the accuracy on a new survey against the number of labels."""

from pathlib import Path

import click


@click.command("transfer")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option(
    "--labels",
    default="0,50,100,300,1000,3000",
    show_default=True,
    metavar="N,N...",
    help="How many labelled galaxies to train on; 0 is SOURCE as it is. Smaller budgets are part of larger ones.",
)
@click.option(
    "--methods",
    default="frozen,scratch,finetuned",
    show_default=True,
    metavar="NAME,...",
    help="Ways of training: the heads alone on the frozen encoder, all of a new model, all of SOURCE.",
)
@click.option(
    "--repeats", type=click.IntRange(1), default=3, show_default=True, help="Random samples of galaxies for each."
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Passes through the labelled galaxies.  [default: 30, at least 300 and at most 1,500 batches]",
)
@click.option("--steps", type=click.IntRange(1), help="Batches of 32 galaxies in each training, instead of --epochs.")
@click.option("--experiment", default="transfer", show_default=True, help="MLflow experiment of the runs.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path("transfer"),
    show_default=True,
    help="Folder for the plot, the tables and the JSON document.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(
    source: str,
    target: str,
    labels: str,
    methods: str,
    repeats: int,
    epochs: int | None,
    steps: int | None,
    experiment: str,
    to: Path,
    as_json: bool,
) -> None:
    """Measure the accuracy of SOURCE on TARGET against the number of TARGET's labels.

    SOURCE is a model and TARGET a labelled dataset. For each number of labels, several times: the heads trained on the
    frozen encoder, a model trained from scratch, and SOURCE fine-tuned. All are measured on TARGET's test split, and
    nothing is chosen on it. The summary states how many labels fine-tuning saves, and what
    the next hundred would bring.

    Each training is a run of its own below the transfer's, which `morph compare` takes. An interrupted transfer goes
    on where it stopped, and one with more budgets trains only what is new.

    \b
    morph transfer models:/morph@sdss my-survey --labels 0,50,100,300 --to my-transfer
    """
    from morph.checks import check_memory
    from morph.dataset import find_dataset
    from morph.registry import find_model
    from training.experiments.tracking import check_tracking
    from training.label_budget.plan import budgets_of, check_folder, methods_of

    # Wrong arguments are reported before anything slow is loaded.
    budgets, chosen = budgets_of(labels), methods_of(methods)
    check_folder(to)
    check_memory([find_dataset(target)])
    find_model(source)
    check_tracking()
    import json

    from training.label_budget.report import show
    from training.label_budget.run import transfer

    summary = transfer(source, target, budgets, chosen, repeats, epochs, steps, experiment, to)
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    else:
        show(summary, to)
