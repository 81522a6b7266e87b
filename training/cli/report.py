"""`morph report`: one HTML page of results."""

from pathlib import Path

import click


@click.command(name="report")
@click.option("--galaxies", "dataset", metavar="DATASET", help="Galaxies to show with the model's predictions.")
@click.option("--model", metavar="MODEL", help="The model; needed with --galaxies.")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    show_default=True,
    help="The part of the dataset's split to show.",
)
@click.option("--runs", multiple=True, metavar="NAME", help="A run to compare, by name or id; repeat for several.")
@click.option("--experiment", metavar="NAME", help="Compare the newest runs of this MLflow experiment.")
@click.option("--scores", type=click.Path(path_type=Path), help="A score file, or a folder of them.")
@click.option("--tile", metavar="TILE", help="The images of one of the scored tiles: a file, a folder or a glob.")
@click.option("--survey", help="The survey of that tile [from its files].")
@click.option("--title", default="What the model sees", show_default=True, help="The page's title.")
@click.option("--to", type=click.Path(path_type=Path), default="report.html", show_default=True, help="The file.")
def command(
    dataset: str | None,
    model: str | None,
    split: str,
    runs: tuple[str, ...],
    experiment: str | None,
    scores: Path | None,
    tile: str | None,
    survey: str | None,
    title: str,
    to: Path,
) -> None:
    """Write one self-contained page: galaxies with their predictions, reconstructions, runs compared, the most
    anomalous objects, a scored tile, and where everything comes from.

    A section appears when its input is given.

    \b
    morph report --galaxies sample --model models:/morph@champion --runs scratch --runs finetuned
    """
    from morph.dataset import Galaxies
    from morph.fits.zero_points import UNCALIBRATED
    from morph.model.store import load_model
    from morph.tiles.tile import Tile
    from training.evaluation.evaluate import part_of
    from training.experiments.comparison import compare_all
    from training.experiments.run_selection import find
    from training.reports.report import write_report

    galaxies = part_of(Galaxies.open(dataset), split) if dataset else None
    comparisons = compare_all(find(runs, experiment)) if runs or experiment else []
    classifier = load_model(model) if model else None
    opened = Tile.open(tile, survey, calibration=UNCALIBRATED) if tile else None
    written = write_report(
        to,
        classifier=classifier,
        model=model or "",
        galaxies=galaxies,
        comparisons=comparisons,
        scores=scores,
        tile=opened,
        title=title,
    )
    click.echo(f"Wrote {written} ({written.stat().st_size / 1e6:.1f} MB).")
