"""The report of a census: one page, and the figure of the Hubble sequence beside it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from morph.analysis.census.classes import CLASSES
from morph.analysis.census.figures import bins_figure, hubble_figure, png_file
from morph.analysis.census.table import SEEN, UNCERTAIN, Row
from morph.reports.html import png, render
from morph.reports.style import svg

if TYPE_CHECKING:
    from morph.analysis.census.census import Census

#: Names of the files.
PAGE, FIGURE = "report.html", "hubble_sequence.png"


def write_report(census: "Census", folder: Path) -> None:
    """Write the page and the figure into a folder."""
    labelled = census.about["labelled"] or {}
    simulated = bool(census.about["simulated"] or labelled.get("simulated"))
    drawn = hubble_figure(census.rows[0], census.sums.examples, simulated)
    figure = png_file(drawn, json.dumps(census.about))
    (folder / FIGURE).write_bytes(figure)
    by_bin = bins_figure(census.rows, census.bins)
    page = render(
        "census.html",
        title="A census of morphology",
        model=_model(census),
        simulated=simulated,
        facts=_facts(census),
        hubble=png(figure),
        figure=None if by_bin is None else svg(by_bin),
        sentences=census.sentences(),
        seen=f"{SEEN:.0%}",
        uncertain=f"{100 * UNCERTAIN:g} points",
        notes=census.notes,
        whole=[_cells(row) for row in census.rows[0]],
        provenance=[(name.replace("_", " "), _said(value)) for name, value in census.about.items() if value],
    )
    (folder / PAGE).write_text(page)


def _model(census: "Census") -> str:
    names = [census.about.get(name) for name in ("model", "model_version")]
    return " ".join(str(name) for name in names if name) or "not recorded in the scores"


def _facts(census: "Census") -> list[tuple[str, str]]:
    labelled = census.about["labelled"]
    facts = [
        (f"{census.rows[0][0].count:,}", "galaxies with nothing wrong"),
        (f"{max(len(census.rows) - 1, 1):,}", "bins with galaxies"),
    ]
    return [*facts, (f"{labelled['galaxies']:,}", "labelled galaxies")] if labelled else facts


def _cells(row: Row) -> list[str]:
    def percent(value: float) -> str:
        return f"{100 * value:.1f}" if np.isfinite(value) else "–"

    span = f"{percent(row.corrected_low)} – {percent(row.corrected_high)}" if np.isfinite(row.corrected) else "–"
    seen = f"{row.completeness:.2f}" if np.isfinite(row.completeness) else "–"
    return [CLASSES[row.index].name, percent(row.raw), percent(row.corrected), span, seen, ", ".join(row.flags) or "–"]


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
