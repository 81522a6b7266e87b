"""A comparison as tables and sentences for a terminal of a hundred columns, and as a plot."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.atomic import atomic
from morph.errors import InputError
from morph.reports.style import COLOURS, FAINT, INK, STYLE
from training.evaluation.tables import show
from training.experiments import promotion, registry, run_selection
from training.experiments.comparison import (
    FEWEST,
    Compared,
    Comparison,
    compare_all,
    figure_in_words,
    is_less_better,
    is_significant,
    points,
)
from training.experiments.promotion import Promotion
from training.experiments.registry import TRAINED_ON
from training.metrics.categories import left_out

#: The figures in tables; the JSON output has the rest.
TABULATED = ("accuracy", "balanced-accuracy", "rms")
#: The legend of a table of two models or more.
LEGEND = (
    "95 % intervals; * statistically significant by that of the paired difference. Balanced: mean over the answers. "
    "Rms: of the vote fractions, each question weighted by how many volunteers reach it."
)
#: The reported parameters of a training whose parent's is not tracked.
_ESSENTIAL = (TRAINED_ON, "labels", "epochs", "learning_rate", "freeze")


@dataclass(frozen=True)
class Outcome:
    """Comparisons, with the promotion that they led to.

    Attributes
    ----------
    comparisons : one for each set of galaxies.
    promotion : the alias that moved, if one did.
    refusal : why the alias did not move, where it should have.
    """

    comparisons: list[Comparison]
    promotion: Promotion | None = None
    refusal: InputError | None = None

    @property
    def runs(self) -> list[Compared]:
        return [run for comparison in self.comparisons for run in comparison.runs]

    def as_json(self) -> dict[str, object]:
        """Everything, as plain values."""
        models = _models(self.runs)
        return {
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "parameters": {
                name: dict(zip((run.name for run in models), values, strict=True))
                for name, values in differing_params(models).items()
            },
            "promotion": asdict(self.promotion) if self.promotion else None,
            "refusal": str(self.refusal) if self.refusal else None,
        }

    def draw(self, plot: Path) -> None:
        """Draw the differences to a file (see `differences`). InputError where there is one model only."""
        several = [comparison for comparison in self.comparisons if len(comparison.runs) > 1]
        if not several:
            raise InputError("One model has no differences to draw; name two or more.")
        with atomic(plot) as building:
            differences(several).savefig(building, dpi=150)

    def print(self) -> None:
        """Print tables and conclusions to the terminal."""
        from rich.console import Console

        console = Console(highlight=False)
        table = params_table(self.runs)
        if table is not None:
            console.print(table, end="\n\n")
        for line in lineage_lines(self.runs):
            console.print(line, markup=False, end="\n\n")
        for comparison in self.comparisons:
            console.print(f"{comparison.title}: {len(comparison.shared):,} galaxies", markup=False, style="bold")
            console.print(comparison_table(comparison))
            if len(comparison.runs) > 1:
                console.print(LEGEND)
            for line in difference_lines(comparison) if len(comparison.runs) > 2 else ():
                console.print(line, markup=False)
            console.print(comparison.conclusion(), markup=False)
            if note := left_out(comparison.runs[0].evaluation.votes):
                console.print(note, markup=False)
            console.print()
        if (done := self.promotion) is not None:
            console.print(done.reason, markup=False)
            console.print(f"models:/morph@{done.alias} is now version {done.version}.", markup=False)


def compare_models(
    names: Sequence[str] = (), experiment: str | None = None, promote: str | None = None, alias: str = "champion"
) -> Outcome:
    """Compare evaluated models, and give an alias to the better one.

    Parameters
    ----------
    names, experiment : see `training.experiments.run_selection.find`.
    promote : None for no promotion, `training.experiments.promotion.BEST` for the model that leads, or a name.
    alias : what `promote` gives.

    Returns
    -------
    Outcome : its `refusal` is the error where nothing could be promoted.

    Raises
    ------
    InputError : a name is unknown, has no evaluation, or shares no galaxies with the others.

    Examples
    --------
    >>> from training.experiments.evaluation_run import evaluate_model
    >>> for name in ("one", "two"):
    ...     run = evaluate_model("models:/morph@sdss", ["sample"], split="all", name=name)
    >>> (comparison,) = compare_models(["one", "two"]).comparisons
    >>> [run.name for run in comparison.runs]
    ['one', 'two']
    """
    found = run_selection.find(names or ((promote,) if promote else ()), experiment)
    if promote is None:
        return Outcome(compare_all(found))
    if promote and not any(promotion.is_named(run, promote) for run in found):
        found += run_selection.find((promote,), experiment)
    comparisons = compare_all(run_selection.with_version(found, registry.holder(alias)))
    try:
        return Outcome(comparisons, promotion.promote(comparisons, promote, alias))
    except InputError as error:
        return Outcome(comparisons, refusal=error)


def _table():
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold")


def comparison_table(comparison: Comparison):
    """A rich table: one row a question and figure, one column a run, and with two runs one for their difference.

    A star marks statistical significance: of a difference, or with more runs of the one better than every other.
    """
    table = _table()
    table.add_column("question", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for run in comparison.runs:
        table.add_column(_header(run), justify="right", overflow="fold")
    pair = len(comparison.runs) == 2
    if pair:
        table.add_column("difference", justify="right", no_wrap=True)
    for question in [*comparison.questions, "all"]:
        label = question
        for figure in TABULATED:
            name = f"{question}/{figure}"
            if name not in comparison.figures[0]:
                continue
            title = f"{figure.removesuffix('-accuracy')} %"
            cells = [show(each.get(name)) for each in comparison.figures]
            if pair:
                difference = comparison.difference(0, 1, name)
                same = difference.low == difference.high == 0
                cells.append(("0" if same else show(difference, sign=True)) + " *"[is_significant(difference)])
            elif (clear := comparison.clear_leader(name)) is not None:
                cells[clear] += "*"
            n = comparison.figures[0][name].n
            table.add_row(label, title, f"{n:,}", *cells, style="dim" if n < FEWEST else None)
            label = ""
    return table


def _header(run: Compared) -> str:
    """A run's name, the aliases of a version on a line of their own."""
    return run.name.replace(" (", "\n(")


def params_table(runs: Sequence[Compared]):
    """A rich table of the parameters that differ, one column a model, or None when none do."""
    runs = _models(runs)
    rows = differing_params(runs)
    if not rows or len(runs) < 2:
        return None
    table = _table()
    table.add_column("parameter", no_wrap=True)
    for run in runs:
        table.add_column(_header(run), justify="right", overflow="fold")
    for name, values in rows.items():
        table.add_row(name, *(value or "–" for value in values))
    return table


def lineage_lines(runs: Sequence[Compared]) -> list[str]:
    """The parent of each fine-tuned model, and the parameters changed from the parent's training."""
    lines, listed = [], set()
    for run in _models(runs):
        trained = run.trained
        if not trained.parent or (run.version is not None and run.version in listed):
            continue
        listed.add(run.version)
        if trained.before:
            changes = [f"{name} {old or '–'} → {new or '–'}" for name, (old, new) in trained.changed().items()]
            rest = f"; changed: {', '.join(changes) or 'nothing'}"
        else:
            known = [f"{name} {trained.params[name]}" for name in _ESSENTIAL if name in trained.params]
            rest = f", whose own training is not tracked here; {', '.join(known)}" if known else ""
        lines.append(f"{run.name} started from {trained.parent}{rest}.")
    return lines


def difference_lines(comparison: Comparison) -> list[str]:
    """The statistically significant differences, pair by pair, the better run first."""
    found: dict[tuple[int, int], list[str]] = {}
    for i, j, name, figure in comparison.significant():
        if name.split("/")[1] not in TABULATED:
            continue
        better, worse = (j, i) if (figure.value > 0) != is_less_better(name) else (i, j)
        sign = 1 if figure.value > 0 else -1
        low, high = sorted((sign * figure.low, sign * figure.high))
        size = points(replace(figure, value=sign * figure.value, low=low, high=high), name).replace("+", "")
        found.setdefault((better, worse), []).append(f"  {figure_in_words(name)} by {size}")
    lines = []
    for (better, worse), sentences in found.items():
        lines += [f"{comparison.runs[better].name} is better than {comparison.runs[worse].name} in", *sentences]
    return lines


def _models(runs: Sequence[Compared]) -> list[Compared]:
    """One run of each model."""
    return list({run.group or run.id: run for run in runs}.values())


#: The figures with a panel each.
PANELS = ("accuracy", "balanced-accuracy")


#: The caption.
NOTE = (
    f"95 % intervals of the paired difference; full dots are statistically significant. In brackets the galaxies; "
    f"questions with fewer than {FEWEST} are left out."
)


#: Inches a row of one dot takes, and a further dot in the same row.
_ROW, _DOT = 0.27, 0.13


@mpl.rc_context(STYLE)
def differences(comparisons: Sequence[Comparison]) -> Figure:
    """Every run minus the first, question by question, with 95 % intervals of the paired bootstrap.

    One row of panels a set of galaxies. A full dot is statistically significant, an open one is not.

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
    """Questions with enough galaxies."""
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
            face = colour if is_significant(difference) else "white"
            axis.plot(value, row + shift, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=3)
        axis.plot([], [], "o-", color=colour, label=comparison.runs[j].name)
    axis.set_ylim(len(questions) - 0.4, -0.6)
    axis.set_title(figure.replace("-", " "), fontsize=9.5, fontweight="normal")
    axis.set_xlabel("difference (percentage points)")
    axis.tick_params(axis="y", length=0)
    axis.set_axisbelow(True)
    axis.yaxis.grid(True, color="#f1f3f5", linewidth=1)


#: An evaluation's parameters that describe its galaxies.
_OF_GALAXIES = ("split", "galaxies")


def differing_params(runs: Sequence[Compared]) -> dict[str, list[str]]:
    """Parameters that are not the same in all runs: {name: one value a run, "" where it has none}.

    How the models were trained counts where that is tracked; which galaxies they were evaluated on does not.
    """
    # A version's evaluations may have called it by any of its aliases.
    left_out = {*_OF_GALAXIES} | ({"model"} if all(run.group for run in runs) else set())
    own = [{name: value for name, value in run.params.items() if name not in left_out} for run in runs]
    return _differing(own) | _differing([run.trained.params or None for run in runs])


def _differing(each: Sequence[dict[str, str] | None]) -> dict[str, list[str]]:
    """The rows in which the known sets of parameters differ."""
    known = [params for params in each if params is not None]
    names = sorted({name for params in known for name in params})
    differ = [name for name in names if len({params.get(name, "") for params in known}) > 1]
    return {name: [(params or {}).get(name, "") for params in each] for name in differ}
