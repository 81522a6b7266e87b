"""The results of a transfer: a folder with a plot, tables and a JSON document, and the table for a terminal."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.atomic import atomic
from morph.reports.style import COLOURS, INK, STYLE
from training.label_budget.plan import METHODS, THREE_QUESTIONS
from training.label_budget.summary import HEADLINE, THREE, Summary

#: Columns of the table's text where the output is not a terminal.
WIDTH = 100


def save(summary: Summary, to: Path, title: str) -> None:
    """Write the folder `to` atomically.

    Parameters
    ----------
    summary, title : the results, and the title of their plot.
    to : the folder.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.Table.from_pylist(summary.rows())
    with atomic(to) as building:
        building.mkdir()
        label_curves(summary, title).savefig(building / "label-budget.png", dpi=150)
        pa.csv.write_csv(table, building / "figures.csv")
        pa.parquet.write_table(table, building / "figures.parquet")
        (building / "transfer.json").write_text(json.dumps(summary.as_json(), indent=1) + "\n")


def show(summary: Summary, to: Path) -> None:
    """Print the table of the headline and the three questions, what was skipped, and the sentences."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(f"{summary.headline[0].upper()}{summary.headline[1:]}, percent, 95 % intervals.", markup=False)
    console.print(table(summary))
    for question, why in summary.skipped.items():
        console.print(f"{question} is left out: {why}.", markup=False)
    if max(summary.repeats.values()) == 1:
        console.print("One repeat: the intervals leave out the scatter between random samples of galaxies.")
    if summary.simulated:
        console.print("The galaxies are simulated.")
    console.print()
    for sentence in summary.sentences():
        console.print(sentence, markup=False)
    console.print(f"The plot, tables and figures are in {to}.", markup=False)


def table(summary: Summary):
    """A rich table: one row a method and budget; the headline, then each of the three questions."""
    from rich.table import Table

    from training.evaluation.tables import show as shown

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


#: Every method keeps its colour in every picture.
COLOUR = dict(zip(("finetuned", "scratch", "frozen"), COLOURS, strict=False))


@mpl.rc_context(STYLE)
def label_curves(summary: Summary, title: str = "") -> Figure:
    """Accuracy against labels: the headline, and beside it each of the three questions that were measured.

    Bands are 95 % intervals over test galaxies and repeats; the dashed line is the source as it is.
    """
    names = [HEADLINE, *_three(summary)]
    if len(names) == 2:
        # One question is its own mean.
        names = names[:1]
    figure = Figure(figsize=(3.9 + 2.7 * (len(names) - 1), 3.9), layout="constrained")
    widths = [1.45, *[1.0] * (len(names) - 1)]
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True, width_ratios=widths)[0]
    for axis, name in zip(axes, names, strict=True):
        _panel(axis, summary, name)
        axis.set_xlabel("labelled galaxies")
        axis.set_title("all three" if name == HEADLINE and len(names) > 1 else _short(name, summary))
    axes[0].set_ylabel("accuracy (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def _panel(axis: Axes, summary: Summary, name: str) -> None:
    budgets: set[int] = set()
    for method in (m for m in COLOUR if m in summary.methods):
        labels = [n for n in summary.labels(method) if name in summary.points[method, n]]
        if not labels:
            continue
        figures = [summary.points[method, n][name].figure for n in labels]
        value, low, high = 100 * np.array([(f.value, f.low, f.high) for f in figures]).T
        axis.plot(labels, value, "o-", color=COLOUR[method], label=METHODS[method], markersize=4)
        axis.fill_between(labels, low, high, color=COLOUR[method], alpha=0.16, linewidth=0)
        budgets.update(labels)
    direct = summary.points.get(("direct", 0), {}).get(name)
    if direct is not None:
        axis.axhline(100 * direct.value, color=INK, linestyle="--", linewidth=1.2, label=METHODS["direct"])
        figure = direct.figure
        axis.axhspan(100 * figure.low, 100 * figure.high, color=INK, alpha=0.07, linewidth=0)
    axis.set_xscale("log")
    axis.set_xticks(sorted(budgets), [_thousands(n) for n in sorted(budgets)], fontsize=8)
    axis.minorticks_off()
    axis.grid(axis="y", alpha=0.25)


def _three(summary: Summary) -> list[str]:
    """The three questions' accuracies where volunteers agree, as far as they were measured."""
    first = next(iter(summary.points.values()))
    return [name for name in first if name.startswith(THREE) and name.endswith("/accuracy-confident")]


def _short(name: str, summary: Summary) -> str:

    return THREE_QUESTIONS[name.split("/")[1]] if name != HEADLINE else summary.headline.removeprefix("accuracy on ")


def _thousands(labels: int) -> str:
    return f"{labels / 1000:g}k" if labels >= 1000 and labels % 100 == 0 else str(labels)
