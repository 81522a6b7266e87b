"""The pictures of a stack's page."""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morph.analysis.stacking.comparisons import LEVELS, Check
from morph.analysis.stacking.profile import Result, surface_brightness
from morph.reports.style import COLOURS, FAINT, style, svg

#: Surface brightness beyond which a picture ends, mag per square arcsec.
FAINTEST = 33.5


def profile_figure(result: Result, unit: str) -> Markup:
    """Surface brightness in each band with its 16 and 84 %, and colours below."""
    low, high = np.quantile(result.draws(), [0.16, 0.84], axis=0)
    with style():
        figure = Figure(figsize=(7.2, 6.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for k, band in enumerate(result.bands):
            colour = COLOURS[k % len(COLOURS)]
            bright, faint = surface_brightness(high[k]), surface_brightness(low[k])
            above.fill_between(result.radius, _within(bright), _within(faint), color=colour, alpha=0.2, linewidth=0)
            above.plot(
                result.radius, _within(surface_brightness(result.flux[k])), "o-", ms=3, color=colour, label=band
            )
            above.plot(
                result.radius, _within(surface_brightness(result.stacked.flux[k])), ":", color=colour, linewidth=1
            )
            if k + 1 < len(result.bands):
                with np.errstate(divide="ignore", invalid="ignore"):
                    bluer = -2.5 * np.log10(result.flux[k] / result.flux[k + 1])
                deep = (result.flux[k : k + 2] > 3 * result.error[k : k + 2]).all(axis=0)
                name = f"{band} − {result.bands[k + 1]}"
                below.plot(result.radius[deep], bluer[deep], "o-", ms=3, color=colour, label=name)
        _brightness_axis(above)
        above.legend(title="dotted: as stacked")
        below.set_xscale("log")
        below.set_xlabel(f"radius, {unit}")
        below.set_ylabel("colour, mag")
        if len(result.bands) > 1:
            below.legend(ncols=3, fontsize=8)
    return svg(figure)


def _within(brightness: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(brightness), np.minimum(brightness, FAINTEST), FAINTEST)


def _brightness_axis(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.set_ylabel("mag / arcsec²")
    low, _ = sorted(axis.get_ylim())
    axis.set_ylim(FAINTEST, low)
    for level in LEVELS:
        axis.axhline(level, color=FAINT, linewidth=0.8, zorder=0)


def check_figure(check: Check, unit: str) -> Markup | None:
    """The picture of a check; None where there is nothing to show."""
    if not check.curves:
        return None
    with style():
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        axis = figure.subplots()
        for k, curve in enumerate(check.curves):
            colour, dashes = COLOURS[k % len(COLOURS)], "-" if k % 2 == 0 else "--"
            values = _within(curve.y) if check.kind == "brightness" else curve.y
            if curve.error is not None:
                axis.errorbar(
                    curve.x, values, curve.error, fmt="o-", ms=3, color=colour, label=curve.name, linewidth=1
                )
            else:
                axis.plot(curve.x, values, dashes, color=colour, label=curve.name)
        _axes(axis, check, unit)
        axis.legend(fontsize=8)
    return svg(figure)


def _axes(axis: Axes, check: Check, unit: str) -> None:
    """Scales and names of a check's axes."""
    axis.set_xscale("log")
    match check.kind:
        case "brightness":
            _brightness_axis(axis)
            axis.set_xlabel(f"radius, {unit}")
        case "stars":
            axis.set_yscale("log")
            axis.set_ylim(bottom=1e-8)
            axis.set_xlabel("radius, arcsec")
            axis.set_ylabel("part of the flux / arcsec²")
        case "noise":
            axis.set_yscale("log")
            axis.set_xlabel("galaxies in a block")
            axis.set_ylabel("scatter, nanomaggies / arcsec²")
        case _:
            axis.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
            axis.set_xlabel(f"radius, {unit}")
            axis.set_ylabel("nanomaggies / arcsec²")


def picture(images: np.ndarray, noise: np.ndarray, stack: np.ndarray) -> np.ndarray:
    """Three bands (or one) as a picture: uint8 [size, size, 3], north or the minor axis up.

    Parameters
    ----------
    images : [bands, size, size].
    noise : standard errors, of the same shape; the stretch is linear below them.
    stack : whose brightest pixel is white.
    """
    channels = []
    for k in (min(channel, len(images) - 1) for channel in (2, 1, 0)):
        level = max(3 * float(np.nanmedian(noise[k])), 1e-12)
        white = max(float(np.arcsinh(np.nanmax(stack[k]) / level)), 1e-6)
        channels.append(np.arcsinh(np.nan_to_num(images[k]) / level) / white)
    found = np.clip(0.05 + 0.95 * np.stack(channels, axis=-1), 0, 1)
    return np.round(255 * found[::-1]).astype("uint8")
