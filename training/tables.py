"""Figures as tables for people."""

from training.compare import Comparison, is_less_better
from training.evaluate import Evaluation
from training.metrics import Figure

#: The columns of an evaluation's table: figure, title, whether it is a share to print in percent.
COLUMNS = (
    ("accuracy", "accuracy %", True),
    ("accuracy-confident", "agreed %", True),
    ("balanced-accuracy", "balanced %", True),
    ("log-likelihood", "ln L", False),
)
LEGEND = (
    "n galaxies, 95 % intervals. Agreed: where four in five volunteers agree. "
    "Balanced: mean over the answers. ln L: of a galaxy's votes."
)
#: The figures whose differences are told line by line; the JSON output has the rest.
TOLD = ("accuracy", "balanced-accuracy", "rms")


def show(figure: Figure | None, percent: bool = True, sign: bool = False) -> str:
    """A figure with its interval, for instance ``81.4 (80–83)``; a dash where there is none."""
    if figure is None:
        return "–"
    scale, digits = (100, 0) if percent else (1, 2)
    plus = "+" if sign else ""
    value, low, high = (scale * number for number in (figure.value, figure.low, figure.high))
    to = " to " if min(low, high) < 0 else "–"
    return f"{value:{plus}.{digits + 1 if percent else digits}f} ({low:{plus}.{digits}f}{to}{high:{plus}.{digits}f})"


def evaluation_table(evaluation: Evaluation):
    """A rich table: one row a question, figures with their 95 % intervals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("question", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for _, title, _ in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for question in evaluation.questions():
        cells = [question, f"{evaluation.figures[f'{question}/accuracy'].n:,}"]
        for name, _, percent in COLUMNS:
            figure = evaluation.figures.get(f"{question}/{name}")
            cells.append(show(figure) if percent or figure is None else f"{figure.value:.2f}")
        table.add_row(*cells)
    return table


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """What an evaluation's table leaves out: the error of the fractions and the share of flagged galaxies."""
    lines = [LEGEND] if evaluation.questions() else []
    if "all/rms" in evaluation.figures:
        rms = evaluation.figures["all/rms"]
        lines.append(
            f"Vote fractions are off by {rms.value:.3f} ({rms.low:.3f} to {rms.high:.3f}) root mean square, "
            f"each question weighted by how many volunteers reach it."
        )
    flagged, n = evaluation.about["flagged"], evaluation.about["galaxies"]
    lines.append(f"{100 * flagged:.1f} % of {n:,} galaxies are flagged as unlike those the model was taught.")
    return lines


def comparison_table(comparison: Comparison, figures: tuple[str, ...] = ("accuracy", "balanced-accuracy")):
    """A rich table: one row a question and figure, one column a run."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for run in comparison.runs:
        table.add_column(run.name, justify="right")
    names = [f"{question}/{figure}" for question in comparison.questions for figure in figures]
    for name in [*names, "all/rms"]:
        if name in comparison.figures[0]:
            shown = [show(each.get(name), name != "all/rms") for each in comparison.figures]
            table.add_row(name.replace("/", " "), f"{comparison.figures[0][name].n:,}", *shown)
    return table


def params_table(comparison: Comparison):
    """A rich table of the parameters that differ, or None when none do."""
    from rich.table import Table

    rows = comparison.differing_params()
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("parameter", no_wrap=True)
    for run in comparison.runs:
        table.add_column(run.name, justify="right")
    for name, values in rows.items():
        table.add_row(name, *(value or "–" for value in values))
    return table


def difference_lines(comparison: Comparison) -> list[str]:
    """The differences that exceed the noise, pair by pair, the better run first."""
    found: dict[tuple[int, int], list[str]] = {}
    for i, j, name, figure in comparison.beyond_noise():
        question, what = name.split("/")
        if what not in TOLD:
            continue
        better, worse = (j, i) if (figure.value > 0) != is_less_better(name) else (i, j)
        sign = 1 if figure.value > 0 else -1
        low, high = sorted((sign * figure.low, sign * figure.high))
        size = show(Figure(sign * figure.value, low, high, figure.n), what != "rms")
        unit = "" if what == "rms" else " points"
        found.setdefault((better, worse), []).append(f"  {question} {what} by {size}{unit}")
    lines = []
    for (better, worse), told in found.items():
        lines += [f"{comparison.runs[better].name} beats {comparison.runs[worse].name} on", *told]
    return lines
