"""`morph edit`: one galaxy with one thing changed."""

from pathlib import Path

import click


@click.command("edit")
@click.argument("model")
@click.argument("galaxies", nargs=-1, required=True)
@click.option(
    "--set",
    "text",
    required=True,
    help='What changes: "radius=x2", "mag_r=+1", "bar_strong=1", "redshift=0.3". A change of mag_r keeps the colours.',
)
@click.option("--hold", default="all", show_default=True, help="What stays: all, none, or names such as redshift,bar.")
@click.option("--survey", help="The survey of FITS files, where their headers do not say it.")
@click.option("--bands", help="The bands of a cube's planes, such as grz, where its header does not say them.")
@click.option("--zero-point", metavar="MAG|none", help="FITS: AB magnitude of one count, instead of the header's.")
@click.option("--pixel-scale", type=click.FloatRange(min=0, min_open=True), help="Arcsec.  [default: the headers']")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the noise that is added."
)
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="The folder to write into.")
def command(
    model: str,
    galaxies: tuple[str, ...],
    text: str,
    hold: str,
    survey: str | None,
    bands: str | None,
    zero_point: str | None,
    pixel_scale: float | None,
    seed: int,
    folder: Path,
) -> None:
    """Change one thing in GALAXIES (FITS cutouts, JPEG and PNG pictures, folders or globs) and hold the rest.

    FITS files come back as FITS in nanomaggies, pictures as PNG, each with a strip of five pictures from less to more.
    What MODEL's latent space does not hold stays: noise, neighbours, detail. Light that is added is the plain
    decoder's, which the files state. Edited galaxies are not observations.

    \b
    morph edit models:/morph@sdss galaxy.png --set radius=x2 --to edited
    morph edit models:/morph@sdss cutouts/ --survey des --set mag_r=+1 --to fainter
    """
    from morph.fits.zero_points import Calibration
    from morph.simulation.sampling.changes import Change
    from morph.simulation.sampling.edit_files import edit_galaxies

    made = edit_galaxies(
        model,
        galaxies,
        folder,
        Change.parse(text),
        hold,
        survey,
        bands,
        Calibration.parse(zero_point, None),
        pixel_scale,
        seed,
    )
    for edited in made:
        click.echo(edited.note or f"{edited.path}, with {edited.strip.name if edited.strip else ''}")
