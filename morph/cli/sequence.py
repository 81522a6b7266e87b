"""`morph sequence`: a continuous type of every galaxy, and a map of shapes."""

from pathlib import Path

import click


@click.command(name="sequence")
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--where", default="", help="Which galaxies: an expression of the scores' columns.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The table: .parquet, .fits or .csv.")
@click.option("--page", type=click.Path(path_type=Path), help="Also write a page with the types and the map, HTML.")
def command(scores: Path, where: str, to: Path, page: Path | None) -> None:
    """Place the galaxies of SCORES on the Hubble sequence.

    A type is the mean place of a galaxy's answers on the scale of de Vaucouleurs' T (E -5, S0 -2, Sa 1, Sb 3, Sc 5, Sd
    7), with its standard error. map_x and map_y are its place on a map of shapes: along the sequence, and across it.

    \b
        morph sequence scores --to sequence.parquet --page sequence.html
    """
    from morph.analysis.census.sequence import make_sequence
    from morph.checks import check_file
    from morph.console import counted

    if page:
        check_file(page, "--page")
    made = make_sequence(scores, to, where, page)
    for note in made.notes:
        click.echo(note)
    click.echo(f"{to}: {counted(made.placed, 'galaxy', 'galaxies')} of {made.galaxies:,} with a type.")
