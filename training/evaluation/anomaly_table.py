"""The anomaly score's figures as a table for people."""

from training.evaluation.anomalies import SCORES, Anomalies
from training.evaluation.tables import show
from training.metrics.votes import Figure

LEGEND = (
    "AUROC: the chance that a strange galaxy scores higher than a normal one. Flagged: the share with a smaller "
    "p-value. In each column: the anomaly score with its 95 % interval, the reconstruction error alone, an isolation "
    "forest on the embedding."
)


def anomaly_table(anomalies: Anomalies):
    """A rich table: how many normal galaxies are flagged, then one row for each kind of strange ones."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("strange galaxies", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for title in ("AUROC %", *(f"flagged at {100 * alpha:g} %" for alpha in anomalies.alphas)):
        table.add_column(title, justify="right", no_wrap=True)
    figures = anomalies.figures
    rates = [_row(figures, f"flagged/{alpha:g}") for alpha in anomalies.alphas]
    n = figures[f"flagged/{anomalies.alphas[0]:g}/{SCORES[0]}"].n
    table.add_row("none: normal", f"{n:,}", "", *rates)
    for row in anomalies.rows:
        n = figures[f"auroc/{row}/{SCORES[0]}"].n
        found = [_row(figures, f"recall/{alpha:g}/{row}") for alpha in anomalies.alphas]
        table.add_row(row, f"{n:,}", _row(figures, f"auroc/{row}"), *found)
    return table


def anomaly_lines(anomalies: Anomalies) -> list[str]:
    """How to read the table, and what it stands on."""
    return [LEGEND, anomalies.note] if anomalies.figures else [anomalies.note]


def _row(figures: dict[str, Figure], name: str) -> str:
    score, *simple = (figures[f"{name}/{each}"] for each in SCORES)
    return f"{show(score)} " + " ".join(f"{100 * figure.value:5.1f}" for figure in simple)
