"""Two plots of photometric redshifts: against the true ones, and the histogram of the PIT."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from morph.reports.style import COLOURS, FAINT, INK, STYLE
from training.metrics import photoz as metrics

#: Bins of the PIT.
BINS = 20
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
    reach = 3 * metrics.OUTLIER_LOW
    for (name, z_phot), above, below in zip(points.items(), *axes, strict=True):
        # Squares where galaxies are few would hide that they are few.
        above.hexbin(z_spec, z_phot, gridsize=45, extent=(0, top, 0, top), bins="log", cmap=_DENSITY, mincnt=1)
        line = np.array([0, top])
        above.plot(line, line, color=INK, linewidth=1)
        for sign in (-1, 1):
            edge = line + sign * metrics.OUTLIER_LOW * (1 + line)
            above.plot(line, edge, color=FAINT, linewidth=1, linestyle="--")
        above.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="true redshift")
        above.set_title(name, fontsize=9)
        delta = metrics.deltas(z_phot, z_spec)
        below.hist(np.clip(delta, -reach, reach), np.linspace(-reach, reach, 61), color=COLOURS[5])
        below.axvline(0, color=INK, linewidth=1)
        for sign in (-1, 1):
            below.axvline(sign * metrics.OUTLIER_LOW, color=FAINT, linewidth=1, linestyle="--")
        below.set(xlim=(-reach, reach), xlabel="Δz / (1 + z)")
        below.text(
            0.98, 0.92, f"σ_MAD {metrics.sigma_mad(delta):.4f}", transform=below.transAxes, ha="right", va="top"
        )
    axes[0, 0].set_ylabel("inferred redshift")
    axes[1, 0].set_ylabel("galaxies")
    _entitle(figure, title)
    return figure


@mpl.rc_context(STYLE)
def pit_histograms(draws: Mapping[str, np.ndarray], z_spec: np.ndarray, title: str = "") -> Figure:
    """The histogram of the probability integral transform: flat when posteriors are as wide as they should be,
    a bowl when they are too narrow, a hill when too wide, sloping when biased. One panel each, as `redshifts`.

    The grey band holds 95 % of the bars of right posteriors.
    """
    n = len(draws)
    figure = Figure(figsize=(3.4 * n + 0.6, 2.8), layout="constrained")
    axes = figure.subplots(1, n, squeeze=False, sharey=True)[0]
    expected = len(z_spec) / BINS
    wiggle = 1.96 * np.sqrt(expected * (1 - 1 / BINS))
    for axis, (name, each) in zip(axes, draws.items(), strict=True):
        axis.axhspan(expected - wiggle, expected + wiggle, color=FAINT, alpha=0.5, linewidth=0)
        axis.hist(metrics.pit(each, z_spec), np.linspace(0, 1, BINS + 1), color=COLOURS[0], histtype="step", lw=1.8)
        axis.set(xlim=(0, 1), xlabel="PIT")
        axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("galaxies")
    _entitle(figure, title)
    return figure


def _entitle(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=10, color=INK)
