"""The section of a report on the domain shift: what the template macro ``domain_shift`` shows."""

import json
from pathlib import Path
from typing import Any

from morph.domain_shift.compare import Shift
from morph.domain_shift.report import lines, plot
from morph.reports.html import png
from morph.reports.style import svg


def shift_section(shift: Shift, name: str) -> dict[str, Any]:
    """A comparison made now; `name` is what to call the galaxies."""
    return {"figure": svg(plot(shift, name)), "lines": lines(shift)}


def section_of_scores(scores: str | Path) -> dict[str, Any] | None:
    """The comparison that `morph score` left beside its score files; None where there is none."""
    folder = Path(scores) if Path(scores).is_dir() else Path(scores).parent
    try:
        sentences = json.loads((folder / "_domain-shift.json").read_text())["lines"]
    except (OSError, ValueError, KeyError):
        return None
    drawn = folder / "_domain-shift.png"
    return {"figure": None, "picture": png(drawn.read_bytes()) if drawn.is_file() else None, "lines": sentences}
