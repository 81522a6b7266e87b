"""`make weights`, or `python -m training.weights`: make the weights that ship."""

from dataclasses import asdict
from pathlib import Path

import click

from morph.cli.main import main
from morph.registry import SHIPPED
from training.weights.detail import detail_step
from training.weights.heads import heads_step
from training.weights.log import LOG, logged
from training.weights.prior import prior_steps
from training.weights.recipe import TRAININGS, Extent, check, data_steps, training_steps
from training.weights.restorer import restorer_step
from training.weights.steps import Record, Step, duration, locked, run_steps

_LENGTHS = ", ".join(f"{name} {length.epochs} x {length.steps}" for name, length in TRAININGS.items())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("../shared/data"),
    show_default=True,
    envvar="MORPH_DATA",
    show_envvar=True,
    help="The folder of survey images and labels.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    help="Folder of datasets, models and the log; finished steps are not repeated.  [default: data, or --out]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of weights and card.  [default: as shipped]")
@click.option("--epochs", type=click.IntRange(1), help=f"Passes of every training.  [default: {_LENGTHS} steps]")
@click.option("--steps", type=click.IntRange(1), help="Batches in a pass.")
@click.option("--limit", type=click.IntRange(20), help="Galaxies of each set.  [default: all]")
@click.option("--plan", is_flag=True, help="Print the steps and an estimate of their time, and do nothing.")
def command(
    data: Path,
    work: Path | None,
    out: Path | None,
    epochs: int | None,
    steps: int | None,
    limit: int | None,
    plan: bool,
) -> None:
    """Make the weights that ship: import, simulate, train the large model, train the small one by its votes and its
    detail decoder, fit its heads anew and the latent priors of both, measure both, write the card.

    The same command resumes an interrupted run, also inside a training. A step is repeated when its command, its
    input or its output has changed. The weights in --out stay unchanged until new ones are made and measured.

    --epochs, --steps or --limit shorten the run for a test. Such weights are of little use, so --out must name a
    folder for them:

    \b
    python -m training.weights --epochs 1 --steps 5 --limit 60 --out try
    """
    extent = Extent(epochs, steps, limit)
    if out is None and not (extent.whole or plan):
        raise click.UsageError(
            "A part of the recipe makes other weights than those that ship; give their folder: --out FOLDER."
        )
    work = work or (Path("data") if extent.whole or out is None else out)
    out = out or SHIPPED.parent
    check(data, work, out, extent)
    every = _every_step(data, work, out, extent)
    if plan:
        _print_plan(every, work)
        return
    with locked(work), logged(work / LOG):
        _print_plan(every, work)
        run_steps(every, work)
        click.echo(f"Wrote {', '.join(f'{path}' for path in every[-1].outputs)}.", err=True)


def _every_step(data: Path, work: Path, out: Path, extent: Extent) -> list[Step]:
    from training.weights.card import measuring_steps, publishing_step, shipping_steps

    return [
        *data_steps(data, work, extent),
        *training_steps(work, extent),
        detail_step(work, extent),
        restorer_step(work, extent),
        heads_step(work, extent),
        *prior_steps(work, extent),
        *shipping_steps(work),
        *measuring_steps(data, work, extent),
        publishing_step(data, work, out, extent, _typed(extent)),
    ]


def _print_plan(every: list[Step], work: Path) -> None:
    record = Record(work)
    left = [step for step in every if not record.is_done(step)]
    for step in left:
        click.echo(f"{duration(step.seconds):>8}  {step.name}", err=True)
    total = sum(step.seconds for step in left)
    click.echo(f"{len(left)} of {len(every)} steps are left, about {duration(total)} on two cores.", err=True)


def _typed(extent: Extent) -> str:
    if extent.whole:
        return "make weights"
    given = [f"--{name} {value}" for name, value in asdict(extent).items() if value is not None]
    return f"python -m training.weights {' '.join(given)} --out ..."


if __name__ == "__main__":
    main(command, "python -m training.weights")
