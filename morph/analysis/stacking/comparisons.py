"""Profiles beside each other: how far they differ at given brightnesses, as the result of a check."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from morph.analysis.stacking.combine import Profile
from morph.analysis.stacking.profile import Result, surface_brightness

#: Surface brightnesses (mag per square arcsec) at which profiles are compared, and how far they may differ there.
LEVELS = {29.0: 0.1, 30.5: 0.25}
#: Mag of a relative difference.
MAG = 2.5 / np.log(10)


@dataclass(frozen=True)
class Curve:
    """A line of a check's picture: `y` and `error` over `x`."""

    name: str
    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None = None


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name : a key.
    title : a heading.
    passed : None where it cannot be made.
    text : the result in a sentence or two.
    curves : of its picture.
    kind : "brightness" (mag over the radius), "flux" (over the radius), "stars" or "noise".
    values : the figures in it, for other programs.
    """

    name: str
    title: str
    passed: bool | None
    text: str
    curves: tuple[Curve, ...] = ()
    kind: str = "flux"
    values: dict[str, Any] = field(default_factory=dict)


def main_band(result: Result) -> int:
    """The band in which checks are stated: the middle one."""
    return min(1, len(result.bands) - 1)


def above_random(
    name: str,
    title: str,
    result: Result,
    profiles: dict[str, Profile],
    levels: dict[str, Profile],
    used: str,
    note: str,
    judged: tuple[str, ...],
) -> Check:
    """Profiles against the one that is used, each above what its own way of stacking gives at random points.

    Parameters
    ----------
    name, title : of the check.
    result : the stack.
    profiles, levels : {name: profile}, of the galaxies and of the random points.
    used : which of them the stack is.
    note : with which its text begins.
    judged : which of the differences decide.
    """
    everywhere = np.ones(len(result.radius), dtype=bool)
    extra = {}
    for other, profile in profiles.items():
        shift, error = (levels[other] - levels[used]).mean_over(everywhere, result.areas)
        profiles[other] = replace(profile, flux=profile.flux - shift[:, None])
        extra[other] = error
    others = {other: profile - profiles[used] for other, profile in profiles.items() if other != used}
    return compared(name, title, result, profiles, others, note, judged, extra)


def compared(
    name: str,
    title: str,
    result: Result,
    profiles: dict[str, Profile],
    others: dict[str, Profile],
    note: str,
    judged: tuple[str, ...],
    extra: dict[str, np.ndarray] | None = None,
) -> Check:
    """Profiles beside each other, and how far they differ at `LEVELS`.

    Parameters
    ----------
    name, title, result, profiles, note, judged : as for `above_random`.
    others : {name: difference from the stack}.
    extra : {name: errors [bands] of the differences beside the galaxies' own}.
    """
    band = main_band(result)
    flux = result.stacked.flux[band]
    words, passed = [], True
    values = {}
    for other, apart in others.items():
        error = np.hypot(apart.error[band], extra[other][band] if extra else 0.0)
        said, good = at_levels(flux, apart.flux[band], error, result.radius)
        words.append(f"{other}: {said}")
        values[other] = offsets(flux, apart.flux[band], result.radius)
        if other in judged:
            passed &= good
    curves = tuple(
        Curve(label, result.radius, surface_brightness(profile.flux[band])) for label, profile in profiles.items()
    )
    return Check(name, title, passed, f"{note} {' '.join(words)}", curves, "brightness", values)


def place(brightness: np.ndarray, level: float) -> int | None:
    """The ring whose brightness is nearest to a level; None where the profile does not come near it."""
    near = np.where(np.isfinite(brightness), abs(brightness - level), np.inf)
    return int(np.argmin(near)) if near.min() < 0.5 else None


def offsets(flux: np.ndarray, apart: np.ndarray, radius: np.ndarray) -> dict[str, float]:
    """Differences at `LEVELS` in mag, positive where it is fainter.

    Parameters
    ----------
    flux, apart : [rings], of a profile, and how much another exceeds it.
    radius : of the rings.
    """
    found = {}
    for level in LEVELS:
        if (k := place(surface_brightness(flux), level)) is not None:
            found[f"{level:g}"] = float(-MAG * apart[k] / flux[k])
    return found


def at_levels(flux: np.ndarray, apart: np.ndarray, error: np.ndarray, radius: np.ndarray) -> tuple[str, bool]:
    """Differences at `LEVELS` in words, and whether all are within their limits or twice their errors.

    Parameters
    ----------
    flux, apart, error : [rings], of a profile, how much another exceeds it, and the error of that.
    radius : of the rings.
    """
    words, good = [], True
    for level, limit in LEVELS.items():
        k = place(surface_brightness(flux), level)
        if k is None:
            continue
        off, sigma = -MAG * apart[k] / flux[k], MAG * error[k] / flux[k]
        words.append(f"{off:+.2f} ± {sigma:.2f} mag at {level:g} mag/arcsec²")
        good &= bool(abs(off) <= max(limit, 2 * sigma))
    return (", ".join(words) + ".") if words else "the profile does not reach 29 mag/arcsec².", good
