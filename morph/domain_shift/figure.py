"""How far a survey is away, as a picture."""

import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.domain_shift.compare import Shift
from morph.domain_shift.sentences import verdict
from morph.domain_shift.two_samples import area
from morph.reports.style import COLOURS, FAINT, INK, STYLE

_TAUGHT, _NEW = COLOURS[6], COLOURS[0]
#: Standard deviations to either side that the distributions show.
_REACH = 4.0


@mpl.rc_context(STYLE)
def picture(shift: Shift, new: str = "this survey") -> Figure:
    """Three panels: where the galaxies lie in the embedding, what their pixels look like, what answers are worth.

    `new` is what to call the survey; simulated galaxies are called so.
    """
    figure = Figure(figsize=(13.5, 5.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.05, 0.95))
    _embedding(left, shift)
    _pixels(middle, shift)
    _questions(right, shift)
    apart = shift.embedding
    new += ", simulated" if shift.new.mostly_simulated else ""
    figure.suptitle(
        f"{new}: {verdict(shift)} ({100 * apart.auc:.0f} % told apart, {100 * apart.low:.0f} to "
        f"{100 * apart.high:.0f}; 50 is no difference)",
        x=0.01,
        ha="left",
        fontweight="bold",
        color=INK,
    )
    taught = f"{'simulated ' if shift.reference.mostly_simulated else ''}galaxies that taught the model"
    handles = left.get_legend_handles_labels()[0]
    labels = [f"{len(shift.reference):,} {taught}", f"{len(shift.new):,} of {new}"]
    figure.legend(handles, labels, loc="outside lower left", ncols=2, markerscale=2.5)
    return figure


def _embedding(axis: Axes, shift: Shift) -> None:
    """The classifier's log odds on galaxies it did not learn from, against the principal component of the embedding
    in which the two differ most."""
    both = np.concatenate([shift.reference.embedding, shift.new.embedding]).astype(float)
    n = len(shift.reference)
    centred = both - both.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    components = centred @ directions[:8].T
    apart = [abs(area(values[:n], values[n:]) - 0.5) for values in components.T]
    best = int(np.argmax(apart))
    for x, y, colour, label in (
        (shift.embedding.first, components[:n, best], _TAUGHT, "taught"),
        (shift.embedding.second, components[n:, best], _NEW, "new"),
    ):
        axis.scatter(x, y, 9, colour, alpha=0.65, linewidths=0, label=label)
    odds = np.concatenate([shift.embedding.first, shift.embedding.second])
    # A single strange galaxy would squeeze all others into a corner.
    axis.set_xlim(*_span(odds))
    axis.set_ylim(*_span(components[:, best]))
    axis.set_title("Where the model sees them")
    axis.set_xlabel("log odds of being new (held-out)")
    axis.set_ylabel(f"principal component {best + 1} of the embedding")


def _span(values: np.ndarray) -> tuple[float, float]:
    """What holds all but one in a hundred values, and a little more."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = 0.08 * (high - low)
    return float(low - margin), float(high + margin)


def _pixels(axis: Axes, shift: Shift) -> None:
    """A ridge for every statistic, in standard deviations of the taught galaxies."""
    names = [moved.statistic.name for moved in shift.moved]
    grid = np.linspace(-_REACH, _REACH, 161)
    columns = _standardised(shift)
    for place, (taught, new) in enumerate(columns):
        base = len(names) - 1 - place
        for values, colour, order in ((taught, _TAUGHT, 1), (new, _NEW, 2)):
            density = _density(values, grid)
            axis.fill_between(grid, base, base + 0.85 * density, color=colour, alpha=0.45, linewidth=0, zorder=order)
            axis.plot(grid, base + 0.85 * density, color=colour, linewidth=1, zorder=order)
        axis.axhline(base, color=FAINT, linewidth=0.6, zorder=0)
    places = [len(names) - 1 - i + 0.2 for i in range(len(names))]
    axis.set_yticks(places, names)
    axis.tick_params(axis="y", length=0)
    words = axis.secondary_yaxis("right")
    words.set_yticks(places, [moved.word if moved.counts else "" for moved in shift.moved], fontsize=8)
    words.tick_params(length=0)
    words.spines[:].set_visible(False)
    axis.set_xlim(-_REACH, _REACH)
    axis.set_title("What their pixels look like")
    axis.set_xlabel("standard deviations of the taught galaxies")


def _standardised(shift: Shift) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both samples' values of every statistic that moved, from the taught median in taught standard deviations."""
    columns = []
    for moved in shift.moved:
        taught, new = (moved.of(sample.appearance) for sample in (shift.reference, shift.new))
        columns.append(((taught - moved.taught) / moved.sigma, (new - moved.taught) / moved.sigma))
    return columns


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A kernel density, its peak at 1; values beyond the grid pile up at its ends."""
    values = np.clip(values, grid[0], grid[-1])
    spread = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    width = max(0.9 * spread * len(values) ** -0.2, 0.08)
    density = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(axis=1)
    return density / density.max()


def _questions(axis: Axes, shift: Shift) -> None:
    """From the share of right answers that the model was taught to give to the share that is expected now."""
    axis.set_title("What its answers are worth")
    if not shift.questions:
        axis.set_axis_off()
        axis.text(0, 0.5, textwrap.fill("Too little is known of every question.", 30), transform=axis.transAxes)
        return
    for place, question in enumerate(reversed(shift.questions)):
        colour = COLOURS[3] if question.suffers else _NEW
        ends = [100 * min(max(question.taught + change, 0), 1) for change in (question.low, question.high)]
        axis.plot(ends, [place, place], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
        axis.plot([100 * question.taught, 100 * question.expected], [place, place], color=colour, linewidth=1.5)
        axis.plot(100 * question.taught, place, "o", color=_TAUGHT, markersize=7)
        axis.plot(100 * question.expected, place, "o", color=colour, markersize=7)
    axis.set_yticks(range(len(shift.questions)), [question.question for question in reversed(shift.questions)])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("right answers, % (grey: as taught)")
