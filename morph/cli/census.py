"""`morph census`: what share of a survey's galaxies has each morphology."""

from pathlib import Path
from typing import Any

import click

from morph.analysis.census.volume import COSMOLOGY


@click.command(name="census")
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--by", default="", help="Quantities to divide by: magnitude, redshift, radius, snr or a column's name.")
@click.option("--bins", multiple=True, metavar="QUANTITY=EDGES", help="Edges, as 14,16,18 or 0:0.3:0.05. Repeatable.")
@click.option("--where", default="", help="Which galaxies: an expression of the scores' columns.")
@click.option("--weights", default="", help="vmax: count galaxies by 1/Vmax; needs --limit and redshifts.")
@click.option("--limit", type=float, help="The faintest magnitude (mag_r) of the complete sample.")
@click.option("--cosmology", default=COSMOLOGY, show_default=True, help="One of astropy's.")
@click.option("--redshifts", default="", metavar="TABLE", help="Redshifts by id, such as `morph predict` writes.")
@click.option(
    "--correct", default="", metavar="DATASET", help="Labelled galaxies, or an earlier census' labelled.parquet."
)
@click.option("--model", default="", help="The model that made the scores, which scores the labelled galaxies too.")
@click.option(
    "--scheduler", default="", metavar="tcp://HOST:PORT", help="Read the scores by this Dask scheduler's workers."
)
@click.option("--tiles", multiple=True, help="The tiles that were scored, to cut pictures from. Repeatable.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the intervals.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The folder to write.")
def command(scores: Path, to: Path, **options: Any) -> None:
    """Take a census of SCORES, the folder of `morph score` or a table with a column for every answer.

    Fractions are means of calibrated probabilities. With --correct they become what volunteers would say of the same
    galaxies, seen as well as the labelled ones; each class has a limit beyond which that is not known. The folder gets
    the table (Parquet, FITS, CSV), the figure of the Hubble sequence and a report.

    \b
        morph census scores --by magnitude --to census
        morph census scores --by magnitude --correct labelled --model models:/morph@champion --to census
        morph census scores --by redshift --redshifts photoz.parquet --weights vmax --limit 17.8 --to census
    """
    from morph.analysis.census.census import Request, take_census
    from morph.analysis.census.classes import MAIN
    from morph.console import counted

    made = take_census(scores, to, Request(**options))
    for line in (*made.notes, *made.sentences(MAIN)):
        click.echo(line)
    bins = max(len(made.rows) - 1, 1)
    click.echo(
        f"{to}: {counted(made.rows[0][0].count, 'galaxy', 'galaxies')} in {counted(bins, 'bin')}; report.html "
        "has a sentence on every class."
    )
