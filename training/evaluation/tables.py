"""Figures as tables for people."""

from training.evaluation.evaluate import Evaluation
from training.metrics.four_classes import left_out
from training.metrics.votes import Figure

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


def show(figure: Figure | None, percent: bool = True, sign: bool = False) -> str:
    """A figure with its interval, for instance ``81.4 (80–83)``; a dash where there is none."""
    if figure is None:
        return "–"
    scale, digits = (100, int(sign)) if percent else (1, 2)
    plus = "+" if sign else ""
    value, low, high = (scale * number for number in (figure.value, figure.low, figure.high))
    to = " to " if sign or min(low, high) < 0 else "–"
    return f"{value:{plus}.{1 if percent else digits}f} ({low:{plus}.{digits}f}{to}{high:{plus}.{digits}f})"


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
    """What an evaluation's table does not show: which classes the labels cannot express, the error of the fractions
    and the share of flagged galaxies.
    """
    lines = [LEGEND] if evaluation.questions() else []
    if note := left_out(evaluation.votes):
        lines.append(note)
    if "all/rms" in evaluation.figures:
        rms = evaluation.figures["all/rms"]
        lines.append(
            f"Vote fractions are off by {rms.value:.3f} ({rms.low:.3f} to {rms.high:.3f}) root mean square, "
            f"each question weighted by how many volunteers reach it."
        )
    flagged, n = evaluation.about["flagged"], evaluation.about["galaxies"]
    lines.append(f"{100 * flagged:.1f} % of {n:,} galaxies are flagged as unlike those the model was taught.")
    return lines
