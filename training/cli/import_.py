"""`morph import`: images and labels, or tiles and a catalogue, become a galaxies dataset."""

from pathlib import Path

import click

from morph.errors import InputError
from morph.votes import VOTE_KINDS

HDF5 = (".h5", ".hdf5")


@click.command(name="import")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--survey", required=True, help="sdss, des, decals, lsst, hsc, panstarrs, kids or euclid.")
@click.option("--labels", type=click.Path(path_type=Path), help="A table of classes or votes: CSV, Parquet or FITS.")
@click.option("--mapping", type=click.Path(path_type=Path), help="What other classes or columns mean: JSON or TOML.")
@click.option(
    "--votes",
    "kind",
    type=click.Choice(VOTE_KINDS),
    help="Which votes to take where the labels hold both, and what they are where --mapping is given; raw by default. "
    "Debiased ones are corrected for what distance hides: train and evaluate on one kind.",
)
@click.option("--id-column", metavar="NAME", help="The labels' column that names the galaxies, if not a usual one.")
@click.option("--keep-unlabelled", is_flag=True, help="Keep images that no label speaks about.")
@click.option("--catalog", type=click.Path(path_type=Path), help="IMAGES are tiles, and these the galaxies on them.")
@click.option("--detect", is_flag=True, help="IMAGES are tiles; take every source that stands out on them.")
@click.option("--bands", metavar="LETTERS", help="Of the planes of FITS cubes, such as grz, if no header says.")
@click.option("--zero-point", metavar="MAG|none", help="AB magnitude of one count, instead of the header's.")
@click.option("--unit", help="The unit of the pixels, such as nJy or MJy/sr, instead of the header's.")
@click.option("--pixel-scale", type=float, metavar="ARCSEC", help="Arcsec per pixel, if no header says.")
def command(
    images: tuple[str, ...],
    to: Path,
    survey: str,
    labels: Path | None,
    mapping: Path | None,
    kind: str | None,
    id_column: str | None,
    keep_unlabelled: bool,
    catalog: Path | None,
    detect: bool,
    bands: str | None,
    zero_point: str | None,
    unit: str | None,
    pixel_scale: float | None,
) -> None:
    """Turn IMAGES into a galaxies dataset: files, folders or patterns in quotes.

    IMAGES are JPEG or PNG pictures of one galaxy each; FITS cutouts, one file a band (name_g.fits, name_r.fits ...)
    or cubes; a Galaxy10 .h5 file; or, with --catalog or --detect, FITS tiles. Each galaxy is cut to its own size.

    Labels are recognised by their columns: classes of Galaxy Zoo 1, Galaxy10 or rings; votes of Galaxy Zoo 2 (Hart et
    al. 2016), of the Kaggle challenge, of Galaxy Zoo DECaLS and DESI; or rows of id, question, answer. They belong to
    the image that one of their columns names, or else to that within an arcsec of their ra and dec.

    For any other table, --mapping says what its classes or columns mean, in answers of the shared tree:
    {"E": ["smooth-or-featured_smooth"], "S": ["smooth-or-featured_featured-or-disk", "has-spiral-arms_yes"]}.

    \b
    morph import images/ --labels votes.csv --survey sdss --to gz2
    morph import 'cutouts/*.fits' --survey des --zero-point 30 --to cutouts
    morph import DES0356-5248_*.fits.fz --catalog galaxies.fits --labels labels.csv --survey des --to tile
    """
    from morph.dataset import Galaxies, check_target
    from morph.fits.zero_points import Calibration
    from morph.surveys import get_survey
    from training.importers.cutouts import Headers, find_fits, import_cutouts
    from training.importers.pictures import expand, find_pictures, import_galaxy10, import_pictures
    from training.importers.schemes import read_mapping, recognise
    from training.importers.tables import read_table
    from training.importers.tiles import import_tiles
    from training.importers.writing import Report

    check_target(to)
    survey = get_survey(survey).name
    if labels is None and (mapping or kind or id_column or keep_unlabelled):
        raise InputError(
            "--mapping, --votes, --id-column and --keep-unlabelled are about labels; give those with --labels TABLE."
        )
    if (catalog or detect) and pixel_scale:
        raise InputError("--pixel-scale is for cutouts; tiles have sky coordinates in their headers.")
    calibration = Calibration.parse(zero_point, unit)
    report = Report()
    paths = expand(images)
    hdf5 = [path for path in paths if path.suffix.lower() in HDF5]
    if len(hdf5) > 1 or (hdf5 and (labels or len(paths) > 1)):
        raise InputError(f"'{hdf5[0]}' holds pictures and their classes; import it alone, without --labels.")
    table = read_table(labels) if labels else None
    known = None
    if table is not None:
        known = recognise(table, read_mapping(mapping) if mapping else None, kind)
        report.labels(known)
    about = (table, known, id_column)
    if hdf5:
        import_galaxy10(hdf5[0], to, survey, report, pixel_scale)
    elif catalog or detect:
        if catalog and detect:
            raise InputError("Give --catalog or --detect, not both.")
        import_tiles(paths, catalog, to, survey, report, *about, keep_unlabelled, calibration, bands or "")
    else:
        pictures, fits = find_pictures(paths), find_fits(paths, leave=labels)
        if pictures and fits:
            raise InputError(
                f"There are {len(pictures)} pictures and {len(fits)} FITS files in '{images[0]}'; "
                f"import one kind at a time, for instance '{images[0]}/*{pictures[0].suffix}'."
            )
        if pictures:
            if bands or zero_point is not None or unit:
                raise InputError("--bands, --zero-point and --unit are for FITS images; these are pictures.")
            import_pictures(pictures, to, survey, report, *about, pixel_scale, keep_unlabelled)
        elif fits:
            headers = Headers(survey, bands, calibration, pixel_scale)
            import_cutouts(paths, to, headers, report, *about, keep_unlabelled)
        else:
            raise InputError(f"There are no images in '{images[0]}'; give JPEG, PNG or FITS files, or their folder.")
    for line in report.lines(Galaxies.open(to, images=False)):
        click.echo(line)
    click.echo(f"Wrote {to}")
