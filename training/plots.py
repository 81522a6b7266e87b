"""Plots in one style: arrays in, matplotlib figures out.

They are drawn without a display and without pyplot's global state, so any thread may draw.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from morph.reports.style import COLOURS, FAINT, INK, STYLE

_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#56b4e9", "#004c78"])

#: The share of the embedding map's width and height that one galaxy takes.
THUMBNAIL = np.array([0.071, 0.09])


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


@mpl.rc_context(STYLE)
def reconstructions(originals: np.ndarray, reconstructed: np.ndarray, titles: Sequence[str] = ()) -> Figure:
    """Draw galaxies above their reconstructions by the decoder.

    Parameters
    ----------
    originals, reconstructed : uint8 [n, s, s, 3].
    titles : of the galaxies.
    """
    n = len(originals)
    figure, axes = _figure(1.25 * n + 0.5, 2.9, 2, n)
    for i in range(n):
        for row, image in enumerate((originals[i], reconstructed[i])):
            _picture(axes[row, i], image)
        if i < len(titles):
            axes[0, i].set_title(titles[i], fontsize=6, fontweight="normal")
    for row, label in enumerate(("observed", "reconstructed")):
        axes[row, 0].set_ylabel(label)
    return figure


@mpl.rc_context(STYLE)
def confusion(matrix: np.ndarray, answers: Sequence[str], title: str = "") -> Figure:
    """A confusion matrix; shades are shares of a row.

    Parameters
    ----------
    matrix : int [k, k], rows the volunteers' answers, columns the model's.
    answers : their k names.
    title : of the plot.
    """
    k = len(answers)
    figure, axes = _figure(1.9 + 0.75 * k, 1.3 + 0.62 * k)
    axis = axes[0, 0]
    rows = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)
    axis.imshow(shares, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
    for i in range(k):
        for j in range(k):
            colour = "white" if shares[i, j] > 0.55 else "#222222"
            axis.text(j, i, f"{matrix[i, j]:,}", ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(k), answers, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(k), answers)
    axis.set_xlabel("model")
    axis.set_ylabel("volunteers")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title)
    return figure


@mpl.rc_context(STYLE)
def training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Every metric of a training against its epoch; ``val_x`` is drawn in the panel of ``x``."""
    names = [name for name in history if not name.startswith("val_")]
    columns = min(3, max(1, len(names)))
    rows = -(-len(names) // columns)
    figure, axes = _figure(3.2 * columns, 2.5 * rows, rows, columns, sharex=True)
    _hide(axes, len(names))
    for axis, name in zip(axes.ravel(), names, strict=False):
        for key, label, colour in ((name, "training", COLOURS[0]), (f"val_{name}", "validation", COLOURS[1])):
            if key in history:
                axis.plot(np.arange(1, len(history[key]) + 1), history[key], color=colour, label=label)
        axis.set_title(name)
    for axis in axes.ravel()[max(0, len(names) - columns) : len(names)]:
        axis.set_xlabel("epoch")
    axes[0, 0].legend()
    return figure


@mpl.rc_context(STYLE)
def comparison(figures: Mapping[str, Mapping[str, tuple[float, float, float]]], label: str = "accuracy") -> Figure:
    """Runs side by side, in percent, with their intervals.

    Parameters
    ----------
    figures : {group: {run: (value, low, high)}}, as fractions; a group is a question. Each run keeps its colour.
    label : of the axis.
    """
    runs = list(dict.fromkeys(run for group in figures.values() for run in group))
    height = 0.26 * len(runs) + 0.25
    figure, axes = _figure(6.6, height * len(figures) + 1.1)
    axis = axes[0, 0]
    for g, group in enumerate(figures.values()):
        for r, run in enumerate(runs):
            if run not in group:
                continue
            value, low, high = (100 * number for number in group[run])
            y = g + (r - (len(runs) - 1) / 2) * 0.8 / len(runs)
            axis.barh(y, value, 0.7 / len(runs), color=COLOURS[r % len(COLOURS)], label=run if g == 0 else None)
            axis.errorbar(value, y, xerr=[[value - low], [high - value]], color=INK, linewidth=1.2, capsize=2.5)
            axis.annotate(
                f"{value:.0f}",
                (max(high, value), y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axis.set_yticks(range(len(figures)), list(figures))
    axis.set_ylim(len(figures) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(f"{label} (%), 95 % interval")
    axis.set_xlim(0, 108)
    figure.legend(loc="outside upper left", ncols=min(3, len(runs)), fontsize=9)
    return figure


@mpl.rc_context(STYLE)
def contact_sheet(pictures: np.ndarray, captions: Sequence[str] = (), columns: int = 8, title: str = "") -> Figure:
    """Galaxies in rows, each with a caption.

    Parameters
    ----------
    pictures : uint8 [n, s, s, 3].
    captions : one each, or fewer.
    columns : galaxies in a row.
    title : of the sheet.
    """
    rows = max(1, -(-len(pictures) // columns))
    figure, axes = _figure(1.25 * columns, 1.45 * rows + (0.3 if title else 0), rows, columns)
    for i, axis in enumerate(axes.ravel()):
        if i < len(pictures):
            _picture(axis, pictures[i])
            axis.set_title(captions[i] if i < len(captions) else "", fontsize=7, fontweight="normal", loc="center")
        else:
            axis.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11, color=INK)
    return figure


@mpl.rc_context(STYLE)
def embedding_map(embedding: np.ndarray, pictures: np.ndarray, thumbnails: int = 140, seed: int = 0) -> Figure:
    """The two principal components of the embedding, with galaxies where they lie.

    Parameters
    ----------
    embedding : [n, d].
    pictures : uint8 [n, s, s, 3].
    thumbnails : how many galaxies to show at most; no two overlap.
    seed : of their order.
    """
    place = principal_components(embedding)
    figure, axes = _figure(7.6, 6.4)
    axis = axes[0, 0]
    axis.scatter(*place.T, s=4, color=FAINT, linewidths=0)
    span = np.quantile(place, [0.005, 0.995], axis=0)
    axis.set_xlim(*span[:, 0] + np.array([-0.05, 0.05]) * np.ptp(span[:, 0]))
    axis.set_ylim(*span[:, 1] + np.array([-0.05, 0.05]) * np.ptp(span[:, 1]))
    taken: list[np.ndarray] = []
    scaled = (place - span[0]) / np.maximum(np.ptp(span, axis=0), 1e-9)
    for i in np.random.default_rng(seed).permutation(len(place)):
        if not (scaled[i] >= 0).all() or not (scaled[i] <= 1).all():
            continue
        if any((np.abs(scaled[i] - other) < THUMBNAIL).all() for other in taken):
            continue
        taken.append(scaled[i])
        zoom = 31 / pictures.shape[1]
        axis.add_artist(AnnotationBbox(OffsetImage(pictures[i], zoom=zoom), place[i], frameon=False, pad=0))
        if len(taken) == thumbnails:
            break
    axis.set_xlabel("first principal component of the embedding")
    axis.set_ylabel("second")
    return figure


def principal_components(embedding: np.ndarray, k: int = 2) -> np.ndarray:
    """The `k` strongest principal components of [n, d], float [n, k]."""
    centred = embedding - embedding.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:k].T


def _hide(axes: np.ndarray, used: int) -> None:
    """Hide the panels after the first `used`; the panels above them show the shared axis."""
    for axis in axes.ravel()[used:]:
        axis.set_visible(False)
    for axis in axes.ravel()[max(0, used - axes.shape[1]) : used]:
        axis.tick_params(labelbottom=True)


def _picture(axis: Axes, image: np.ndarray) -> None:
    axis.imshow(image, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
