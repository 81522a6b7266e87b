"""Differences as a picture: a dot and its interval for each question."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.reports.style import COLOURS, FAINT, INK, STYLE
from training.experiments.comparison import FEWEST, Comparison, is_real

#: The figures that have a panel each.
PANELS = ("accuracy", "balanced-accuracy")
#: What stands below.
NOTE = (
    f"95 % intervals of the paired difference; a full dot is beyond the noise. In brackets the galaxies; questions "
    f"with fewer than {FEWEST} are left out."
)
#: Inches a row of one dot takes, and a further dot in the same row.
_ROW, _DOT = 0.27, 0.13


@mpl.rc_context(STYLE)
def differences(comparisons: Sequence[Comparison]) -> Figure:
    """Every run minus the first, question by question, with 95 % intervals of the paired bootstrap.

    One row of panels a set of galaxies. A full dot is beyond the noise, an open one is not.

    Parameters
    ----------
    comparisons : each of two runs or more.
    """
    heights = [_height(comparison) for comparison in comparisons]
    figure = Figure(figsize=(9.2, sum(heights) + 0.3), layout="constrained")
    parts = figure.subfigures(len(comparisons), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, comparison in zip(parts, comparisons, strict=True):
        axes = part.subplots(1, len(PANELS), sharey=True, sharex=True)
        questions = _questions(comparison)
        for axis, name in zip(axes, PANELS, strict=True):
            _panel(axis, comparison, questions, name)
        reach = np.abs(axes[0].get_xlim()).max()
        axes[0].set_xlim(-reach, reach)
        axes[0].set_yticks(range(len(questions)), [_label(comparison, question) for question in questions])
        part.suptitle(_title(comparison), x=0.01, ha="left", fontweight="bold", fontsize=10.5, color=INK)
        if len(comparison.runs) > 2:
            part.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=9)
    figure.supxlabel(NOTE, x=0.01, ha="left", fontsize=8.5, color=INK)
    return figure


def _questions(comparison: Comparison) -> list[str]:
    """Those with enough galaxies to tell anything."""
    return [q for q in comparison.questions if comparison.figures[0][f"{q}/accuracy"].n >= FEWEST]


def _height(comparison: Comparison) -> float:
    others = len(comparison.runs) - 1
    return len(_questions(comparison)) * (_ROW + _DOT * (others - 1)) + 1.15 + 0.3 * (others > 1)


def _title(comparison: Comparison) -> str:
    first, *rest = (run.name for run in comparison.runs)
    what = f"{rest[0]} minus {first}" if len(rest) == 1 else f"Each minus {first}"
    return f"{what}\n{comparison.title}, {len(comparison.shared):,} galaxies"


def _label(comparison: Comparison, question: str) -> str:
    return f"{question}  ({comparison.figures[0][f'{question}/accuracy'].n:,})"


def _panel(axis: Axes, comparison: Comparison, questions: Sequence[str], figure: str) -> None:
    others = range(1, len(comparison.runs))
    axis.axvline(0, color=FAINT, linewidth=1.2, zorder=1)
    for j in others:
        colour = COLOURS[(j - 1) % len(COLOURS)]
        shift = (j - (len(comparison.runs)) / 2) * 0.8 / max(len(others), 1) if len(others) > 1 else 0.0
        for row, question in enumerate(questions):
            difference = comparison.differences[0, j].get(f"{question}/{figure}")
            if difference is None:
                continue
            value, low, high = (100 * number for number in (difference.value, difference.low, difference.high))
            axis.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.6, zorder=2, solid_capstyle="butt")
            face = colour if is_real(difference) else "white"
            axis.plot(value, row + shift, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=3)
        axis.plot([], [], "o-", color=colour, label=comparison.runs[j].name)
    axis.set_ylim(len(questions) - 0.4, -0.6)
    axis.set_title(figure.replace("-", " "), fontsize=9.5, fontweight="normal")
    axis.set_xlabel("difference (percentage points)")
    axis.tick_params(axis="y", length=0)
    axis.set_axisbelow(True)
    axis.yaxis.grid(True, color="#f1f3f5", linewidth=1)
