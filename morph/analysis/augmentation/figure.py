"""The figure of an augmented training set: redshifts before, with samples, and with weights."""

import numpy as np
from matplotlib.figure import Figure

from morph.analysis.augmentation.run import Augmented
from morph.reports.style import COLOURS, style

#: Bins of redshift.
BINS = 30


def plot(made: Augmented) -> Figure:
    """The distribution of redshifts of an augmented set, and which part of it was sampled."""
    with style():
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        counts, shares = figure.subplots(1, 2)
        edges = np.linspace(0, float(np.quantile(made.redshifts, 0.995)), BINS + 1)
        real = ~made.is_sampled
        counts.hist(
            [made.redshifts[real], made.redshifts[made.is_sampled]], edges, stacked=True, color=COLOURS[:2],
            label=["spectroscopic", "sampled (simulated)"],
        )  # fmt: skip
        counts.set(title="Galaxies in the training set", xlabel="redshift", ylabel="galaxies")
        counts.legend()
        # Where all gaps are filled, the last two are the same: the dashes show both.
        for weight, chosen, label, colour, line in (
            (None, real, "spectroscopic alone", COLOURS[0], "-"),
            (None, np.ones_like(real), "with samples", COLOURS[1], "-"),
            (made.weights, np.ones_like(real), "with samples, weighted", COLOURS[2], "--"),
        ):
            own = None if weight is None else weight[chosen]
            shares.hist(
                made.redshifts[chosen], edges, weights=own, density=True, histtype="step", color=colour, label=label,
                linestyle=line,
            )  # fmt: skip
        shares.set(title="n(z), each normalised", xlabel="redshift")
        shares.legend()
    return figure
