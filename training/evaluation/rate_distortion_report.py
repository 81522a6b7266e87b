"""The curve of rate and distortion as tables for the terminal and as a plot."""

from typing import TYPE_CHECKING

import numpy as np

from training.evaluation.rate_distortion import DEPTHS, LENGTHS, USUAL, Point, RateDistortion
from training.metrics.estimates import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What the figures of decoded images are, how many digits they are printed with, and by what they are multiplied.
_FIGURES = {
    "magnitude": ("magnitude, decoded - original (mag)", 4, 1.0),
    "scatter/magnitude": ("  its scatter", 4, 1.0),
    "radius": ("half-light radius, decoded / original - 1 (%)", 2, 100.0),
    "scatter/radius": ("  its scatter", 2, 100.0),
    "ellipticity": ("difference of the ellipticities", 4, 1.0),
    "accuracy/original": ("accuracy of the four classes, originals (%)", 1, 100.0),
    "accuracy/decoded": ("  decoded images", 1, 100.0),
    "ndcg/original": ("nDCG@10 among originals, mean of the classes", 3, 1.0),
    "ndcg/decoded": ("  among decoded images", 3, 1.0),
}


def points_table(measured: RateDistortion):
    """A rich table: codes by numbers and bits, then the usual one and the other ways, one row each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("numbers x bits", no_wrap=True)
    for title in ("bytes", "PSNR dB", "SSIM", "PSNR dB, truth"):
        table.add_column(title, justify="right", no_wrap=True)
    for point in measured.points:
        truth = "" if point.truth is None else f"{point.truth.value:.2f}"
        table.add_row(point.name, f"{point.bytes:,.0f}", _decibels(point.psnr), f"{point.ssim.value:.3f}", truth)
    return table


def _decibels(figure: Estimate) -> str:
    return f"{figure.value:.2f} ({figure.low:.1f}–{figure.high:.1f})"


def decoded_table(measured: RateDistortion):
    """A rich table: figures of decoded images against the originals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"decoded from {USUAL[0]} x {USUAL[1]}", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for name, (title, digits, times) in _FIGURES.items():
        if (figure := measured.decoded.get(name)) is not None:
            value, low, high = (times * number for number in (figure.value, figure.low, figure.high))
            table.add_row(title, f"{figure.n:,}", f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
    return table


def curve(measured: RateDistortion) -> "Figure":
    """PSNR and SSIM against bytes a galaxy, and PSNR against the noiseless truth where it is known."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from morph.reports.style import COLOURS, INK, STYLE

    known = measured.points[0].truth is not None
    panels = [("psnr", "PSNR, dB"), ("ssim", "SSIM"), *([("truth", "PSNR against the truth, dB")] if known else [])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(panels), 3.8), layout="constrained")
        for axis, (name, title) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
            for (label, points), colour in zip(_lines(measured).items(), [*COLOURS, INK], strict=False):
                values = [getattr(point, name).value for point in points]
                marker = "*" if len(points) == 1 else "o"
                size = 12 if len(points) == 1 else 4
                axis.plot([p.bytes for p in points], values, marker=marker, ms=size, color=colour, label=label, lw=1.2)
            axis.set_xscale("log", base=2)
            axis.set_xticks(ticks := [8, 16, 32, 64, 128, 256], [f"{tick}" for tick in ticks])
            axis.set_xlabel("bytes a galaxy")
            axis.set_title(title)
        figure.axes[0].legend(fontsize=7, markerscale=0.8)
    return figure


def _lines(measured: RateDistortion) -> dict[str, list[Point]]:
    """Points of the plot by what they are."""
    points = measured.points
    lines = {
        f"{numbers} numbers, {DEPTHS[0]} to {DEPTHS[-1]} bits": [
            point for point in points if point.numbers == numbers and (point.numbers, point.bits) != USUAL
        ]
        for numbers in LENGTHS
    }
    lines[f"{USUAL[0]} numbers, {USUAL[1]} bits"] = [p for p in points if (p.numbers, p.bits) == USUAL]
    lines["PCA of pictures"] = [point for point in points if point.name.startswith("PCA")]
    lines["WebP"] = [point for point in points if point.name.startswith("WebP")]
    return {label: sorted(found, key=lambda point: point.bytes) for label, found in lines.items() if found}
