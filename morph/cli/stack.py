"""`morph stack`: the mean image of many galaxies, and how far it can be trusted."""

from pathlib import Path
from typing import Any

import click


@click.command(name="stack")
@click.argument("scores")
@click.option("--tiles", multiple=True, required=True, help="The images: a file, folder or glob; may be repeated.")
@click.option("--where", default="", help='Which galaxies: "smooth > 0.8 and 0.1 < redshift < 0.2".')
@click.option(
    "--scale", default="radius", show_default=True, help="radius: by half-light radii; or kpc: by redshifts."
)
@click.option("--align", is_flag=True, help="Turn galaxies by their position angles.")
@click.option("--bands", default="", help="Such as gri.  [default: those of the tiles]")
@click.option("--combine", "kind", default="clipped", show_default=True, help="mean, median or clipped.")
@click.option(
    "--reach", type=float, help="Half-light radii (10 or more) or kpc from the centre.  [default: 15, or 150 kpc]"
)
@click.option("--redshifts", help="A table of ids and redshifts, such as `morph predict` writes.")
@click.option(
    "--sky-mesh",
    "mesh",
    default=256,
    show_default=True,
    help="Pixels of the mesh in which the survey subtracted its sky; 0: it did not.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed, of the random points.")
@click.option("--processes", type=click.IntRange(1), help="Processes to use.  [default: by cores and memory]")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The folder to write into.")
def command(scores: str, tiles: tuple[str, ...], to: Path, **options: Any) -> None:
    """Stack the galaxies of SCORES, a folder of score files or any table, to see haloes far below the noise of one.

    Cutouts come from the survey's own tiles. Neighbours are masked, and the sky is that of random points. Written are
    stack.fits, profile.parquet, galaxies.parquet and report.html with nine checks. A stopped command goes on where it
    was.

    \b
        morph stack scores --tiles tiles --where "smooth > 0.8" --scale radius --align --to stack
    """
    from morph.analysis.stacking.run import stack
    from morph.console import counted

    made = stack(scores, tiles, to, **options)
    for note in made.notes:
        click.echo(note)
    for number, check in enumerate(made.checks, 1):
        verdict = {True: "passed", False: "NOT PASSED", None: "not possible"}[check.passed]
        click.echo(f"{number}. {check.title}: {verdict}. {check.text}")
    simulated = " (simulated)" if made.result.measured.simulated else ""
    click.echo(f"{to}: {counted(made.galaxies, 'galaxy', 'galaxies')}{simulated}; open {to / 'report.html'}.")
