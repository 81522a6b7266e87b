"""Whether a model's answers mean what they say, as a table for people."""

from training.evaluation.evaluate import Evaluation
from training.evaluation.tables import show

#: The columns: figure, title, whether its interval is shown.
COLUMNS = (
    ("calibration-error", "ECE %", True),
    ("calibration-noise", "noise %", False),
    ("class-calibration-error", "class ECE %", True),
    ("coverage-50", "in 50 % interval", True),
    ("coverage-90", "in 90 % interval", True),
)
LEGEND = (
    "ECE: expected calibration error of the most probable answer, probabilities against vote fractions; noise: what "
    "scatter alone makes of it for this many galaxies, so that an ECE no larger than that says nothing against the "
    "model. Class ECE: the chance that most voters give the answer against whether they do. Intervals: the share of "
    "vote fractions, where ten or more voted, inside what the model predicts for as many voters."
)


def calibration_rows(evaluation: Evaluation) -> list[list[str]]:
    """One row a question: its name, galaxies, and `COLUMNS`; empty where nobody voted."""
    rows = []
    for question in evaluation.questions():
        each = [evaluation.figures.get(f"{question}/{name}") for name, _, _ in COLUMNS]
        cells = [
            show(figure) if interval or figure is None else f"{100 * figure.value:.1f}"
            for figure, (_, _, interval) in zip(each, COLUMNS, strict=True)
        ]
        rows.append([question, f"{evaluation.figures[f'{question}/calibration-error'].n:,}", *cells])
    return rows


def calibration_table(evaluation: Evaluation):
    """A rich table of `calibration_rows`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("question", no_wrap=True)
    for title in ("n", *(title for _, title, _ in COLUMNS)):
        table.add_column(title, justify="right")
    for row in calibration_rows(evaluation):
        table.add_row(*row)
    return table


def calibration_lines(evaluation: Evaluation) -> list[str]:
    """How to read the table, and the coverage over all questions."""
    if not evaluation.questions():
        return []
    half, most = (evaluation.figures.get(f"all/coverage-{level}") for level in (50, 90))
    if half is None or most is None:
        return [LEGEND, "Too few votes a galaxy to ask whether intervals cover them: ten or more are needed."]
    return [
        LEGEND,
        f"Over all questions, {show(half)} % of the vote fractions lie in their 50 % interval and {show(most)} % in "
        f"their 90 % interval ({half.n:,} answered questions).",
    ]
