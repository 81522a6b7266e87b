"""A comparison for people to read: tables and sentences for a terminal of a hundred columns."""

from collections.abc import Sequence

from training.evaluation.tables import show
from training.experiments.comparison import (
    FEWEST,
    Compared,
    Comparison,
    differing_params,
    figure_in_words,
    is_less_better,
    is_real,
    points,
)
from training.experiments.registry import TRAINED_ON
from training.metrics.estimates import Estimate

#: The figures that are told; the JSON output has the rest.
TOLD = ("accuracy", "balanced-accuracy", "rms")
#: What stands below the table of two models or more.
LEGEND = (
    "95 % intervals; * beyond the noise, by that of the paired difference. Balanced: mean over the answers. "
    "Rms: of the vote fractions, each question weighted by how many volunteers reach it."
)
#: What is told of a training whose parent's is not tracked.
_ESSENTIAL = (TRAINED_ON, "labels", "epochs", "learning_rate", "freeze")


def _table():
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold")


def comparison_table(comparison: Comparison):
    """A rich table: one row a question and figure, one column a run, and with two runs one for their difference.

    A star marks what is beyond the noise: a difference, or with more runs the one that beats every other.
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
        for figure in TOLD:
            name = f"{question}/{figure}"
            if name not in comparison.figures[0]:
                continue
            title = f"{figure.removesuffix('-accuracy')} %"
            cells = [show(each.get(name)) for each in comparison.figures]
            if pair:
                difference = comparison.difference(0, 1, name)
                same = difference.low == difference.high == 0
                cells.append(("0" if same else show(difference, sign=True)) + " *"[is_real(difference)])
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
    """Where each model that was fine-tuned came from, and what was done otherwise than in its parent's training."""
    lines, told_of = [], set()
    for run in _models(runs):
        trained = run.trained
        if not trained.parent or (run.version is not None and run.version in told_of):
            continue
        told_of.add(run.version)
        if trained.before:
            changes = [f"{name} {old or '–'} → {new or '–'}" for name, (old, new) in trained.changed().items()]
            told = f"; changed: {', '.join(changes) or 'nothing'}"
        else:
            known = [f"{name} {trained.params[name]}" for name in _ESSENTIAL if name in trained.params]
            told = f", whose own training is not tracked here; {', '.join(known)}" if known else ""
        lines.append(f"{run.name} started from {trained.parent}{told}.")
    return lines


def difference_lines(comparison: Comparison) -> list[str]:
    """The differences that exceed the noise, pair by pair, the better run first."""
    found: dict[tuple[int, int], list[str]] = {}
    for i, j, name, figure in comparison.beyond_noise():
        if name.split("/")[1] not in TOLD:
            continue
        better, worse = (j, i) if (figure.value > 0) != is_less_better(name) else (i, j)
        sign = 1 if figure.value > 0 else -1
        low, high = sorted((sign * figure.low, sign * figure.high))
        size = points(Estimate(sign * figure.value, low, high, figure.n), name).replace("+", "")
        found.setdefault((better, worse), []).append(f"  {figure_in_words(name)} by {size}")
    lines = []
    for (better, worse), told in found.items():
        lines += [f"{comparison.runs[better].name} beats {comparison.runs[worse].name} in", *told]
    return lines


def _models(runs: Sequence[Compared]) -> list[Compared]:
    """One run of each contestant."""
    return list({run.contestant or run.id: run for run in runs}.values())
