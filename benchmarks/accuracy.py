"""The accuracy of a model, small or large, as one table: every row that the data at hand allow.

    MORPH_DATA=... python benchmarks/accuracy.py MODEL SETS [--rows NAME,...] [--without-finetuning]
        [--split validation] [--to FILE]

SETS is the folder of the datasets of `make weights` (gz1, gz2, sim-sdss, sim-des); real sets that are missing there
are imported from the folder of public images that `MORPH_DATA` names. Intervals are 95 %. The test split is measured,
which is to be done once; `--split validation` serves to choose. Rows that fine-tune (folds, labels) take most of the
time; `--without-finetuning` leaves them out.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from morph.atomic import atomic
from morph.errors import InputError
from training.weights.accuracy import FINETUNING, ROWS, Bench, Row

#: Real sets: their folder, the options of `morph import`.
REAL = {
    "gz1": ("sdss-galaxyzoo1", "--survey sdss --labels labels.csv"),
    "gz2": ("sdss-galaxyzoo2", "--survey sdss --labels votes.csv"),
    "examples": ("decals-galaxyzoo-examples", "--survey decals --labels labels.csv"),
    "galaxy10": ("decals-galaxy10", "--survey decals --pixel-scale 0.262 --labels labels.csv"),
    "rings": ("decals-rings", "--survey decals --labels labels.csv"),
    "kids": ("kids-galaxyzoo-examples", "--survey kids --labels labels.csv"),
    # Without labels: what Galaxy Zoo's tree would call each is what is measured.
    "lenses": ("cfhtls-lenses", "--survey cfhtls --pixel-scale 0.1875"),
}


def import_missing(sets: Path, data: Path) -> None:
    """Import the real sets that `sets` lacks, where their images are in `data`."""
    from morph.cli.main import cli

    for name, (folder, options) in REAL.items():
        if (sets / name).exists() or not (data / folder).is_dir():
            continue
        words = [str(data / folder / word) if word.endswith(".csv") else word for word in options.split()]
        cli.main(
            ["import", str(data / folder / "images"), *words, "--to", str(sets / name)],
            prog_name="morph",
            standalone_mode=False,
        )


def table_of(rows: list[Row], title: str) -> Table:
    """The table for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for column, justify in (("", "left"), ("n", "right"), ("measured", "right"), ("aim", "right"), ("", "left")):
        table.add_column(column, justify=justify, no_wrap=column != "")
    for row in rows:
        table.add_row(
            row.title, row.number, row.measured, row.aim, {True: "reached", False: "short"}.get(row.reached, "")
        )
    return table


@click.command()
@click.argument("model")
@click.argument("sets", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data", envvar="MORPH_DATA", type=click.Path(path_type=Path), help="The folder of public images.")
@click.option("--rows", default=",".join(ROWS), show_default=True, help="Which rows, with commas between.")
@click.option("--without-finetuning", is_flag=True, help="Leave out the rows that fine-tune.")
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--to", type=click.Path(path_type=Path), help="A file for the rows as JSON.")
def command(
    model: str, sets: Path, data: Path | None, rows: str, without_finetuning: bool, split: str, to: Path | None
) -> None:
    """The accuracy of MODEL on the datasets in the folder SETS."""
    console = Console(highlight=False, width=120)
    try:
        sets.mkdir(parents=True, exist_ok=True)
        if data is not None and data.is_dir():
            import_missing(sets, data)
        bench = Bench.open(model, sets, data, split)
        wanted = [name.strip() for name in rows.split(",") if name.strip()]
        if unknown := [name for name in wanted if name not in ROWS]:
            raise InputError(f"There are no rows '{unknown[0]}'; choose among {', '.join(ROWS)}.")
        if without_finetuning:
            wanted = [name for name in wanted if name not in FINETUNING]
        found: list[Row] = []
        for name in wanted:
            try:
                found += ROWS[name](bench)
            except InputError as error:
                console.print(f"{name}: {error}", markup=False)
    except InputError as error:
        sys.exit(f"accuracy: {error}")
    console.print(table_of(found, f"{model}, {split} split, intervals 95 %"))
    if to is not None:
        with atomic(to) as building:
            building.write_text(json.dumps({"model": model, "split": split, "rows": [asdict(row) for row in found]}))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    command()
