"""The section of a report on the domain shift."""

import base64
import json
from pathlib import Path

from morph.domain_shift.compare import Shift
from morph.domain_shift.report import lines, plot
from morph.reports.html import Section, escape
from morph.reports.style import svg

TITLE = "Is this survey too different?"


def shift_section(shift: Shift, name: str) -> Section:
    """A comparison made now; `name` is what to call the galaxies."""
    shown = f'<div class="plot" style="max-width:none">{svg(plot(shift, name))}</div>'
    return Section(TITLE, shown + _paragraphs(lines(shift)))


def section_of_scores(scores: str | Path) -> Section | None:
    """What `morph score` left beside its score files; None where there is nothing."""
    folder = Path(scores) if Path(scores).is_dir() else Path(scores).parent
    try:
        sentences = json.loads((folder / "_domain-shift.json").read_text())["lines"]
    except (OSError, ValueError, KeyError):
        return None
    drawn = folder / "_domain-shift.png"
    shown = ""
    if drawn.is_file():
        data = base64.b64encode(drawn.read_bytes()).decode()
        shown = f'<figure class="pixels"><img src="data:image/png;base64,{data}" alt="{escape(TITLE)}"></figure>'
    return Section(TITLE, shown + _paragraphs(sentences))


def _paragraphs(sentences: list[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in sentences)
