"""The picture of a transfer: what labels buy, for each way of training, with intervals."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.reports.style import COLOURS, INK, STYLE
from training.label_budget.plan import METHODS
from training.label_budget.summary import HEADLINE, THREE, Summary

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
    from training.label_budget.three_questions import THREE_QUESTIONS

    return THREE_QUESTIONS[name.split("/")[1]] if name != HEADLINE else summary.told.removeprefix("accuracy on ")


def _thousands(labels: int) -> str:
    return f"{labels / 1000:g}k" if labels >= 1000 and labels % 100 == 0 else str(labels)
