"""morph score."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morph.errors import InputError

if TYPE_CHECKING:
    from serving.scores.summary import ScoresSummary
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
    help="Use the model of this server; several, or a list with commas, share the work.",
)
@click.option(
    "--engine",
    type=click.Choice(("auto", "keras", "openvino")),
    default="auto",
    help="The engine of --model: OpenVINO where it is installed (pip install 'morph-galaxies[fast]'), or Keras.",
)
@click.option(
    "--survey",
    help="The tiles' survey: sdss, des, decals, lsst, hsc, panstarrs, kids, euclid or cfhtls [from the files].",
)
@click.option("--zero-point", metavar="MAG|none", help="AB magnitude of one count, instead of the headers'.")
@click.option("--unit", help="The unit of the pixels, such as nJy or MJy/sr, instead of the headers'.")
@click.option("--bands", metavar="LETTERS", help="Of the images in a file, or of a cube's planes, in order.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes to use.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler instead.")
@click.option("--hats", is_flag=True, help="Also write the catalogue in HATS, for LSDB.")
@click.option("--fits", is_flag=True, help="Also write the catalogue as one FITS table, for TOPCAT.")
@click.option(
    "--hats-extension",
    "extended",
    type=click.Path(path_type=Path),
    metavar="CATALOG",
    help="Also write the scores as an extension of this HATS catalogue, joined by id.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare each file with its checksums (DATASUM) before: a hundredth of the time, and a second reading.",
)
@click.option("--overwrite", is_flag=True, help="Score again the tiles that have a score file.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only print the plan: time, memory, disk. TILE may be a table of tiles not on disk.",
)
@click.option("--gpus", type=click.IntRange(1), metavar="N", help="With --dry-run: plan for N GPUs as well.")
@click.option(
    "--galaxies-per-tile",
    type=click.FloatRange(1),
    metavar="N",
    help="With --dry-run: the number of galaxies, without a catalogue.",
)
def command(
    tiles: tuple[str, ...],
    out: Path | None,
    zero_point: str | None,
    unit: str | None,
    dry_run: bool,
    gpus: int | None,
    galaxies_per_tile: float | None,
    hats: bool,
    fits: bool,
    extended: Path | None,
    model: str | None,
    servers: tuple[str, ...],
    engine: str,
    **options: Any,
) -> None:
    """Score each TILE: cut its galaxies, classify them, write one Parquet file.

    A TILE is any file of it, a folder or a glob; the other bands are found beside it. The galaxies come from a
    catalogue in FITS, Parquet, CSV, VOTable, ECSV or HATS, or are detected. Files are written atomically: the same
    command resumes a run that was stopped. A tile that cannot be scored stops no other: it is listed in
    _failed.csv, and the exit status is then 1; rows of the catalogue that cannot be used are listed in _left-out.csv.
    One job at a time writes into a folder.

    At the end the galaxies are compared with the training set, in print and in _domain-shift.png. Beside the
    folder, DIR-catalogue has a report, a value-added table and, on request, the catalogue in HATS and FITS.

    \b
        morph score tiles/ --model models:/morph@champion --out scores
        morph score 'tiles/*_r.fits.fz' --catalog gold.fits --server 127.0.0.1:8500 --out scores
    """
    # Read when NumPy is first imported. A thread cuts while the model uses every core, and the cuts' small matrix
    # products lose more to threads of their own than they gain.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from morph.fits.zero_points import Calibration

    options["calibration"] = Calibration.parse(zero_point, unit)
    if dry_run:
        source = _source(model if servers else model or "models:/morph@sdss", servers, engine)
        return _plan(tiles, source, out, galaxies_per_tile, gpus or 0, options)
    if gpus or galaxies_per_tile:
        raise InputError("--gpus and --galaxies-per-tile are for a plan; add --dry-run.")
    if out is None:
        raise InputError("The folder of the scores is missing; add --out DIR.")
    _score(
        tiles,
        partial(_source, model, servers, engine),
        out,
        {"hats": hats, "fits": fits, "extended": extended},
        options,
    )


def _score(
    tiles: Sequence[str], source: "Callable[[], ModelRef]", out: Path, forms: dict[str, Any], options: dict[str, Any]
) -> None:
    """Score, print the summary, and make the catalogue."""
    from morph.checks import check_folder
    from morph.output_lock import output_lock
    from morph.signals import sigterm_interrupts
    from morph.surveys import UNKNOWN, get_survey
    from morph.tiles.discovery import bands_left_out, find_tiles, survey_of
    from serving.scoring.run import Progress, score

    # Before a model is loaded, so that a wrong name is reported at once.
    check_folder(out, "--out")
    if forms["extended"]:
        from morph.catalogs.parquet import hats_folder

        hats_folder(forms["extended"])
    groups = find_tiles(tiles)
    options["survey"] = survey = get_survey(options["survey"] or survey_of(groups) or UNKNOWN.name).name
    if left_out := bands_left_out(groups):
        click.echo(
            f"morph: images in {', '.join(left_out)} are left out; no model here was trained on them.", err=True
        )
    options |= {"catalogue": options.pop("catalog"), "bands": options["bands"] or "", "source": source()}
    with sigterm_interrupts(), output_lock(out) as token:
        with Progress(len(groups)) as progress:
            summary = score(groups, out=out, advance=progress.advance, token=token, **options)
        _report(summary, out, survey, progress.seconds)
        if summary.galaxies:
            _publish(summary, out, survey, **forms)
    _report_failures(summary, len(groups), out)


def _report(summary: "ScoresSummary", out: Path, survey: str, seconds: float) -> None:
    from serving.scores.publish import catalogue_folder
    from serving.scores.summary import image_lines, lines

    if not summary.galaxies and (old := catalogue_folder(out)).exists():
        click.echo(f"morph: '{old}' is from an earlier run; none of its galaxies has scores now.", err=True)
    if not summary.scored and not summary.without_galaxies and len(summary.failed) == 1:
        raise InputError(summary.failed[0].reason)
    for line in (*lines(summary, out, seconds), *image_lines(summary, survey)):
        click.echo(line)


def _publish(summary: "ScoresSummary", out: Path, survey: str, hats: bool, fits: bool, extended: Path | None) -> None:
    from morph.domain_shift.report import lines
    from serving.scores.publish import EXTENSION, catalogue_folder, publish, report_domain_shift

    for line in lines(report_domain_shift(summary, out, survey)):
        click.echo(line)
    made = publish(summary, out, hats, fits)
    click.echo(f"The catalogue is in {made[0].parent}: {', '.join(path.name for path in made)}.")
    if extended:
        from serving.scores.score_files import ScoreFiles

        place = catalogue_folder(out) / EXTENSION
        joined = ScoreFiles.open(out).to_hats_extension(extended, place)
        click.echo(f"The extension of '{extended}' is in {place}: {joined}")


def _report_failures(summary: "ScoresSummary", tiles: int, out: Path) -> None:
    """Exit with status 1 where tiles failed, and 2 where all did."""
    from serving.scoring.run import FAILED

    for failed in summary.failed:
        click.echo(f"morph: {failed.reason}", err=True)
    if summary.failed and not summary.scored:
        raise InputError(f"None of the {tiles} tiles can be scored.")
    if summary.failed:
        click.echo(f"morph: {len(summary.failed)} of {tiles} tiles were not scored: see {out / FAILED}.", err=True)
        sys.exit(1)


def _plan(
    tiles: Sequence[str],
    source: "ModelRef",
    out: Path | None,
    per_tile: float | None,
    gpus: int,
    options: dict[str, Any],
) -> None:
    """Print the plan of a run."""
    from morph.surveys import UNKNOWN, get_survey
    from morph.tiles.discovery import find_tiles, survey_of
    from serving.scoring.plan import lines, plan
    from serving.scoring.tile_list import TileList, is_list

    survey = options["survey"]
    what: TileList | list[list[Path]]
    if len(tiles) == 1 and is_list(tiles[0]):
        what = TileList.read(tiles[0])
    else:
        what = find_tiles(tiles)
        survey = survey or survey_of(what)
    how = {name: options[name] for name in ("where", "workers", "calibration")}
    survey = get_survey(survey or UNKNOWN.name).name
    for line in lines(plan(what, options["catalog"], source, survey, per_tile=per_tile, gpus=gpus, out=out, **how)):
        click.echo(line)


def _source(model: str | None, servers: tuple[str, ...], engine: str) -> "ModelRef":
    from serving.scoring.backends import LocalModel, RemoteModel

    if servers:
        return RemoteModel(",".join(servers), model or "morph")
    if model:
        return LocalModel(model, engine)
    raise InputError("No model is named; add --model models:/morph@champion (or a path), or --server HOST:PORT.")
