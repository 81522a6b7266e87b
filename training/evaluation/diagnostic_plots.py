"""Diagnostic plots: photometric redshifts and their PIT, reliability of probabilities, coverage of intervals."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from morph.reports.style import COLOURS, FAINT, INK, STYLE
from training.metrics import photoz, votes
from training.metrics.dirichlet import LEVELS
from training.metrics.estimates import Estimate

#: Bins of the PIT.
_BARS = 20
_DENSITY = LinearSegmentedColormap.from_list("density", ["#d6ebf8", "#56b4e9", "#004c78"])
#: The part of the redshifts that fits on the plot.
_SHOWN = 0.995


@mpl.rc_context(STYLE)
def redshifts(draws: Mapping[str, np.ndarray], z_spec: np.ndarray, title: str = "") -> Figure:
    """z_phot against z_spec as a density above, the histogram of delta = (z_phot - z_spec) / (1 + z_spec) below.

    Parameters
    ----------
    draws : {name: [n, draws] from the posteriors}; z_phot is their median. One column each.
    z_spec : [n].
    title : of the whole figure, for instance the dataset and whether it is simulated.
    """
    n = len(draws)
    figure = Figure(figsize=(3.4 * n + 0.6, 5.0), layout="constrained")
    axes = figure.subplots(2, n, squeeze=False, sharey="row", sharex="row", height_ratios=(2.4, 1))
    points = {name: np.median(each, axis=1) for name, each in draws.items()}
    top = 1.05 * max(float(np.quantile(z, _SHOWN)) for z in (z_spec, *points.values()))
    reach = 3 * photoz.OUTLIER_LOW
    for (name, z_phot), above, below in zip(points.items(), *axes, strict=True):
        # Squares where galaxies are few would hide that they are few.
        above.hexbin(z_spec, z_phot, gridsize=45, extent=(0, top, 0, top), bins="log", cmap=_DENSITY, mincnt=1)
        line = np.array([0, top])
        above.plot(line, line, color=INK, linewidth=1)
        for sign in (-1, 1):
            edge = line + sign * photoz.OUTLIER_LOW * (1 + line)
            above.plot(line, edge, color=FAINT, linewidth=1, linestyle="--")
        above.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="true redshift")
        above.set_title(name, fontsize=9)
        delta = photoz.deltas(z_phot, z_spec)
        below.hist(np.clip(delta, -reach, reach), np.linspace(-reach, reach, 61), color=COLOURS[5])
        below.axvline(0, color=INK, linewidth=1)
        for sign in (-1, 1):
            below.axvline(sign * photoz.OUTLIER_LOW, color=FAINT, linewidth=1, linestyle="--")
        below.set(xlim=(-reach, reach), xlabel="Δz / (1 + z)")
        below.text(0.98, 0.92, f"σ_MAD {photoz.sigma_mad(delta):.4f}", transform=below.transAxes, ha="right", va="top")
    axes[0, 0].set_ylabel("inferred redshift")
    axes[1, 0].set_ylabel("galaxies")
    _entitle(figure, title)
    return figure


@mpl.rc_context(STYLE)
def pit_histograms(draws: Mapping[str, np.ndarray], z_spec: np.ndarray, title: str = "") -> Figure:
    """The histogram of the probability integral transform (PIT), one panel each.

    It is flat for calibrated posteriors, a bowl when they are too narrow, a hill when too wide, sloping when biased.
    The grey band holds 95 % of the bars of calibrated posteriors.

    Parameters
    ----------
    draws, z_spec, title : as for `redshifts`.
    """
    n = len(draws)
    figure = Figure(figsize=(3.4 * n + 0.6, 2.8), layout="constrained")
    axes = figure.subplots(1, n, squeeze=False, sharey=True)[0]
    expected = len(z_spec) / _BARS
    wiggle = 1.96 * np.sqrt(expected * (1 - 1 / _BARS))
    for axis, (name, each) in zip(axes, draws.items(), strict=True):
        axis.axhspan(expected - wiggle, expected + wiggle, color=FAINT, alpha=0.5, linewidth=0)
        axis.hist(photoz.pit(each, z_spec), np.linspace(0, 1, _BARS + 1), color=COLOURS[0], histtype="step", lw=1.8)
        axis.set(xlim=(0, 1), xlabel="PIT")
        axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("galaxies")
    _entitle(figure, title)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=10, color=INK)


#: The height of a panel that the counts below the curve take at most.
_COUNTS = 0.24


@mpl.rc_context(STYLE)
def reliability(
    curves: Mapping[str, np.ndarray], figures: Mapping[str, Estimate] | None = None, title: str = ""
) -> Figure:
    """Predicted probability against the share of the votes, one small panel for each question.

    Dots carry 95 % intervals; bars below them count galaxies and answers, on a scale of square roots, so that a bin
    of few is seen.

    Parameters
    ----------
    curves : {question: [bins, 5]} as `training.metrics.votes.reliability` gives them.
    figures : as `training.metrics.votes.measure` gives them; calibration errors are written into the panels.
    title : of the whole figure.
    """
    columns = min(4, max(1, len(curves)))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.4 * columns + 0.4, 2.45 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis, (question, curve) in zip(axes.ravel(), curves.items(), strict=False):
        _reliability(axis, curve)
        axis.set_title(question, fontsize=9.5)
        _write_errors(axis, question, figures or {})
    for axis in axes.ravel()[len(curves) :]:
        axis.set_visible(False)
    for axis in axes.ravel()[max(0, len(curves) - columns) : len(curves)]:
        axis.tick_params(labelbottom=True)
    figure.supxlabel("predicted probability", fontsize=10, color=INK)
    figure.supylabel("share of the votes", fontsize=10, color=INK)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontweight="bold", fontsize=11, color=INK)
    return figure


def _reliability(axis: Axes, curve: np.ndarray) -> None:
    predicted, share, low, high, n = curve.T
    axis.bar(
        (np.floor(predicted * votes.BINS).clip(0, votes.BINS - 1) + 0.5) / votes.BINS,
        _COUNTS * np.sqrt(n / n.max()),
        0.9 / votes.BINS,
        color=FAINT,
        alpha=0.45,
        linewidth=0,
    )
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    # The share itself may lie outside the percentiles of its bootstrap where a bin holds one galaxy.
    spread = [np.maximum(share - low, 0), np.maximum(high - share, 0)]
    axis.errorbar(predicted, share, spread, color=COLOURS[0], linewidth=1.4, elinewidth=1.1, marker="o", markersize=4)
    axis.set(xlim=(-0.03, 1.03), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))


def _write_errors(axis: Axes, question: str, figures: Mapping[str, Estimate]) -> None:
    error = figures.get(f"{question}/calibration-error")
    if error is None:
        return
    noise = figures[f"{question}/calibration-noise"].value
    text = f"n = {error.n:,}\nerror {100 * error.value:.1f} %\nnoise {100 * noise:.1f} %"
    axis.text(0.04, 0.97, text, transform=axis.transAxes, va="top", fontsize=7.5, linespacing=1.35)


@mpl.rc_context(STYLE)
def coverage(figures: Mapping[str, Estimate], title: str = "") -> Figure:
    """How many vote fractions lie in their predictive intervals, question by question, with 95 % intervals.

    Calibrated intervals are on the lines. Numbers behind the questions count galaxies with votes enough.

    Parameters
    ----------
    figures : as `training.metrics.votes.measure` gives them, with ``all/coverage-...`` among them.
    """
    names = [name.split("/")[0] for name in figures if name.endswith(f"/coverage-{100 * LEVELS[0]:.0f}")]
    names = [*(name for name in names if name != "all"), "all"]
    figure = Figure(figsize=(6.2, 0.31 * len(names) + 1.1), layout="constrained")
    axis = figure.subplots()
    for level, colour in zip(LEVELS, (COLOURS[0], COLOURS[3]), strict=True):
        axis.plot([100 * level] * 2, [-0.5, len(names) - 0.5], color=colour, linewidth=1, linestyle="--", alpha=0.7)
        each = [figures[f"{name}/coverage-{100 * level:.0f}"] for name in names]
        value, low, high = (100 * np.array([getattr(f, part) for f in each]) for part in ("value", "low", "high"))
        spread = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
        axis.errorbar(
            value, range(len(names)), xerr=spread, fmt="o", color=colour, markersize=5, elinewidth=1.4, capsize=2
        )
        axis.text(100 * level, -0.75, f"{100 * level:.0f} % interval", color=colour, ha="center", fontsize=9)
    labels = [f"{name}  ({figures[f'{name}/coverage-{100 * LEVELS[0]:.0f}'].n:,})" for name in names]
    axis.set_yticks(range(len(names)), labels)
    axis.set_ylim(len(names) - 0.5, -1.1)
    axis.set_xlim(0, 103)
    axis.tick_params(axis="y", length=0)
    axis.axhline(len(names) - 1.5, color=FAINT, linewidth=0.8)
    axis.set_xlabel("vote fractions in their interval (%)")
    if title:
        axis.set_title(title, pad=12)
    return figure
