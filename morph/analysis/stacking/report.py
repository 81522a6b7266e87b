"""The page of a stack: its picture, its profile, and the nine checks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morph.analysis.stacking.comparisons import LEVELS, main_band
from morph.analysis.stacking.figures import check_figure, picture, profile_figure
from morph.analysis.stacking.profile import surface_brightness
from morph.console import counted
from morph.reports.html import jpeg, render

if TYPE_CHECKING:
    from morph.analysis.stacking.run import Summary

#: What the result of a check is called.
VERDICTS = {True: "passed", False: "not passed", None: "not possible"}


def write_page(path: Path, summary: "Summary", images: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    path : the HTML file.
    summary : the stack.
    images : as `morph.analysis.stacking.products.combined_images` gives them.
    about : provenance.
    """
    unit = str(about["radius"])
    checks = [
        {
            "title": f"{number}. {check.title}",
            "verdict": VERDICTS[check.passed],
            "text": check.text,
            "figure": check_figure(check, unit),
        }
        for number, check in enumerate(summary.checks, 1)
    ]
    passed = sum(check.passed is True for check in summary.checks)
    page = render(
        "stack.html",
        title="Stacked galaxies",
        simulated=bool(about["simulated"]),
        facts=[
            (f"{summary.galaxies:,}", "galaxies"),
            (f"{len(about['tiles']):,}", "tiles"),
            (_reached(summary), "mag / arcsec² reached at 3 sigma"),
            (f"{passed} of {len(checks)}", "checks passed"),
        ],
        selection=about["selection"] or "every galaxy of the table",
        profile=profile_figure(summary.result, unit),
        pictures=[
            {"picture": jpeg(picture(images[name], images["SIGMA"], images["STACK"]), 322), "caption": caption}
            for name, caption in (("STACK", "the stack"), ("NULL", "random points, the same stretch"))
        ],
        reach=f"{about['reach']:g} {unit}",
        levels=_levels(summary),
        checks=checks,
        notes=summary.notes,
        about=[(name.replace("_", " "), _text(value)) for name, value in about.items() if value not in ("", [])],
    )
    path.write_text(page)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"{', '.join(map(str, value[:12]))}{', ...' if len(value) > 12 else ''}"
    return str(value)


def _reached(summary: "Summary") -> str:
    """The faintest ring in the main band that stands out by 3 sigma."""
    result = summary.result
    band = main_band(result)
    flux, error = result.flux[band], result.error[band]
    seen = flux[(flux > 3 * error) & (error > 0)]
    return f"{surface_brightness(np.array(seen.min())):.1f}" if len(seen) else "none"


def _levels(summary: "Summary") -> list[tuple[str, str]]:
    """Where the profile passes each level, and its error there."""
    result = summary.result
    band = main_band(result)
    brightness = surface_brightness(result.flux[band])
    rows = []
    for level in LEVELS:
        near = np.where(np.isfinite(brightness), abs(brightness - level), np.inf)
        k = int(np.argmin(near))
        if near[k] < 0.5:
            error = 1.0857 * result.error[band, k] / result.flux[band, k]
            rows.append((f"{level:g} mag / arcsec²", f"at a radius of {result.radius[k]:.2g}, ± {error:.2f} mag"))
    return rows or [("29 mag / arcsec²", f"not reached by {counted(summary.galaxies, 'galaxy', 'galaxies')}")]
