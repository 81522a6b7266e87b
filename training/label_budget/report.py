"""A transfer on paper: a folder with its picture, tables and JSON document, and what a terminal shows of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from morph import checks
from morph.atomic import atomic
from morph.errors import InputError

if TYPE_CHECKING:
    from training.label_budget.summary import Summary

#: Columns that the table needs where there is no terminal to say how many there are.
WIDTH = 100
#: What a transfer's folder holds; a folder that holds anything else is not written over.
FILES = ("label-budget.png", "figures.csv", "figures.parquet", "transfer.json")


def check_folder(to: Path) -> None:
    """InputError unless a transfer's folder can be made at `to`, in place of an older one or of nothing."""
    if to.exists() and (not to.is_dir() or any(path.name not in FILES for path in to.iterdir())):
        raise InputError(f"'{to}' exists and holds something other than a transfer; choose another --to.")
    checks.check_folder(to)


def save(summary: "Summary", to: Path, title: str) -> None:
    """Write the folder, whole or not at all."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from training.label_budget.plots import label_curves

    table = pa.Table.from_pylist(summary.rows())
    with atomic(to) as building:
        building.mkdir()
        label_curves(summary, title).savefig(building / "label-budget.png", dpi=150)
        pa.csv.write_csv(table, building / "figures.csv")
        pa.parquet.write_table(table, building / "figures.parquet")
        (building / "transfer.json").write_text(json.dumps(summary.as_json(), indent=1) + "\n")


def show(summary: "Summary", to: Path) -> None:
    """Print the table of the headline and the three questions, what was skipped, and the sentences."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(f"{summary.told[0].upper()}{summary.told[1:]}, percent, 95 % intervals.", markup=False)
    console.print(table(summary))
    for question, why in summary.skipped.items():
        console.print(f"Nothing is said of {question}: {why}.", markup=False)
    if max(summary.repeats.values()) == 1:
        console.print("One repeat: the intervals leave out the luck of which galaxies were drawn.")
    if summary.simulated:
        console.print("The galaxies are simulated.")
    console.print()
    for sentence in summary.sentences():
        console.print(sentence, markup=False)
    console.print(f"Picture, tables and figures are in {to}.", markup=False)


def table(summary: "Summary"):
    """A rich table: one row a method and budget; the headline, then each of the three questions."""
    from rich.table import Table

    from training.evaluation.tables import show as shown
    from training.label_budget.plan import METHODS
    from training.label_budget.summary import HEADLINE, THREE
    from training.label_budget.three_questions import THREE_QUESTIONS

    known = {name for figures in summary.points.values() for name in figures}
    names = {question: f"{THREE}/{question}/accuracy-confident" for question in THREE_QUESTIONS}
    columns = {HEADLINE: "all"} | {name: THREE_QUESTIONS[q] for q, name in names.items() if name in known}
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("", no_wrap=True)
    for title in ("labels", *columns.values()):
        grid.add_column(title, justify="right", no_wrap=True)
    for method, title in METHODS.items():
        for labels in summary.labels(method):
            figures = summary.points[method, labels]
            cells = [shown(figures[name].figure if name in figures else None) for name in columns]
            grid.add_row(title, f"{labels:,}", *cells)
    return grid
