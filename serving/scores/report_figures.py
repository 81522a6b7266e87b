"""The figures of a scoring run's report: an `Aggregate` in, matplotlib figures out."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from morph.decision_tree import TREE, phrase
from morph.reports.style import COLOURS, FAINT, INK, STYLE
from serving.scores.aggregate import CURVES, EDGES, STEPS, Aggregate, merge
from serving.scores.hats import CELLS

#: A point of a curve rests on at least so many galaxies that are asked the question.
ENOUGH = 10

#: The places of the dark ones among the colours.
_DARK = (0, 2, 3)

#: Galaxies in a map's cell on average, and in a cell of the map of anomalies: with fewer, maps show chance.
CROWD, ANOMALY_CROWD = 30, 150

#: Cells that a map shows at most; beyond, four are drawn as one.
MOST_CELLS = 8_000

_AXES = {"mag_r": "magnitude in r", "radius": "half-light radius (arcsec)"}
_RADII = (0.5, 1, 2, 5, 10, 20, 50)
_DENSITY = LinearSegmentedColormap.from_list("density", ["#d4e8f4", "#56b4e9", "#0072b2", "#003a5c"])
_ANOMALOUS = LinearSegmentedColormap.from_list("anomalous", ["#f3efe8", "#e69f00", "#d55e00", "#7a2f00"])


@mpl.rc_context(STYLE)
def morphology(found: Aggregate) -> Figure | None:
    """Shares of galaxies against magnitude and radius, whichever is known; None where too few galaxies have either."""
    known = [name for name in _AXES if found.galaxies_in[name].max() >= ENOUGH]
    if not known:
        return None
    figure = Figure(figsize=(4.6 * len(known) + 0.6, 6.6), layout="constrained")
    grid = figure.subplots(3, len(known), squeeze=False, sharex="col", sharey="row", height_ratios=(2, 2, 0.9))
    for axes, name in zip(grid.T, known, strict=True):
        for axis, curves in ((axes[0], range(3)), (axes[1], range(3, len(CURVES)))):
            for k in curves:
                _curve(axis, found, name, k)
            axis.set_ylim(0, 1)
        axes[2].stairs(found.galaxies_in[name], EDGES[name], fill=True, color=FAINT)
        axes[2].set_yscale("log")
        axes[2].set_ylim(0.7)
        axes[2].set_xlabel(_AXES[name])
        if name == "radius":
            axes[2].set_xscale("log")
            axes[2].set_xticks(_RADII, [f"{radius:g}" for radius in _RADII])
            axes[2].xaxis.set_minor_locator(mpl.ticker.NullLocator())
        filled = np.flatnonzero(found.galaxies_in[name])
        axes[2].set_xlim(EDGES[name][filled[0]], EDGES[name][filled[-1] + 1])
    for axis, label in zip(grid[:, 0], ("share", "share of those asked", "galaxies"), strict=True):
        axis.set_ylabel(label)
    for axis in grid[:2, -1]:
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=9)
    return figure


def _curve(axis: Axes, found: Aggregate, name: str, k: int) -> None:
    """A curve with its standard error, where enough galaxies stand behind it."""
    asked, chosen = found.asked_in[name][k], found.chosen_in[name][k]
    enough = asked >= ENOUGH
    share = np.divide(chosen, asked, out=np.full_like(asked, np.nan), where=enough)
    error = np.sqrt(share * (1 - share) / np.maximum(asked, 1))
    edges = EDGES[name]
    middle = np.sqrt(edges[1:] * edges[:-1]) if name == "radius" else (edges[1:] + edges[:-1]) / 2
    colour = COLOURS[k % len(COLOURS)]
    axis.fill_between(middle, share - error, share + error, color=colour, alpha=0.18, linewidth=0)
    axis.plot(middle, share, color=colour, marker="o", markersize=3, label=CURVES[k].title)


@mpl.rc_context(STYLE)
def answers(found: Aggregate) -> Figure:
    """For every question how its answers share those galaxies that are asked it."""
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    axis = figure.subplots()
    for row, question in enumerate(TREE):
        if found.asked[row] <= 0:
            continue
        share = found.chosen[TREE.slices[question.name]] / found.asked[row]
        left = 0.0
        for k, (answer, part) in enumerate(zip(question.answers, share, strict=True)):
            # The last of Okabe and Ito's colours is a grey; eight answers need one more.
            colour = (*COLOURS, FAINT)[k]
            axis.barh(row, part, left=left, color=colour, height=0.72, edgecolor="white", linewidth=0.6)
            text = f"{phrase(question.name, answer)} {100 * part:.0f} %"
            if part > 0.0125 * len(text):
                ink = "white" if k in _DARK else "#14171a"
                axis.text(left + part / 2, row, text, ha="center", va="center", fontsize=7.5, color=ink)
            left += part
    labels = [f"{question.name} ({n:,.0f})" for question, n in zip(TREE, found.asked, strict=True)]
    axis.set_yticks(range(len(TREE)), labels)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of the galaxies that are asked (their expected number in brackets)")
    return figure


@mpl.rc_context(STYLE)
def p_values(found: Aggregate) -> Figure:
    """The distribution of p-values: flat where the galaxies are like those of the reference sample."""
    figure = Figure(figsize=(5.4, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.stairs(found.p_values, np.linspace(0, 1, STEPS + 1), fill=True, color=COLOURS[5])
    axis.axhline(found.p_values.sum() / STEPS, color=COLOURS[3], linewidth=1.2, label="as many in every step")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.3 * max(found.p_values.max(), 1))
    axis.set_xlabel("p-value (small is anomalous)")
    axis.set_ylabel("galaxies")
    axis.legend(loc="upper right", fontsize=8)
    return figure


@mpl.rc_context(STYLE)
def footprint(found: Aggregate) -> Figure | None:
    """Where the galaxies lie: dots by morphology where they are few, else maps of their density and of the share that
    is anomalous. None where no galaxy has a place."""
    if found.dots:
        return _dots(*np.concatenate(found.dots, axis=1))
    cells, counts = found.sky()
    if not len(cells):
        return None
    order = CELLS
    while order > 0 and (len(cells) > MOST_CELLS or counts[0].mean() < CROWD):
        order, cells, counts = order - 1, *merge(cells >> 2, counts)
    x, y, _ = _project(*_centres(cells, order))
    figure = Figure(figsize=(10.6, 1 + _height(x, y, 3.9)), layout="constrained")
    left, right = figure.subplots(1, 2)
    square = 4 * np.pi * np.rad2deg(1) ** 2 / (12 * 4**order)
    _map(left, _corners(cells, order), counts[0] / square, _DENSITY, "galaxies per square degree")
    while order > 0 and counts[1].mean() < ANOMALY_CROWD:
        order, cells, counts = order - 1, *merge(cells >> 2, counts)
    share = np.divide(100 * counts[2], counts[1], out=np.full(len(cells), np.nan), where=counts[1] >= CROWD)
    if not np.isfinite(share).any():
        right.set_axis_off()
        return figure
    _map(right, _corners(cells, order), share, _ANOMALOUS, "flagged as anomalous (%)")
    return figure


def _dots(ra: np.ndarray, dec: np.ndarray, featured: np.ndarray) -> Figure | None:
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return None
    x, y, centre = _project(ra[known], dec[known])
    figure = Figure(figsize=(6.6, 1 + _height(x, y, 5.2)), layout="constrained")
    axis = figure.subplots()
    size = float(np.clip(12_000 / len(x), 1.5, 22))
    shown = np.isfinite(featured[known])
    axis.scatter(x[~shown], y[~shown], size, FAINT, linewidths=0, label="with a flag", rasterized=True)
    dots = axis.scatter(
        x[shown], y[shown], size, featured[known][shown], cmap="cividis", vmin=0, vmax=1, linewidths=0, rasterized=True
    )
    _bar(axis, dots, "probability of features or a disk")
    if (~shown).any():
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, markerscale=1.6)
    _sky_axes(axis, x, y, centre)
    return figure


def _map(axis: Axes, corners: tuple[np.ndarray, np.ndarray], values: np.ndarray, shades, label: str) -> None:
    ra, dec = corners
    x, y, centre = _project(ra, dec)
    # A cell over the map's edge would be drawn right across it.
    inside = np.isfinite(values) & (np.ptp((ra - centre + 180) % 360, axis=1) < 180)
    polygons = PolyCollection(
        np.stack([x, y], axis=-1)[inside], array=values[inside], cmap=shades, edgecolors="face", linewidths=0.2
    )
    polygons.set_rasterized(True)
    polygons.set_clim(0, max(float(np.nanquantile(values, 0.99)), 1e-9))
    axis.add_collection(polygons)
    _bar(axis, polygons, label, extend="max")
    _sky_axes(axis, x[inside], y[inside], centre)


def _bar(axis: Axes, drawn, label: str, **options) -> None:
    """A colour bar as high as the map, which is as high as the sky that it shows."""
    axis.figure.colorbar(drawn, cax=axis.inset_axes((1.03, 0, 0.035, 1)), label=label, **options)


def _corners(cells: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination of HEALPix cells' corners, degrees, [n, 4]."""
    from astropy_healpix import boundaries_lonlat

    ra, dec = boundaries_lonlat(cells, 1, 1 << order, order="nested")
    return ra.deg, dec.deg


def _centres(cells: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination of HEALPix cells' middles, degrees."""
    from astropy_healpix import healpix_to_lonlat

    ra, dec = healpix_to_lonlat(cells, 1 << order, order="nested")
    return ra.deg, dec.deg


def _project(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The sinusoidal projection, which keeps areas: degrees east of the middle, declination, and the middle, wherever
    right ascensions cross zero."""
    angle = np.deg2rad(ra)
    centre = float(np.rad2deg(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())) % 360)
    return ((ra - centre + 180) % 360 - 180) * np.cos(np.deg2rad(dec)), dec, centre


def _height(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Inches that a map of such a width needs."""
    return float(np.clip(width * np.ptp(y) / max(np.ptp(x), 1e-6), 1.2, 6))


def _sky_axes(axis: Axes, x: np.ndarray, y: np.ndarray, centre: float) -> None:
    """East to the left, with lines of right ascension and declination and their names at the edge."""
    reach, low, high = float(np.abs(x).max()), float(y.min()), float(y.max())
    margin = 0.04 * max(reach, high - low, 0.02)
    axis.set_xlim(reach + margin, -reach - margin)
    axis.set_ylim(max(low - margin, -91), min(high + margin, 91))
    axis.set_aspect("equal")
    axis.grid(axis="y", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    lines = np.linspace(low, high, 60)
    # Towards a pole a degree of right ascension is short; no map shows more than all of them.
    bottom, narrowest = np.cos(np.deg2rad([low, low if low < -high else high]))
    span = min(reach / max(float(narrowest), 0.01), 180)
    step = _step(2 * reach / max(float(bottom), 0.1))
    names, places = [], []
    for offset in np.arange(-span, span + step, step):
        ra = np.round((centre + offset) / step) * step
        east = (ra - centre + 180) % 360 - 180
        axis.plot(east * np.cos(np.deg2rad(lines)), lines, color=FAINT, linewidth=0.5, zorder=0.5)
        if (name := f"{ra % 360:g}") not in names:
            places.append(east * bottom)
            names.append(name)
    axis.set_xticks(places, names)
    axis.set_xlim(reach + margin, -reach - margin)
    axis.set_xlabel("right ascension (deg)")
    axis.set_ylabel("declination (deg)")
    axis.tick_params(colors=INK)


def _step(span: float) -> float:
    """A round distance between lines, about five of them to a span of degrees."""
    steps = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60])
    return float(steps[min(int(np.searchsorted(steps, span / 5)), len(steps) - 1)])
