"""morph similar."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morph.errors import InputError
from serving.cli.connection import client_options, transport

if TYPE_CHECKING:
    from serving.client.pictures import FitsLayout
    from serving.similarity.hits import Asked

#: Hits that are printed.
PRINTED = 20


@click.command("similar")
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--image", "images", multiple=True, metavar="FILE", help="An example: a JPEG, PNG or FITS file.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="An example: a galaxy of the index, by its id.")
@click.option("--position", "positions", multiple=True, metavar="RA,DEC", help="The same, by its place, in degrees.")
@click.option("--like", multiple=True, metavar="EXAMPLE", help="An example: an image, a position or an id.")
@click.option("--unlike", multiple=True, metavar="EXAMPLE", help="What hits should not be like; given as for --like.")
@click.option("--where", metavar="CONDITION", help='Which galaxies: "mag_r < 20 and smooth-or-featured_smooth < 0.3".')
@click.option("--cone", metavar="RA,DEC,RADIUS", help="Galaxies in a circle on the sky, in degrees.")
@click.option("-n", "number", default=100, show_default=True, type=int, help="How many galaxies.")
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="TABLE", help="Write the hits: .parquet, .fits or .csv."
)
@click.option("--page", type=click.Path(path_type=Path), metavar="HTML", help="Write a page of the hits' pictures.")
@click.option(
    "--tiles", multiple=True, metavar="TILE", help="For --page: tiles to cut pictures from, or their folder."
)
@click.option("--server", metavar="HOST:PORT", help="For images: the server of the index's model.")
@click.option("--model", metavar="MODEL", help="For images: the index's model; with --server, its name there [morph].")
@click.option("--survey", help="FITS: the survey, whose bands fill the channels [as the files say].")
@click.option("--bands", help="FITS: the bands of a cube's planes, in order, such as grz.")
@click.option("--zero-point", metavar="MAG|none", help="FITS: AB magnitude of one count, instead of the header's.")
@click.option("--unit", help="FITS: the unit of the pixels, such as nJy, instead of the header's.")
@transport
def command(
    index: Path,
    images: tuple[str, ...],
    ids: tuple[str, ...],
    positions: tuple[str, ...],
    like: tuple[str, ...],
    unlike: tuple[str, ...],
    where: str | None,
    cone: str | None,
    number: int,
    to: Path | None,
    page: Path | None,
    tiles: tuple[str, ...],
    survey: str | None,
    bands: str | None,
    zero_point: str | None,
    unit: str | None,
    **model: Any,
) -> None:
    """Find the galaxies of INDEX that are most like some examples, the most alike first.

    Several examples are combined. They are not hits themselves, nor are their duplicates: galaxies within an arcsec of
    an example, within 1.5 pixels on its tile, or with the vector of an image that is an example. There are as many
    hits as asked for wherever so many galaxies meet the conditions.

    \b
        morph similar galaxies.index --id DES0356-5248-17 -n 20 --page hits.html --tiles tiles/
        morph similar galaxies.index --image ring.png --server localhost:8500 --to rings.fits
        morph similar galaxies.index --like 53.16,-27.79 --like ring.png --unlike DES0356-5248-3 \\
            --model models:/morph@sdss --where "mag_r < 20" --cone 53,-28,2
    """
    from morph.fits.zero_points import Calibration
    from morph.surveys import get_survey
    from serving.client.pictures import FitsLayout
    from serving.similarity.examples import ID, IMAGE, POSITION, Example
    from serving.similarity.hits import Asked

    named = ((IMAGE, images), (ID, ids), (POSITION, positions))
    examples = [Example(kind, text) for kind, texts in named for text in texts] + [*map(Example.guess, like)]
    if not examples:
        raise InputError("A search needs an example; give --image, --id, --position or --like.")
    _check(to, page)
    if survey:
        get_survey(survey)
    Calibration.parse(zero_point, unit)
    asked = Asked(examples, [*map(Example.guess, unlike)], where, _circle(cone))
    layout = FitsLayout(survey, bands, zero_point, unit)
    _search(index, asked, number, layout, _model(**model), to, page, tiles)


def _check(to: Path | None, page: Path | None) -> None:
    """InputError where the results cannot be written, before anything is searched."""
    from morph.checks import check_file
    from serving.similarity.hits import check_table

    if to:
        check_table(to)
    if page:
        check_file(page, "--page")


def _search(
    index: Path,
    asked: "Asked",
    number: int,
    layout: "FitsLayout",
    model: Any,
    to: Path | None,
    page: Path | None,
    tiles: Sequence[str],
) -> None:
    from serving.similarity import Index
    from serving.similarity.examples import find_examples
    from serving.similarity.hits import write_page, write_table

    opened = Index.open(index)
    query = find_examples(opened, asked.like, asked.unlike, model, layout)
    for note in query.notes:
        click.echo(f"morph: {note}", err=True)
    hits = opened.search(
        query.like, number, None, query.unlike, asked.where, asked.cone, query.exclude, copies=not query.pictures
    )
    if to:
        write_table(hits, to, asked.about(opened))
    if page:
        write_page(page, opened, hits, asked, query, tiles)
    _print(hits)
    made = " and ".join(str(path) for path in (to, page) if path)
    click.echo(f"{len(hits):,} of {len(opened):,} galaxies" + (f"; written: {made}." if made else "."))


def _circle(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        ra, dec, radius = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--cone '{text}' is not RA,DEC,RADIUS in degrees, such as 53.1,-27.8,0.5.") from None
    return ra, dec, radius


def _model(server: str | None, model: str | None, **options: Any) -> Any:
    """What opens the model that was named; None where none was."""
    from serving.similarity.examples import local_model, served_model

    if server:
        return partial(served_model, server, {"model": model or "morph", **client_options(**options)})
    return partial(local_model, model) if model else None


def _print(hits: Any) -> None:
    """Print the first hits as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from serving.similarity.rows import for_people

    console = Console()
    if not console.is_terminal:
        console.width = 120
    table = Table(box=None, pad_edge=False)
    for name in ("", "galaxy", "ra", "dec", "similarity", "mag_r", "most likely answers"):
        table.add_column(name, overflow="fold")
    for rank, row in enumerate(for_people(hits.slice(0, PRINTED)), 1):
        ra, dec = (f"{row[name]:.5f}" if row[name] is not None else "" for name in ("ra", "dec"))
        magnitude = row["measured"].get("mag_r")
        shown = "" if magnitude is None else f"{magnitude:.2f}"
        summary = escape(row.get("summary") or "")
        table.add_row(str(rank), escape(row["id"]), ra, dec, f"{row['similarity']:.4f}", shown, summary)
    console.print(table)
