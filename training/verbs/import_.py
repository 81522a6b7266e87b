"""`morph import`: images and labels, or tiles and a catalogue, become a galaxies dataset."""

from pathlib import Path

import click

from morph.errors import BadInput


@click.command(name="import")
@click.argument("images", nargs=-1, required=True)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The dataset to make.")
@click.option("--survey", required=True, help="sdss, des, decals or lsst.")
@click.option("--labels", type=click.Path(path_type=Path), help="A table of classes or votes: CSV, Parquet or FITS.")
@click.option("--mapping", type=click.Path(path_type=Path), help="What other classes or columns mean: JSON or TOML.")
@click.option("--id-column", metavar="NAME", help="The table's column that names the galaxies, if not a usual one.")
@click.option("--pixel-scale", type=float, metavar="ARCSEC", help="Of the pictures, if they all share one.")
@click.option("--keep-unlabelled", is_flag=True, help="Keep images that no label speaks about.")
def command(
    images: tuple[str, ...],
    to: Path,
    survey: str,
    labels: Path | None,
    mapping: Path | None,
    id_column: str | None,
    pixel_scale: float | None,
    keep_unlabelled: bool,
) -> None:
    """Turn images and labels into a galaxies dataset."""
    from morph.galaxies import Galaxies
    from morph.surveys import get_survey
    from training.sources.classes import read_mapping
    from training.sources.paths import expand
    from training.sources.pictures import find_pictures, import_pictures
    from training.sources.report import Report
    from training.sources.schemes import recognise
    from training.sources.tables import read_table

    survey = get_survey(survey).name
    report = Report()
    table = read_table(labels) if labels else None
    known = None
    if table is not None:
        known = recognise(table, read_mapping(mapping) if mapping else None)
        report.say(f"Labels: {known.scheme}, {int(known.labelled.sum()):,} of {len(table):,} rows.")
        for note in known.notes:
            report.say(f"Note: {note}")
    pictures = find_pictures(expand(images))
    if not pictures:
        raise BadInput(f"There are no images in '{images[0]}'; give JPEG, PNG or FITS files, or their folder.")
    import_pictures(pictures, to, survey, report, table, known, id_column, pixel_scale, keep_unlabelled)
    for line in report.lines(Galaxies.open(to)):
        click.echo(line)
    click.echo(f"Wrote {to}")
