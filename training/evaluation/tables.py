"""Evaluations as tables for the terminal and the model card."""

from training.evaluation.anomalies import SCORES, Anomalies
from training.evaluation.evaluate import Evaluation
from training.evaluation.retrieval import EXAMPLES, HITS, VECTORS, Retrieval
from training.metrics.categories import left_out
from training.metrics.estimates import Estimate

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


def show(figure: Estimate | None, percent: bool = True, sign: bool = False) -> str:
    """An estimate with its interval.

    Parameters
    ----------
    figure : the estimate; None gives a dash.
    percent : whether to print it in percent.
    sign : whether to print its sign, for differences.

    Returns
    -------
    The text.

    Examples
    --------
    >>> show(Estimate(0.814, 0.80, 0.83, n=1000))
    '81.4 (80–83)'
    """
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
    lines.append(f"{100 * flagged:.1f} % of {n:,} galaxies are flagged as out of distribution.")
    return lines


ANOMALY_LEGEND = (
    "AUROC: the chance that an anomalous galaxy scores higher than a normal one. Flagged: the share with a smaller "
    "p-value. In each column: the anomaly score with its 95 % interval, the reconstruction error alone, an isolation "
    "forest on the embedding."
)


def anomaly_table(anomalies: Anomalies):
    """A rich table: how many normal galaxies are flagged, then one row for each kind of anomaly."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("anomaly", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for title in ("AUROC %", *(f"flagged at {100 * alpha:g} %" for alpha in anomalies.alphas)):
        table.add_column(title, justify="right", no_wrap=True)
    figures = anomalies.figures
    rates = [_by_score(figures, f"flagged/{alpha:g}") for alpha in anomalies.alphas]
    n = figures[f"flagged/{anomalies.alphas[0]:g}/{SCORES[0]}"].n
    table.add_row("none: normal", f"{n:,}", "", *rates)
    for row in anomalies.rows:
        n = figures[f"auroc/{row}/{SCORES[0]}"].n
        found = [_by_score(figures, f"recall/{alpha:g}/{row}") for alpha in anomalies.alphas]
        table.add_row(row, f"{n:,}", _by_score(figures, f"auroc/{row}"), *found)
    return table


def anomaly_lines(anomalies: Anomalies) -> list[str]:
    """How to read the table, and what it stands on."""
    return [ANOMALY_LEGEND, anomalies.note] if anomalies.figures else [anomalies.note]


def _by_score(figures: dict[str, Estimate], name: str) -> str:
    score, *simple = (figures[f"{name}/{each}"] for each in SCORES)
    return f"{show(score)} " + " ".join(f"{100 * figure.value:5.1f}" for figure in simple)


#: The columns: figure, title, whether its interval is shown.
CALIBRATION_COLUMNS = (
    ("calibration-error", "ECE %", True),
    ("calibration-noise", "noise %", False),
    ("class-calibration-error", "class ECE %", True),
    ("coverage-50", "in 50 % interval", True),
    ("coverage-90", "in 90 % interval", True),
)


CALIBRATION_LEGEND = (
    "ECE: expected calibration error of the most probable answer, probabilities against vote fractions; noise: what "
    "scatter alone makes of it for this many galaxies, so that an ECE no larger than that says nothing against the "
    "model. Class ECE: the chance that most voters give the answer against whether they do. Intervals: the share of "
    "vote fractions, where ten or more voted, inside what the model predicts for as many voters."
)


def calibration_rows(evaluation: Evaluation) -> list[list[str]]:
    """One row a question: its name, galaxies, and `CALIBRATION_COLUMNS`; empty where there are no votes."""
    rows = []
    for question in evaluation.questions():
        each = [evaluation.figures.get(f"{question}/{name}") for name, _, _ in CALIBRATION_COLUMNS]
        cells = [
            show(figure) if interval or figure is None else f"{100 * figure.value:.1f}"
            for figure, (_, _, interval) in zip(each, CALIBRATION_COLUMNS, strict=True)
        ]
        rows.append([question, f"{evaluation.figures[f'{question}/calibration-error'].n:,}", *cells])
    return rows


def calibration_table(evaluation: Evaluation):
    """A rich table of `calibration_rows`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("question", no_wrap=True)
    for title in ("n", *(title for _, title, _ in CALIBRATION_COLUMNS)):
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
        return [
            CALIBRATION_LEGEND,
            "Too few votes a galaxy to ask whether intervals cover them: ten or more are needed.",
        ]
    return [
        CALIBRATION_LEGEND,
        f"Over all questions, {show(half)} % of the vote fractions lie in their 50 % interval and {show(most)} % in "
        f"their 90 % interval ({half.n:,} answered questions).",
    ]


def retrieval_table(retrieval: Retrieval):
    """A rich table: one row a figure, one column a vector, with 95 % intervals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for vector in VECTORS:
        table.add_column(vector, justify="right", no_wrap=True)
    for row in retrieval.rows:
        figures = [retrieval.figures.get(f"{row}/{vector}") for vector in VECTORS]
        count = next(figure.n for figure in figures if figure)
        cells = ["–" if f is None else f"{f.value:.3f} ({f.low:.2f}–{f.high:.2f})" for f in figures]
        table.add_row(_row_title(row), f"{count:,}", *cells)
    return table


def _row_title(row: str) -> str:
    kind, _, what = row.partition("/")
    return {
        "ndcg": f"nDCG@{HITS}, one {what}",
        f"ndcg-{EXAMPLES}": f"nDCG@{HITS}, {EXAMPLES} of {what}",
        "type": f"correlation, {what}",
        "first": f"{what} copy first",
        "ten": "other survey, in ten",
        "shared": f"shared {what}",
        "chance": f"  by chance, {what}",
    }[kind]


def retrieval_lines(retrieval: Retrieval) -> list[str]:
    """What the figures of `retrieval_table` mean."""
    if not retrieval.figures:
        return [retrieval.note]
    return [
        retrieval.note,
        "Correlation: of the share of a class between query and hits. Shared: correlation between query and hits, or "
        "the share of hits of the query's survey, and by chance the same for random hits of the same classes.",
    ]
