"""The style of figures.

Colours are those of Okabe & Ito (2008), which colour-blind readers can distinguish.
"""

import io
import re
from typing import Any

import matplotlib as mpl
from cycler import cycler
from markupsafe import Markup
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c8c8c")
#: Text and axes; `svg` turns it into the colour of the page's text.
INK = "#3a3f45"
FAINT = "#b9bec4"

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "morph",
}


def style():
    """A context in which figures are drawn in this style."""
    return mpl.rc_context(STYLE)


def svg(figure: Figure) -> Markup:
    """A figure as an SVG element that takes its font and text colour from the page and has no background."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # Laid out for DejaVu Sans, which is as wide as any font a page may use.
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui")
    return Markup(re.sub(r"\s*\n\s*", "\n", text))
