"""morph score."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from morph.errors import InputError

if TYPE_CHECKING:
    from serving.scores.summary import Summary
    from serving.scoring.backends import ModelRef


@click.command("score")
@click.argument("tiles", metavar="TILE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The score files' folder.")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="The galaxies: a file, folder, glob in quotes or HATS catalogue; else they are detected.",
)
@click.option("--where", metavar="CONDITION", help='Which of its rows: "MAG_AUTO_R < 21.5 and FLAGS_R == 0".')
@click.option("--model", metavar="NAME", help="A model's path or MLflow URI; with --server, its name there [morph].")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="Let the model of this server answer; several, or a list with commas, share the work.",
)
@click.option(
    "--engine",
    type=click.Choice(("auto", "keras", "openvino")),
    default="auto",
    help="What computes --model: OpenVINO where it is installed (pip install 'morph-galaxies[fast]'), or Keras.",
)
@click.option(
    "--survey",
    help="The tiles' survey: sdss, des, decals, lsst, hsc, panstarrs, kids or euclid [as the files say].",
)
@click.option("--zero-point", metavar="MAG|none", help="AB magnitude of one count, instead of the headers'.")
@click.option("--unit", help="The unit of the pixels, such as nJy or MJy/sr, instead of the headers'.")
@click.option("--bands", metavar="LETTERS", help="Of the images in a file, or of a cube's planes, in order.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes to use.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler instead.")
@click.option("--hats", is_flag=True, help="Also write the catalogue in HATS, for LSDB.")
@click.option("--fits", is_flag=True, help="Also write the catalogue as one FITS table, for TOPCAT.")
@click.option(
    "--verify",
    is_flag=True,
    help="Compare each file with its checksums (DATASUM) before: a hundredth of the time, and a second reading.",
)
@click.option("--overwrite", is_flag=True, help="Score again the tiles that have a score file.")
@click.option("--dry-run", is_flag=True, help="Only say what it would take: TILE may be a table of tiles not on disk.")
@click.option("--gpus", type=click.IntRange(1), metavar="N", help="With --dry-run: work it out for N GPUs as well.")
@click.option(
    "--galaxies-per-tile",
    type=click.FloatRange(1),
    metavar="N",
    help="With --dry-run: how many galaxies there are, where no catalogue says it.",
)
def command(
    tiles: tuple[str, ...],
    out: Path | None,
    catalog: Path | None,
    where: str | None,
    model: str | None,
    servers: tuple[str, ...],
    engine: str,
    survey: str | None,
    zero_point: str | None,
    unit: str | None,
    bands: str | None,
    workers: int,
    scheduler: str | None,
    hats: bool,
    fits: bool,
    dry_run: bool,
    gpus: int | None,
    galaxies_per_tile: float | None,
    verify: bool,
    overwrite: bool,
) -> None:
    """Score each TILE: cut its galaxies, ask the model, write one Parquet file.

    A TILE is any file of it, a folder or a glob; the other bands are found beside it. The galaxies come from a
    catalogue in FITS, Parquet, CSV, VOTable, ECSV or HATS, or are detected. A file appears whole or not at all: the
    same command goes on where it was stopped. A tile that cannot be scored stops no other: it is listed in
    _failed.csv, and the exit status is then 1; rows of the catalogue that cannot be used are listed in _left-out.csv.
    One job at a time writes into a folder.

    How far the galaxies are from those that taught the model is told at the end, and drawn in _domain-shift.png.
    Beside the folder, DIR-catalogue has a report, a friendly table and, on request, the catalogue in HATS and FITS.

    \b
        morph score tiles/ --model models:/morph@champion --out scores
        morph score 'tiles/*_r.fits.fz' --catalog gold.fits --server 127.0.0.1:8500 --out scores
    """
    # Read when NumPy is first imported. A thread cuts while the model uses every core, and the cuts' small matrix
    # products lose more to threads of their own than they gain.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from morph.checks import check_folder
    from morph.domain_shift.report import lines
    from morph.fits.zero_points import Calibration
    from morph.signals import stops_like_ctrl_c
    from morph.surveys import UNKNOWN, get_survey
    from morph.tiles.discovery import bands_left_out, find_tiles, survey_of
    from serving.scores.domain_shift import report_domain_shift
    from serving.scores.publish import catalogue_folder, publish
    from serving.scores.summary import images_in_words
    from serving.scoring.output_lock import hold
    from serving.scoring.progress import Progress
    from serving.scoring.run import FAILED, score

    calibration = Calibration.parse(zero_point, unit)
    if dry_run:
        source = _source(model if servers else model or "models:/morph@sdss", servers, engine)
        how = {
            "calibration": calibration,
            "where": where,
            "per_tile": galaxies_per_tile,
            "workers": workers,
            "gpus": gpus or 0,
            "out": out,
        }
        return _plan(tiles, survey, catalog, source=source, **how)
    if gpus or galaxies_per_tile:
        raise InputError("--gpus and --galaxies-per-tile are for a plan; add --dry-run.")
    if out is None:
        raise InputError("Say where the scores go: --out DIR.")
    # Before a model is loaded, so that a wrong name is told at once.
    check_folder(out, "--out")
    groups = find_tiles(tiles)
    survey = get_survey(survey or survey_of(groups) or UNKNOWN.name).name
    if left_out := bands_left_out(groups):
        click.echo(
            f"morph: images in {', '.join(left_out)} are left out; no model here was trained on them.", err=True
        )
    source = _source(model, servers, engine)
    with stops_like_ctrl_c(), hold(out) as token:
        with Progress(len(groups)) as progress:
            summary = score(
                groups,
                catalog,
                source,
                out,
                survey,
                workers,
                overwrite,
                progress.advance,
                scheduler,
                token,
                where,
                verify,
                calibration,
                bands or "",
            )
        if not summary.galaxies and (old := catalogue_folder(out)).exists():
            click.echo(f"morph: '{old}' is from an earlier run; of its galaxies none has scores now.", err=True)
        if not summary.scored and not summary.elsewhere and len(summary.failed) == 1:
            raise InputError(summary.failed[0].reason)
        _print(summary, out, progress.seconds)
        for line in images_in_words(survey, summary):
            click.echo(line)
        if summary.galaxies:
            for line in lines(report_domain_shift(summary, out, survey)):
                click.echo(line)
            made = publish(summary, out, hats, fits)
            click.echo(f"The catalogue is in {made[0].parent}: {', '.join(path.name for path in made)}.")
    for failed in summary.failed:
        click.echo(f"morph: {failed.reason}", err=True)
    if summary.failed:
        if not summary.scored:
            raise InputError(f"None of the {len(groups)} tiles can be scored.")
        click.echo(
            f"morph: {len(summary.failed)} of {len(groups)} tiles were not scored: see {out / FAILED}.", err=True
        )
        sys.exit(1)


def _plan(tiles: tuple[str, ...], survey: str | None, catalog: Path | None, **how) -> None:
    """The plan of a run, on standard output."""
    from morph.surveys import UNKNOWN, get_survey
    from morph.tiles.discovery import find_tiles, survey_of
    from serving.scoring.plan import lines, plan
    from serving.scoring.tile_list import TileList, is_list

    what: TileList | list[list[Path]]
    if len(tiles) == 1 and is_list(tiles[0]):
        what = TileList.read(tiles[0])
    else:
        what = find_tiles(tiles)
        survey = survey or survey_of(what)
    for line in lines(plan(what, catalog, survey=get_survey(survey or UNKNOWN.name).name, **how)):
        click.echo(line)


def _source(model: str | None, servers: tuple[str, ...], engine: str) -> "ModelRef":
    from serving.scoring.backends import LocalModel, RemoteModel

    if servers:
        return RemoteModel(",".join(servers), model or "morph")
    if model:
        return LocalModel(model, engine)
    raise InputError("Say who answers: --model models:/morph@champion (or a model's path), or --server HOST:PORT.")


def _print(summary: "Summary", out: Path, seconds: float) -> None:
    """The run in a few lines on standard output."""
    new = [tile for tile in summary.scored if not tile.before]
    if new:
        galaxies = sum(tile.galaxies for tile in new)
        rate = f"{galaxies / seconds:,.0f} a second"
        what = f"{_count(len(new), 'tile')} with {_count(galaxies, 'galaxy', 'galaxies')}"
        click.echo(f"Scored {what} in {seconds:.1f} s ({rate}) into {out}.")
    if len(new) < len(summary.scored):
        before = _count(len(summary.scored) - len(new), "tile")
        click.echo(f"{before} had been scored before; --overwrite scores again.")
    if summary.changed:
        tiles = _count(len(summary.changed), "tile")
        click.echo(f"{tiles} had other images, or other neighbours, when scored before, and had to be again.")
    for line in summary.left_out.lines():
        click.echo(line)
    if summary.nowhere:
        lost = _count(summary.nowhere, "galaxy of the catalogue lies", "galaxies of the catalogue lie")
        click.echo(f"{lost} on none of the tiles that were scored.")
    if summary.elsewhere:
        click.echo(f"No galaxy of the catalogue lies on {_count(len(summary.elsewhere), 'tile')}.")
    if not summary.galaxies:
        return
    kinds = [f"{count:,} {str(flag.name).lower().replace('_', ' ')}" for flag, count in summary.flags.items() if count]
    detail = f" ({', '.join(kinds)})" if kinds else ""
    click.echo(f"With a flag: {summary.flagged:,} of {_count(summary.galaxies, 'galaxy', 'galaxies')}{detail}.")
    if not summary.strangest:
        return
    clean = _count(summary.clean, "galaxy", "galaxies")
    click.echo(f"Anomalous: {summary.anomalies:,} of {clean} with nothing wrong. The most anomalous:")
    for anomaly_score, name, tile in summary.strangest:
        click.echo(f"  p = {anomaly_score:<8.3g} {name}  (tile {tile})")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
