"""A domain shift in sentences, as a figure, and as the section of a report (the template macro ``domain_shift``)."""

import json
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.domain_shift.compare import Shift
from morph.domain_shift.two_samples import roc_area
from morph.reports.html import png
from morph.reports.style import COLOURS, FAINT, INK, STYLE, svg

#: The headline for an AUC below each bound.
VERDICTS = ((0.65, "a little different"), (0.8, "different"), (0.95, "very different"), (1.01, "next to no overlap"))
#: How many statistics and questions a line names.
NAMED = 3

_REFERENCE, _NEW = COLOURS[6], COLOURS[0]
#: Range of the distributions, standard deviations to either side.
_REACH = 4.0


# --- Sentences ----------------------------------------------------------------------------------------


def lines(shift: Shift | str) -> list[str]:
    """Two to five lines for a terminal; where nothing was compared, the reason is the only line."""
    if isinstance(shift, str):
        return [shift]
    test = shift.embedding
    kind = "simulated galaxies" if shift.reference.mostly_simulated else "galaxies"
    nearest = f", the nearest of {shift.sets} training sets" if shift.sets > 1 else ""
    found = [
        f"Is this survey too different? {verdict(shift).capitalize()}: a classifier separates these "
        f"{len(shift.new):,} galaxies from {len(shift.reference):,} {kind} of the training set{nearest} with an "
        f"AUC of {test.auc:.2f} ({test.low:.2f} to {test.high:.2f}; 0.5 is no difference)."
    ]
    significant = [each for each in shift.statistics if each.is_significant][:NAMED]
    if significant:
        by = "; ".join(f"{each.direction} by {abs(each.shift):.1f} sigma" for each in significant)
        pixels = f" (AUC {shift.pixels.auc:.2f} from image statistics alone)" if shift.pixels else ""
        found.append(f"These galaxies are {by}{pixels}.")
    return [*found, *shift.notes, _on_questions(shift)]


def document(shift: Shift | str) -> dict[str, Any]:
    """The comparison for a JSON file, its sentences under ``lines``; nothing else where nothing was compared."""
    return {"lines": lines(shift), **({} if isinstance(shift, str) else shift.document())}


def verdict(shift: Shift) -> str:
    """The headline in a word or two."""
    if shift.embedding.low <= 0.5:
        return "no significant difference"
    return next(words for bound, words in VERDICTS if shift.embedding.auc < bound)


def _on_questions(shift: Shift) -> str:
    if not shift.questions:
        return "There are too few galaxies to estimate the accuracy on any question."
    dropping = [question for question in shift.questions if question.drops][:NAMED]
    estimate = "estimated from the model's confidence; only labels can measure it"
    if not dropping:
        return f"The accuracy is not expected to drop significantly on any question ({estimate})."
    by = "; ".join(f"{q.question}, {100 * q.expected:.0f} % instead of {100 * q.reference:.0f} %" for q in dropping)
    return f"The accuracy is expected to drop on {by} ({estimate})."


# --- Figure -------------------------------------------------------------------------------------------


@mpl.rc_context(STYLE)
def plot(shift: Shift, new: str = "this survey") -> Figure:
    """Three panels: the embedding, image statistics, and expected accuracy.

    `new` is the survey's name in the title, to which "simulated" is added for simulated galaxies.
    """
    figure = Figure(figsize=(13.5, 5.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.05, 0.95))
    _embedding(left, shift)
    _pixels(middle, shift)
    _questions(right, shift)
    test = shift.embedding
    new += ", simulated" if shift.new.mostly_simulated else ""
    figure.suptitle(
        f"{new}: {verdict(shift)} (AUC {test.auc:.2f}, {test.low:.2f} to {test.high:.2f}; 0.5 is no difference)",
        x=0.01,
        ha="left",
        fontweight="bold",
        color=INK,
    )
    kind = "simulated galaxies" if shift.reference.mostly_simulated else "galaxies"
    handles = left.get_legend_handles_labels()[0]
    labels = [f"{len(shift.reference):,} {kind} of the training set (held out)", f"{len(shift.new):,} of {new}"]
    figure.legend(handles, labels, loc="outside lower left", ncols=2, markerscale=2.5)
    return figure


def _embedding(axis: Axes, shift: Shift) -> None:
    """The classifier's log odds on held-out galaxies, against the principal component of the embedding in which the
    two sets differ most."""
    both = np.concatenate([shift.reference.embedding, shift.new.embedding]).astype(float)
    n = len(shift.reference)
    centred = both - both.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    components = centred @ directions[:8].T
    difference = [abs(roc_area(values[:n], values[n:]) - 0.5) for values in components.T]
    best = int(np.argmax(difference))
    for x, y, colour, label in (
        (shift.embedding.first, components[:n, best], _REFERENCE, "reference"),
        (shift.embedding.second, components[n:, best], _NEW, "new"),
    ):
        axis.scatter(x, y, 9, colour, alpha=0.65, linewidths=0, label=label)
    odds = np.concatenate([shift.embedding.first, shift.embedding.second])
    # A single outlier would squeeze all others into a corner.
    axis.set_xlim(*_span(odds))
    axis.set_ylim(*_span(components[:, best]))
    axis.set_title("Embedding")
    axis.set_xlabel("log odds of being new (held-out)")
    axis.set_ylabel(f"principal component {best + 1} of the embedding")


def _span(values: np.ndarray) -> tuple[float, float]:
    """Axis limits that hold all but one in a hundred values."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = 0.08 * (high - low)
    return float(low - margin), float(high + margin)


def _pixels(axis: Axes, shift: Shift) -> None:
    """The distributions of every statistic, in standard deviations of the reference galaxies."""
    names = [each.statistic.name for each in shift.statistics]
    grid = np.linspace(-_REACH, _REACH, 161)
    columns = _standardised(shift)
    for place, (reference, new) in enumerate(columns):
        base = len(names) - 1 - place
        for values, colour, order in ((reference, _REFERENCE, 1), (new, _NEW, 2)):
            density = _density(values, grid)
            axis.fill_between(grid, base, base + 0.85 * density, color=colour, alpha=0.45, linewidth=0, zorder=order)
            axis.plot(grid, base + 0.85 * density, color=colour, linewidth=1, zorder=order)
        axis.axhline(base, color=FAINT, linewidth=0.6, zorder=0)
    places = [len(names) - 1 - i + 0.2 for i in range(len(names))]
    axis.set_yticks(places, names)
    axis.tick_params(axis="y", length=0)
    words = axis.secondary_yaxis("right")
    words.set_yticks(places, [each.direction if each.is_significant else "" for each in shift.statistics], fontsize=8)
    words.tick_params(length=0)
    words.spines[:].set_visible(False)
    axis.set_xlim(-_REACH, _REACH)
    axis.set_title("Image statistics")
    axis.set_xlabel("standard deviations of the training set")


def _standardised(shift: Shift) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both samples' values of every statistic, relative to the reference median and standard deviation."""
    columns = []
    for each in shift.statistics:
        values = (each.of(sample.statistics) for sample in (shift.reference, shift.new))
        reference, new = ((of_sample - each.reference) / each.sigma for of_sample in values)
        columns.append((reference, new))
    return columns


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A kernel density with its peak at 1; values outside the grid are moved to its ends."""
    values = np.clip(values, grid[0], grid[-1])
    spread = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    width = max(0.9 * spread * len(values) ** -0.2, 0.08)
    density = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    return density / density.max()


def _questions(axis: Axes, shift: Shift) -> None:
    """From the accuracy on the reference sample to the accuracy that is expected on the new galaxies."""
    axis.set_title("Expected accuracy")
    if not shift.questions:
        axis.set_axis_off()
        axis.text(0, 0.5, textwrap.fill("There are too few galaxies for an estimate.", 30), transform=axis.transAxes)
        return
    for place, question in enumerate(reversed(shift.questions)):
        colour = COLOURS[3] if question.drops else _NEW
        ends = [100 * min(max(question.reference + change, 0), 1) for change in (question.low, question.high)]
        axis.plot(ends, [place, place], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
        axis.plot([100 * question.reference, 100 * question.expected], [place, place], color=colour, linewidth=1.5)
        axis.plot(100 * question.reference, place, "o", color=_REFERENCE, markersize=7)
        axis.plot(100 * question.expected, place, "o", color=colour, markersize=7)
    axis.set_yticks(range(len(shift.questions)), [question.question for question in reversed(shift.questions)])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("accuracy, % (grey: training set)")


# --- The section of an HTML report ----------------------------------------------------------------------


def shift_section(shift: Shift, name: str) -> dict[str, Any]:
    """A comparison made now; `name` is what to call the galaxies."""
    return {"figure": svg(plot(shift, name)), "lines": lines(shift)}


def section_of_scores(scores: str | Path) -> dict[str, Any] | None:
    """The comparison that `morph score` left beside its score files; None where there is none."""
    folder = Path(scores) if Path(scores).is_dir() else Path(scores).parent
    try:
        sentences = json.loads((folder / "_domain-shift.json").read_text())["lines"]
    except (OSError, ValueError, KeyError):
        return None
    drawn = folder / "_domain-shift.png"
    return {"figure": None, "picture": png(drawn.read_bytes()) if drawn.is_file() else None, "lines": sentences}
