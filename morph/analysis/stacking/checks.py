"""The nine checks that make a stack trusted, each a test on the data of the stack itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

from morph.analysis.stacking.combine import KINDS, Cells, Profile, chi_square, combine, standard_error, weights_of
from morph.analysis.stacking.comparisons import (
    LEVELS,
    Check,
    Curve,
    above_random,
    at_levels,
    compared,
    main_band,
    offsets,
    place,
)
from morph.analysis.stacking.profile import Result, surface_brightness
from morph.analysis.stacking.psf import StarStack, ring_means
from morph.analysis.stacking.sample import FEWEST
from morph.analysis.stacking.sources import GROWTHS, USED
from morph.console import counted

#: Probabilities of being smooth above which the stack is made again.
THRESHOLDS = (0.5, 0.8, 0.95)
#: Parts of the reach in which an annulus is the sky.
ANNULI = ((0.6, 0.8), (0.8, 1.0))
#: A probability below this is no chance.
CHANCE = 0.05
#: The sky's subtraction has eaten a halo where it takes more than this part of the light at `DEEP` mag per square
#: arcsec, or leaves the outermost rings below zero by so many sigma.
EATEN, DEEP, TROUGH = 0.1, 30.0, 3.0


def run_checks(result: Result, null: Profile) -> list[Check]:
    """All nine, in order.

    Parameters
    ----------
    result : the stack.
    null : the stack of random points.
    """
    made: list[Callable[[], Check]] = [
        lambda: check_null(result, null),
        lambda: check_injected(result),
        lambda: check_stars(result),
        lambda: check_noise(result),
        lambda: check_masks(result),
        lambda: check_kinds(result),
        lambda: check_annuli(result),
        lambda: check_halves(result),
        lambda: check_types(result),
    ]
    return [make() for make in made]


def check_null(result: Result, null: Profile) -> Check:
    """1: a stack at random points is zero."""
    common = result.measured.sky_level_error(result.measured.null_tile)
    tests = [chi_square(null, k, float(common[k])) for k in range(len(result.bands))]
    usable = [(value, rings) for value, rings, p in tests if np.isfinite(p)]
    words = ", ".join(
        f"{band} χ² = {value:.1f} of {rings} rings, p = {p:.2f}"
        for band, (value, rings, p) in zip(result.bands, tests, strict=True)
        if np.isfinite(p)
    )
    curves = tuple(Curve(band, result.radius, null.flux[k], null.error[k]) for k, band in enumerate(result.bands))
    if not usable:
        text = f"{counted(len(null.influence), 'random point')} are too few."
        return Check("null", "Null stack at random points", None, text, curves)
    # Of three bands one is below 0.05 by chance in one case of seven: the smallest counts times their number.
    smallest = min(p for _, _, p in tests if np.isfinite(p))
    passed = smallest * len(usable) > CHANCE
    text = f"{counted(len(null.influence), 'random point')} of the same tiles: {words}. "
    text += "It is zero within its errors." if passed else "It is not zero: light below its level is not a halo."
    return Check("null", "Null stack at random points", passed, text, curves, values={"p": [t[2] for t in tests]})


def check_injected(result: Result) -> Check:
    """2: injected haloes are recovered; and what the survey's own subtraction of the sky takes of them."""
    measured, band = result.measured, main_band(result)
    title = "Injected haloes recovered"
    if len(measured.injected) < 3:
        return Check("injected", title, None, "There are too few random points to put haloes at.")
    cover = measured.injected_cover[:, USED] * (measured.null_cover[measured.injected, USED] > 0)
    before = measured.null_mean[measured.injected, USED] + measured.injected_others
    paired = Cells(measured.injected_mean[:, USED] - before, cover)
    found = combine(paired, "mean")
    truth = combine(Cells(measured.injected_truth, cover), "mean")
    apart = found - truth
    words, good = at_levels(truth.flux[band], apart.flux[band], apart.error[band], result.radius)
    text = (
        f"{counted(len(measured.injected), 'halo', 'haloes')} put at random points, masked and measured anew: {words}"
    )
    values: dict[str, Any] = {"offset": offsets(truth.flux[band], apart.flux[band], result.radius)}
    eaten, sentence = survey_sky(result)
    curves: tuple[Curve, ...] = (
        Curve("injected", result.radius, surface_brightness(truth.flux[band])),
        Curve("recovered", result.radius, surface_brightness(found.flux[band])),
    )
    if len(measured.injected_eaten):
        left = truth.flux - measured.injected_eaten.mean(axis=(0, -1))
        curves += (Curve("if put there before the sky was subtracted", result.radius, surface_brightness(left[band])),)
    values["eaten"] = eaten
    return Check("injected", title, good, f"{text} {sentence}", curves, "brightness", values)


def survey_sky(result: Result) -> tuple[bool | None, str]:
    """Whether the survey's own subtraction of the sky has eaten the halo, and a sentence that bounds it."""
    band, mesh = main_band(result), result.measured.plan.mesh
    outer = result.edges[:-1] >= 0.75 * result.edges[-1]
    level, error = result.stacked.mean_over(outer, result.areas)
    deep = np.hypot(error[band], result.sky_error[band])
    trough = bool(deep > 0 and level[band] < -TROUGH * deep)
    dip = (
        f"The outermost rings are {-level[band] / deep:.1f} sigma below the sky: a subtraction of the sky has eaten "
        "light there."
        if trough
        else ""
    )
    if not mesh:
        return trough, dip or "The sky is said not to have been subtracted."
    lost, flux = result.lost[band], result.flux[band]
    if not np.isfinite(lost).any():
        return (True if trough else None), dip
    at = place(surface_brightness(flux), DEEP)
    k = at if at is not None else int(np.argmin(abs(surface_brightness(np.maximum(flux, 1e-12)) - DEEP)))
    share = float(max(lost[k], 0) / max(flux[k] + max(lost[k], 0), 1e-12))
    said = (
        f"A subtraction of the sky in a mesh of {mesh} pixels takes up to {share:.0%} of the light at "
        f"{surface_brightness(flux)[k]:.1f} mag/arcsec², at a radius of {result.radius[k]:.1f}: "
    )
    if share > EATEN:
        said += "where the survey did that, it has eaten part of the halo, and the profile is a lower limit there."
    else:
        said += "the halo is safe from it."
    return trough or share > EATEN, f"{dip} {said}".strip()


def check_stars(result: Result) -> Check:
    """3: the wings of the point-spread function, by which the profile is corrected."""
    band = main_band(result)
    name = result.bands[band]
    stack = result.stars[name]
    if stack is None:
        return Check("stars", "Star stack: wings of the PSF", None, "There are too few stars.")
    radius = np.sqrt((stack.edges[:-1] ** 2 + stack.edges[1:] ** 2) / 2)
    share = np.divide(result.wings, np.maximum(result.stacked.flux, 1e-12))
    places = [(level, place(surface_brightness(result.flux[band]), level)) for level in LEVELS]
    words = ", ".join(
        f"{share[band, k]:.0%} of the light at {level} mag/arcsec²" for level, k in places if k is not None
    )
    text = (
        f"{counted(stack.stars, 'star')} in {name}: {stack.beyond(10.0):.1%} of a star's light lies beyond 10 arcsec. "
        f"The wings carry {words or 'less than is measured'}; this is subtracted."
    )
    # Wings that are most of the light leave nothing to be trusted.
    worst = max((abs(share[band, k]) for _, k in places if k is not None), default=0.0)
    curves = (
        Curve("stars", radius, stack.profile, stack.error),
        Curve("fit", radius, _star_fit(stack)),
    )
    return Check("stars", "Star stack: wings of the PSF", bool(worst < 0.5), text, curves, "stars", {"share": worst})


def _star_fit(stack: StarStack) -> np.ndarray:
    light = np.nansum(np.maximum(stack.profile, 0) * np.pi * np.diff(stack.edges**2))
    return ring_means(stack.edges, stack.widths) @ stack.weights * light


def check_noise(result: Result) -> Check:
    """4: bootstrap over galaxies; the noise of the outer rings falls as N^-1/2, until it stops."""
    measured, band = result.measured, main_band(result)
    members = np.flatnonzero(measured.chosen)
    # Neighbours on the sky share what is wrong with the sky: blocks of them show it, random groups cannot.
    order = members[np.lexsort((measured.sample.ra[members], measured.sample.dec[members], measured.tile[members]))]
    outer = result.edges[:-1] >= 0.6 * result.edges[-1]
    weights = np.where(outer, result.areas, 0) / result.areas[outer].sum()
    single = (result.stacked.influence[order, band] * weights).sum(axis=1) * len(members) / len(measured.sample)
    sizes, noise = [], []
    size = 1
    while len(order) // size >= 6:
        blocks = single[: len(order) // size * size].reshape(-1, size).mean(axis=1)
        sizes.append(size)
        noise.append(float(np.std(blocks, ddof=1)))
        size *= 2
    title = "Bootstrap: noise against number"
    if len(sizes) < 2:
        return Check("noise", title, None, "There are too few galaxies.", kind="noise")
    x, y = np.array(sizes, dtype=float), np.array(noise)
    law = y[0] / np.sqrt(x)
    blocks_left = len(order) / x
    # The scatter of b values is known to 1 / sqrt(2 (b - 1)) of itself.
    excess = (y / law - 1) * np.sqrt(2 * (blocks_left - 1))
    above = np.flatnonzero((excess > 2) & (y > 1.3 * law))
    stops = int(x[above[0]]) if len(above) else None
    total = float(np.hypot(standard_error(single), result.sky_error[band]))
    text = (
        f"The error of the outer rings in {result.bands[band]} is {total:.2g} nanomaggies/arcsec², "
        f"{surface_brightness(np.array(total)):.1f} mag/arcsec²; one galaxy's is "
        f"{surface_brightness(np.array(y[0])):.1f}, {2.5 * np.log10(y[0] / total):.2f} mag brighter. "
    )
    if stops is None:
        text += (
            f"In blocks of neighbours it falls as N^-1/2 up to {int(x[-1])} galaxies, the most that this stack has."
        )
    else:
        text += f"In blocks of neighbours it stops to fall as N^-1/2 at {stops} galaxies."
    curves = (Curve("blocks of neighbours", x, y), Curve("N^-1/2", x, law))
    values = {"stops": stops, "beyond_one": 2.5 * np.log10(y[0] / total), "error": total}
    return Check("noise", title, stops is None, text, curves, "noise", values)


def check_masks(result: Result) -> Check:
    """5: masks grown once, twice, three times."""
    members = result.measured.chosen
    measured, kind = result.measured, result.kind
    profiles, levels = {}, {}
    for k, growth in enumerate(GROWTHS):
        profiles[f"×{growth}"] = combine(measured.cells(k), kind, members)
        levels[f"×{growth}"] = combine(measured.null_cells(k), kind)
    note = f"×{GROWTHS[USED]} is used; each above its own random points."
    return above_random(
        "masks", "Masks grown ×1, ×2, ×3", result, profiles, levels, f"×{GROWTHS[USED]}", note, judged=("×3",)
    )


def check_kinds(result: Result) -> Check:
    """6: the mean against the median against the clipped mean."""
    cells, members = result.measured.cells(), result.measured.chosen
    profiles = {kind: combine(cells, kind, members) for kind in KINDS}
    levels = {kind: combine(result.measured.null_cells(), kind) for kind in KINDS}
    note = "Each above its own random points. A median differs where galaxies differ in brightness; that is no fault."
    judged = ("mean",) if result.kind == "clipped" else ("clipped",)
    return above_random("kinds", "Mean, median and clipped mean", result, profiles, levels, result.kind, note, judged)


def check_annuli(result: Result) -> Check:
    """7: the sky from an inner and from an outer annulus instead of random points."""
    measured, members = result.measured, result.measured.chosen
    cells = measured.cells()
    profiles = {"random points": result.stacked}
    for name, (low, high) in zip(("inner annulus", "outer annulus"), ANNULI, strict=True):
        rings = (result.edges[:-1] >= low * result.edges[-1]) & (result.edges[:-1] < high * result.edges[-1])
        weights = weights_of(cells, "clipped")[:, :, rings] * result.areas[rings][:, None]
        level = (weights * cells.mean[:, :, rings]).sum(axis=(2, 3)) / np.maximum(weights.sum(axis=(2, 3)), 1e-9)
        profiles[name] = combine(Cells(cells.mean - level[:, :, None, None], cells.cover), result.kind, members)
    others = {name: profile - result.stacked for name, profile in profiles.items() if name != "random points"}
    note = "An annulus takes the halo's own light in it for sky, so that it can only be fainter."
    check = compared("annuli", "Inner and outer annulus of sky", result, profiles, others, note, judged=())
    band = main_band(result)
    inside = result.edges[1:] <= ANNULI[0][0] * result.edges[-1]
    # What an annulus takes is the stack's own light in it: beyond that the two must agree.
    passed = True
    for name, (low, high) in zip(("inner annulus", "outer annulus"), ANNULI, strict=True):
        rings = (result.edges[:-1] >= low * result.edges[-1]) & (result.edges[:-1] < high * result.edges[-1])
        expected = result.stacked.mean_over(rings, result.areas)[0][band]
        shift, error = others[name].mean_over(inside, result.areas)
        passed &= bool(abs(shift[band] + expected) <= 3 * max(error[band], 1e-12))
    text = check.text + (
        " The differences are the light in the annuli." if passed else " The differences are not the light in them."
    )
    return Check(check.name, check.title, passed, text, check.curves, check.kind, check.values)


def check_halves(result: Result) -> Check:
    """8: two halves of the sky."""
    measured, members = result.measured, result.measured.chosen
    ra, dec = measured.sample.ra, measured.sample.dec
    turned = np.unwrap(np.radians(ra), period=2 * np.pi) * np.cos(np.radians(np.median(dec[members])))
    along = np.degrees(turned) if np.ptp(np.degrees(turned)[members]) > np.ptp(dec[members]) else dec
    first = along <= np.median(along[members])
    title = "Two halves of the sky"
    if min((members & first).sum(), (members & ~first).sum()) < FEWEST:
        return Check("halves", title, None, "There are too few galaxies in one half.")
    cells = measured.cells()
    halves = [combine(cells, result.kind, members & part) for part in (first, ~first)]
    apart = halves[0] - halves[1]
    band = main_band(result)
    common = np.hypot(*(measured.sky_level_error(measured.tile[members & part])[band] for part in (first, ~first)))
    value, rings, p = chi_square(apart, band, float(common))
    if not np.isfinite(p):
        return Check("halves", title, None, "There are too few galaxies for its covariance.")
    words, _ = at_levels(result.stacked.flux[band], apart.flux[band], apart.error[band], result.radius)
    curves = tuple(
        Curve(name, result.radius, surface_brightness(half.flux[band]))
        for name, half in zip(("first half", "second half"), halves, strict=True)
    )
    passed = p > CHANCE / 5
    text = f"In {result.bands[band]} their difference has χ² = {value:.1f} of {rings} rings, p = {p:.2f}: {words}"
    return Check("halves", title, passed, text, curves, "brightness", {"p": p})


def check_types(result: Result) -> Check:
    """9: the stack again with stricter and looser probabilities of being smooth."""
    measured = result.measured
    smooth = measured.sample.smooth
    title = "Probability of being smooth above 0.5, 0.8, 0.95"
    if not np.isfinite(smooth).all():
        text = "The table has no calibrated probability smooth_or_featured_smooth of every galaxy."
        return Check("types", title, None, text)
    cells = measured.cells()
    profiles, counts = {}, {}
    for threshold in THRESHOLDS:
        members = smooth > threshold
        if members.sum() >= FEWEST:
            name = f"p > {threshold:g}"
            profiles[name] = combine(cells, result.kind, members)
            counts[name] = (int(members.sum()), float(1 - smooth[members].mean()))
    if len(profiles) < 2:
        return Check("types", title, None, "There are too few galaxies above two of the probabilities.")
    corrected = Profile(result.stacked.flux + result.impurity, result.influence, result.stacked.number)
    listed = ", ".join(
        f"{name}: {n:,} galaxies, {wrong:.1%} of them wrong types" for name, (n, wrong) in counts.items()
    )
    names = list(profiles)
    others = {name: profiles[name] - corrected for name in names}
    certain = bool(result.impurity.any())
    profiles = {**profiles, "p = 1" if certain else "the stack": corrected}
    note = f"{listed}; all against {'p = 1, which a straight line in p leads to' if certain else 'the stack'}."
    return compared("types", title, result, profiles, others, note, judged=(names[-1],))
