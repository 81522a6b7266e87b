"""`morph import`: images and labels, or tiles and a catalogue, become a galaxies dataset."""

from pathlib import Path
from typing import Any

import click

from morph.cli.options import stamp_size
from morph.votes import VOTE_KINDS


@click.command(name="import")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--survey", required=True, help="sdss, des, decals, lsst, hsc, panstarrs, kids, euclid or cfhtls.")
@click.option("--labels", type=click.Path(path_type=Path), help="A table of classes or votes: CSV, Parquet or FITS.")
@click.option("--mapping", type=click.Path(path_type=Path), help="Meaning of other classes or columns: JSON or TOML.")
@click.option(
    "--votes",
    type=click.Choice(VOTE_KINDS),
    help="The votes to take where the labels hold both, and their kind where --mapping is given; raw by default. "
    "Debiased ones are corrected for details lost to distance: train and evaluate on one kind.",
)
@click.option("--id-column", metavar="NAME", help="The labels' column of galaxy names, if not a usual one.")
@click.option(
    "--properties",
    type=click.Path(path_type=Path),
    help="A table of redshifts or magnitudes, joined as labels are; it completes what the labels' table has.",
)
@click.option("--keep-unlabelled", is_flag=True, help="Keep images without a label.")
@click.option("--catalog", type=click.Path(path_type=Path), help="IMAGES are tiles, and these the galaxies on them.")
@click.option("--detect", is_flag=True, help="IMAGES are tiles; detect the sources on them.")
@click.option("--bands", metavar="LETTERS", help="Of the planes of FITS cubes, such as grz, if no header states it.")
@click.option("--zero-point", metavar="MAG|none", help="AB magnitude of one count, instead of the header's.")
@click.option("--unit", help="The unit of the pixels, such as nJy or MJy/sr, instead of the header's.")
@stamp_size
@click.option("--pixel-scale", type=float, metavar="ARCSEC", help="Arcsec per pixel, if no header states it.")
def command(images: tuple[str, ...], to: Path, survey: str, **options: Any) -> None:
    """Turn IMAGES into a galaxies dataset: files, folders or patterns in quotes.

    IMAGES are JPEG or PNG pictures of one galaxy each; FITS cutouts, one file a band (name_g.fits, name_r.fits ...)
    or cubes; a Galaxy10 .h5 file; or, with --catalog or --detect, FITS tiles. Each galaxy is cut to its own size.

    Labels are recognised by their columns: classes of Galaxy Zoo 1, Galaxy10 or rings; votes of Galaxy Zoo 2 (Hart et
    al. 2016), of the Kaggle challenge, of Galaxy Zoo DECaLS and DESI; or rows of id, question, answer. They belong to
    the image that one of their columns names, or else to that within an arcsec of their ra and dec.

    For any other table, --mapping gives the meaning of its classes or columns, in answers of the shared tree:
    {"E": ["smooth-or-featured_smooth"], "S": ["smooth-or-featured_featured-or-disk", "has-spiral-arms_yes"]}.

    \b
    morph import images/ --labels votes.csv --survey sdss --to gz2
    morph import 'cutouts/*.fits' --survey des --zero-point 30 --to cutouts
    morph import DES0356-5248_*.fits.fz --catalog galaxies.fits --labels labels.csv --survey des --to tile
    """
    from training.importers.importing import import_galaxies

    for line in import_galaxies(images, to, survey, **options):
        click.echo(line)
    click.echo(f"Wrote {to}")
