"""The figures of a census: the Hubble sequence with fractions and real galaxies, and fractions bin by bin."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from morph.analysis.census.bins import Bins
from morph.analysis.census.classes import CLASSES, MAIN, index_of
from morph.analysis.census.sums import Example
from morph.analysis.census.table import Row
from morph.reports.style import COLOURS, FAINT, INK, style

#: Places of the classes on the fork: column from the left, row from the top (half rows lie on the handle).
PLACES: dict[str, tuple[float, float]] = {
    "hubble_e0": (0, 0.5),
    "hubble_e3": (1, 0.5),
    "hubble_e7": (2, 0.5),
    "hubble_s0": (3, 0.5),
    **{f"hubble_s{grade}": (4 + k, 0) for k, grade in enumerate("abcd")},
    **{f"hubble_sb{grade}": (4 + k, 1) for k, grade in enumerate("abcd")},
    "hubble_edge_on": (0.6, 1.75),
    "hubble_artifact": (1.9, 1.75),
}

#: What stands above each picture.
TITLES = {
    "hubble_e0": "E0", "hubble_e3": "E3", "hubble_e7": "E7", "hubble_s0": "S0", "hubble_edge_on": "edge-on disks",
    "hubble_artifact": "artifacts", **{f"hubble_s{g}": f"S{g}" for g in "abcd"},
    **{f"hubble_sb{g}": f"SB{g}" for g in "abcd"},
}  # fmt: skip

#: A galaxy shows a class where at least this part of the volunteers would say so: of a spiral, and of any other. Few
#: spirals have one grade alone.
SHOWS_SPIRAL, SHOWS = 0.15, 0.3


def hubble_figure(rows: Sequence[Row], examples: Mapping[int, Sequence[Example]], simulated: bool = False) -> Figure:
    """The tuning fork, with each class's fraction of all galaxies and the galaxy that shows it best.

    Parameters
    ----------
    rows : of all bins together.
    examples : of each class by its place among `CLASSES`; the best is shown.
    simulated : whether galaxies are simulated, which the figure then says.
    """
    with style():
        figure = Figure(figsize=(12, 5.6))
        canvas = figure.add_axes((0, 0, 1, 1))
        canvas.axis("off")
        for line in (((-0.4, 3.4), (0.5, 0.5)), ((3.4, 3.75, 7.4), (0.5, 0, 0)), ((3.4, 3.75, 7.4), (0.5, 1, 1))):
            canvas.plot(*line, color=FAINT, lw=2, zorder=0, solid_capstyle="round")
        marked = any(np.isfinite(rows[index_of(name)].corrected) for name in PLACES)
        for name, place in PLACES.items():
            row = rows[index_of(name)]
            best = max((each for each in examples.get(index_of(name), ()) if each.picture), default=None)
            _put(canvas, place, TITLES[name], row, best, marked)
        canvas.text(3.0, 1.8, _legend(rows, simulated), fontsize=9, va="top", color=INK, linespacing=1.6)
        canvas.set(xlim=(-0.6, 7.6), ylim=(2.6, -0.8))
    return figure


def _legend(rows: Sequence[Row], simulated: bool) -> str:
    corrected = any(np.isfinite(rows[index_of(name)].corrected) for name in PLACES)
    marks = "corrected   (* beyond the limit of the census   † not corrected)" if corrected else "not corrected"
    return (
        f"Fractions of {rows[0].count:,} galaxies{', some of them simulated' if simulated else ''}: {marks}.\n"
        "Below each, the interval that holds 68 %.\n"
        "Bulges of spirals: a dominant, b large or moderate, c small, d none."
    )


def _put(
    canvas: Axes, place: tuple[float, float], title: str, row: Row, example: Example | None, marked: bool
) -> None:
    x, y = place
    half, width = 0.3, 0.355
    spiral = title.startswith("S") and title != TITLES["hubble_s0"]
    if example is not None and example.fraction >= (SHOWS_SPIRAL if spiral else SHOWS):
        pixels = np.asarray(Image.open(io.BytesIO(example.picture)).convert("RGB"))
        canvas.imshow(pixels, extent=(x - width, x + width, y + half, y - half), aspect="auto", zorder=2)
    else:
        canvas.text(x, y, "no picture", ha="center", va="center", fontsize=7, color=INK, zorder=3)
        canvas.fill_between([x - width, x + width], y - half, y + half, color="#eef1f4", zorder=1)
    value, low, high = row.best
    mark = {True: "*", False: "", None: "†" if marked else ""}[row.beyond]
    canvas.text(x, y - half - 0.04, title, ha="center", va="bottom", fontsize=10, weight="bold")
    said = f"{100 * value:.1f} %{mark}"
    if np.isfinite(low):
        said += f"\n{100 * low:.1f} – {100 * high:.1f}"
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    canvas.text(x, y + half + 0.04, said, ha="center", va="top", fontsize=8.5, linespacing=1.25, bbox=ground)


def png_file(figure: Figure, about: str, dpi: int = 130) -> bytes:
    """A figure as the content of a PNG file.

    Parameters
    ----------
    figure : to be drawn.
    about : what it was made of, which the file bears.
    dpi : pixels an inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Description": about})
    return buffer.getvalue()


def bins_figure(rows: Sequence[Sequence[Row]], bins: Bins) -> Figure | None:
    """Fractions of some classes along the first quantity, a line for every bin of the others; None without bins.

    Parameters
    ----------
    rows : of every bin, the first of all bins together.
    bins : the grid.
    """
    if len(rows) < 2:
        return None
    first = bins.names[0]
    groups: dict[tuple, list[Sequence[Row]]] = {}
    for each in rows[1:]:
        rest = tuple((name, *each[0].limits[name]) for name in bins.names[1:])
        groups.setdefault(rest, []).append(each)
    with style():
        figure = Figure(figsize=(12, 6.4), layout="constrained")
        for axes, name in zip(figure.subplots(2, 3, sharex=True).flat, MAIN, strict=True):
            index = index_of(name)
            for k, (rest, group) in enumerate(groups.items()):
                label = ", ".join(f"{what} {low:g}–{high:g}" for what, low, high in rest)
                _draw(axes, [each[index] for each in group], first, COLOURS[k % len(COLOURS)], label)
            axes.set_title(CLASSES[index].words)
            axes.set_ylim(bottom=0)
        figure.supxlabel(first)
        figure.supylabel("fraction of those asked")
        if len(groups) > 1:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right upper")
    return figure


def _draw(axes: Axes, rows: Sequence[Row], name: str, colour: str, label: str) -> None:
    """Raw fractions as a dashed line, corrected ones as points with intervals, hollow beyond the limit."""
    x = np.array([np.mean(row.limits[name]) for row in rows])
    raw = np.array([row.raw for row in rows])
    axes.plot(x, raw, "--", color=colour, lw=1, alpha=0.7)
    value, low, high = (np.array(each) for each in zip(*(row.best for row in rows), strict=True))
    error = np.clip(np.stack([value - low, high - value]), 0, None)
    beyond = np.array([row.beyond is not False for row in rows])
    axes.errorbar(x, value, error, fmt="none", ecolor=colour, lw=1)
    axes.plot(x[~beyond], value[~beyond], "o", color=colour, ms=5)
    axes.plot(x[beyond], value[beyond], "o", mfc="white", mec=colour, ms=5)
    axes.plot([], [], "o-", color=colour, label=label)
