"""`make weights`, or `python -m training.weights`: make the weights that ship."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import click

from morph.errors import InputError
from morph.registry import SHIPPED
from training.weights.card import WEIGHTS, describe, publish
from training.weights.recipe import Extent, run_verbs, verbs

#: The note on the card of weights from a part of the recipe.
SHORT = "These weights come from a part of the recipe, run as a test. They are not those that ship."


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
    help="Folder of datasets and models; finished steps are not repeated.  [default: data, or --out]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of weights and card.  [default: as shipped]",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes of both trainings.  [default: 32 and 60]")
@click.option("--steps", type=click.IntRange(1), help="Batches in a pass.  [default: 250]")
@click.option("--limit", type=click.IntRange(20), help="Galaxies of each set.  [default: all]")
@click.option("--card-only", is_flag=True, help="Train nothing: measure the weights in --out, and write their card.")
def command(
    data: Path,
    work: Path | None,
    out: Path | None,
    epochs: int | None,
    steps: int | None,
    limit: int | None,
    card_only: bool,
) -> None:
    """Make the weights that ship: import, simulate, train a teacher, train by its votes, measure, write the card.

    Every step is a verb of `morph`. The same command resumes an interrupted run. The weights in --out
    stay unchanged until new ones are made and measured.

    --epochs, --steps or --limit shorten the run for a test. Such weights are of little use, so --out must name a
    folder for them:

    \b
    python -m training.weights --epochs 1 --steps 5 --limit 60 --out try
    """
    extent = Extent(epochs, steps, limit)
    if out is None:
        if not extent.whole:
            raise click.UsageError(
                "A part of the recipe makes other weights than those that ship; give their folder: --out FOLDER."
            )
        out = SHIPPED.parent
    work = work or (Path("data") if extent.whole else out)
    try:
        if not (card_only or data.is_dir()):
            raise InputError(f"There are no survey images in '{data}'; set MORPH_DATA to the folder that holds them.")
        every = verbs(data, work, extent)
        if not card_only:
            run_verbs(every, work)
        weights = out / WEIGHTS if card_only else work / WEIGHTS
        last = shlex.join(["morph", *every[-1]])
        publish(weights, describe(weights, work, _typed(extent), last, "" if extent.whole else SHORT), out)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    except (KeyboardInterrupt, click.Abort):
        click.echo("Stopped. Finished steps are kept; the same command resumes there.", err=True)
        sys.exit(130)


def _typed(extent: Extent) -> str:
    if extent.whole:
        return "make weights"
    given = [f"--{name} {value}" for name, value in asdict(extent).items() if value is not None]
    return f"python -m training.weights {' '.join(given)} --out ..."


if __name__ == "__main__":
    command(prog_name="python -m training.weights")
