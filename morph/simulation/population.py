"""Which galaxies there are: how bright, how large, how far, and what they are made of.

`draw_scene` draws one. A `Mix` says how often each kind comes up; "survey" is tuned so that the votes look like
Galaxy Zoo's (see `morph.simulation.votes`), "balanced" shows every answer of the tree often enough to learn it.
"""

from dataclasses import dataclass, replace

import numpy as np

from morph.errors import InputError
from morph.simulation.observe import ARTIFACTS
from morph.simulation.scenes import Arms, Bar, Bulge, Colours, Companion, Disk, Ring, Scene, Tail
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey


@dataclass(frozen=True)
class Mix:
    """How often each kind of galaxy comes up (`kinds` sum to one), and each feature among face-on disks.

    `size` multiplies all radii: larger galaxies show more.
    """

    name: str
    kinds: dict[str, float]
    arms: float
    bar: float
    ring: float
    disturbed: float
    size: float = 1.0


_KINDS = ("elliptical", "lenticular", "disk", "edge-on", "irregular", "merger", "artifact")


def _kinds(*shares: float) -> dict[str, float]:
    return dict(zip(_KINDS, shares, strict=False))


MIXES = {
    mix.name: mix
    for mix in (
        Mix("survey", _kinds(0.32, 0.14, 0.36, 0.11, 0.02, 0.04, 0.01), arms=0.8, bar=0.4, ring=0.06, disturbed=0.07),
        Mix("balanced", _kinds(0.15, 0.07, 0.44, 0.14, 0.04, 0.1, 0.06), 0.82, 0.5, 0.16, 0.18, size=1.35),
    )
}

#: The galaxies of a field: those of the "survey" mix without its spoiled images.
FIELD_MIX = replace(
    MIXES["survey"],
    name="field",
    kinds=_kinds(0.32, 0.13, 0.42, 0.08, 0.02, 0.03),
)

#: Magnitudes in r of the galaxies that volunteers are shown; Galaxy Zoo 2 stops at 17.
MAGNITUDES = {"sdss": (13.5, 17.3), "decals": (13.5, 17.7), "des": (15.0, 19.5), "lsst": (16.0, 21.0)}

#: Slope of log10 of the counts of bright galaxies with magnitude, less than the Euclidean 0.6 since large and
#: bright galaxies are kept first.
COUNTS_SLOPE = 0.45


def get_mix(name: str) -> Mix:
    """The mix called `name`; InputError names the known ones when there is none."""
    try:
        return MIXES[name]
    except KeyError:
        raise InputError(f"Unknown mix '{name}'; use one of {', '.join(MIXES)}.") from None


def draw_scene(
    rng: np.random.Generator, survey: Survey, mix: Mix, magnitudes: tuple[float, float] | None = None
) -> Scene:
    """Draw one galaxy of the kind that volunteers are shown on a survey.

    Parameters
    ----------
    rng : random numbers.
    survey : which decides on magnitudes and sizes.
    mix : the frequencies of the kinds.
    magnitudes : the range of r instead of the survey's.
    """
    kind = str(rng.choice(list(mix.kinds), p=list(mix.kinds.values())))
    if kind == "artifact":
        return _artifact(rng, survey)
    magnitude = _magnitude(rng, *(magnitudes or MAGNITUDES[survey.name]))
    late = kind in ("disk", "edge-on", "irregular")
    redshift = 0.085 * 10 ** (0.17 * (magnitude - 17)) * rng.lognormal(0, 0.35)
    # Fainter galaxies are smaller, and so are distant ones of the same brightness (Shen et al. 2003).
    nearer = (redshift / (0.085 * 10 ** (0.17 * (magnitude - 17)))) ** -0.25
    radius = 10 ** (0.46 - 0.13 * (magnitude - 17) + rng.normal(0, 0.16)) * nearer * (1.15 if late else 0.9)
    base = Scene(
        kind="elliptical",
        flux=10 ** (0.4 * (NANOMAGGY_ZERO_POINT - magnitude)),
        radius=max(radius * mix.size, 0.35),
        angle=rng.uniform(0, 180),
        redshift=redshift,
        old=Colours(
            0.63 + 2.2 * min(redshift, 0.4) + rng.normal(0, 0.07), 0.33 + 0.35 * redshift + rng.normal(0, 0.03)
        ),
        young=Colours(
            max(0.08 + 0.8 * redshift + rng.normal(0, 0.13), -0.12), 0.19 + 0.25 * redshift + rng.normal(0, 0.06)
        ),
        seed=int(rng.integers(2**31)),
        bulge=Bulge(1.0, 1.0, 4.0),
    )
    if kind == "merger":
        return _merger(rng, base, mix)
    scene = _BODIES[kind](rng, base, mix)
    if kind in ("disk", "elliptical", "lenticular") and rng.random() < mix.disturbed:
        scene = _disturb(rng, scene)
    return scene


def _magnitude(rng, bright: float, faint: float) -> float:
    low, high = 10 ** (COUNTS_SLOPE * bright), 10 ** (COUNTS_SLOPE * faint)
    return float(np.log10(rng.uniform(low, high)) / COUNTS_SLOPE)


def _elliptical(rng, base: Scene, mix: Mix) -> Scene:
    axis_ratio = float(np.clip(rng.normal(0.78, 0.16), 0.3, 1.0))
    return replace(base, bulge=Bulge(1.0, 1.0, float(np.clip(rng.normal(3.6, 1.0), 1.5, 6.0)), axis_ratio))


def _lenticular(rng, base: Scene, mix: Mix) -> Scene:
    face = rng.uniform(0.25, 1)
    axis_ratio = float(np.hypot(0.96 * face, 0.28))
    bulge = Bulge(rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.5), rng.uniform(2, 4), np.hypot(0.8 * face, 0.6))
    bar = _bar(rng, bulge.fraction) if rng.random() < 0.5 * mix.bar else None
    disk = Disk(min(axis_ratio, 1.0), young=rng.uniform(0.05, 0.2), clumpiness=0.05)
    return replace(base, kind="disk", bulge=replace(bulge, axis_ratio=min(bulge.axis_ratio, 1.0)), disk=disk, bar=bar)


def _disk(rng, base: Scene, mix: Mix) -> Scene:
    """A spiral somewhere along Hubble's sequence: `late` runs from 0 (Sa) to 1 (Sd)."""
    late = rng.beta(1.3, 1.2)
    face = rng.uniform(0.22, 1)
    axis_ratio = float(min(np.hypot(0.98 * face, 0.18), 1.0))
    fraction = float(np.clip(0.45 * (1 - late) ** 1.5 * rng.lognormal(0, 0.4), 0.0, 0.65))
    bulge = None
    if fraction > 0.01:
        flattening = float(min(np.hypot(0.7 * face, 0.7), 1.0))
        size = float(np.clip(0.12 + 0.45 * fraction + rng.normal(0, 0.04), 0.06, 0.5))
        bulge = Bulge(fraction, size, 1 + 2.5 * (1 - late) * rng.random(), flattening)
    bar = _bar(rng, fraction) if rng.random() < mix.bar else None
    arms = _arms(rng, late, bar) if rng.random() < mix.arms else None
    ring = None
    if rng.random() < mix.ring:
        ring = Ring(rng.uniform(0.1, 0.25), rng.uniform(0.8, 1.6) if bar is None else bar.length * 1.1, 0.12)
    tilt = np.log10(1 / axis_ratio)
    young = Colours(base.young.g_r + 0.12 * (1 - late) + 0.25 * tilt, base.young.r_i + 0.03 * (1 - late) + 0.1 * tilt)
    old = Colours(base.old.g_r - 0.04 - 0.12 * late + 0.15 * tilt, base.old.r_i + 0.06 * tilt)
    return replace(
        base,
        kind="disk",
        bulge=bulge,
        disk=Disk(
            axis_ratio,
            young=float(np.clip(0.35 + 0.4 * late + rng.normal(0, 0.1), 0.15, 0.9)),
            clumpiness=float(np.clip(0.2 + 0.5 * late + rng.normal(0, 0.1), 0.1, 0.9)),
        ),
        bar=bar,
        arms=arms,
        ring=ring,
        knots=int(rng.poisson(4 + 50 * late**1.3)) if arms else int(rng.poisson(8 * late)),
        dust=rng.uniform(0.1, 0.9) if arms else 0.0,
        lopsided=abs(rng.normal(0, 0.08)),
        old=old,
        young=young,
    )


def _bar(rng, bulge: float) -> Bar:
    """A bar, the fainter the more of the light, `bulge`, is in the bulge."""
    length = float(np.clip(rng.normal(0.55, 0.2), 0.2, 1.1))
    fraction = float(np.clip(0.22 * length * rng.lognormal(0.1, 0.5), 0.02, 0.3)) * (1 - 0.6 * bulge)
    return Bar(fraction, length, float(np.clip(rng.normal(0.3, 0.08), 0.15, 0.5)), rng.uniform(0, 180))


def _arms(rng, late: float, bar: Bar | None) -> Arms:
    number = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.06, 0.58, 0.15, 0.1, 0.06, 0.05]))
    pitch = float(np.clip(9 + 18 * late + rng.normal(0, 5), 5, 42))
    handedness = int(rng.choice([-1, 1]))
    inner = rng.uniform(0.12, 0.4)
    phase = rng.uniform(0, 360)
    if bar:
        # Arms spring from the ends of the bar.
        inner = 0.85 * bar.length
        phase = bar.angle - handedness * np.degrees(np.log(bar.length) / np.tan(np.radians(pitch)))
    return Arms(
        number,
        pitch,
        contrast=float(np.exp(rng.normal(1.2 + 0.5 * late, 0.5))),
        phase=float(phase),
        sharpness=rng.uniform(0.7, 2.0),
        irregularity=float(np.clip(rng.normal(0.4 + 0.1 * (number - 2), 0.2), 0.05, 1.0)),
        inner=inner,
        handedness=handedness,
    )


def _edge_on(rng, base: Scene, mix: Mix) -> Scene:
    late = rng.random()
    thickness = float(np.clip(rng.normal(0.16 - 0.04 * late, 0.03), 0.07, 0.25))
    fraction = float(np.clip(0.4 * (1 - late) ** 1.3 * rng.lognormal(0, 0.4), 0, 0.6))
    bulge = None
    if fraction > 0.02:
        boxy = rng.random() < 0.25
        size = 0.15 + 0.4 * fraction
        bulge = Bulge(fraction, size, 1.0 if boxy else rng.uniform(1, 3), rng.uniform(0.5, 0.85), 2.0 if boxy else 0.0)
    return replace(
        base,
        kind="edge-on",
        radius=1.25 * base.radius,
        bulge=bulge,
        disk=Disk(
            1.0, young=0.25 + 0.45 * late, clumpiness=0.2 + 0.5 * late, thickness=thickness, warp=rng.normal(0, 0.012)
        ),
        dust=float(rng.choice([0.0, 1.0]) * rng.uniform(0.4, 2.5)),
        old=Colours(base.old.g_r - 0.08 * late, base.old.r_i + 0.03),
        young=Colours(base.young.g_r + 0.15, base.young.r_i + 0.03),
    )


def _irregular(rng, base: Scene, mix: Mix) -> Scene:
    return replace(
        base,
        kind="irregular",
        bulge=None,
        disk=Disk(rng.uniform(0.4, 0.95), young=rng.uniform(0.7, 0.95), clumpiness=rng.uniform(0.7, 1.2)),
        bar=Bar(0.12, rng.uniform(0.4, 0.8), 0.35, rng.uniform(0, 180)) if rng.random() < 0.3 else None,
        knots=int(rng.integers(10, 60)),
        lopsided=rng.uniform(0.15, 0.6),
        young=Colours(base.young.g_r - 0.08, base.young.r_i - 0.05),
    )


_BODIES = {
    "elliptical": _elliptical,
    "lenticular": _lenticular,
    "disk": _disk,
    "edge-on": _edge_on,
    "irregular": _irregular,
}


def _disturb(rng, scene: Scene, strength: float | None = None) -> Scene:
    """Tidal tails, shells and a drifting disk, from slight (0.2) to violent (1)."""
    strength = rng.uniform(0.2, 1) if strength is None else strength
    start = rng.uniform(0, 360)
    turn = rng.choice([-1, 1])
    count = 1 + int(rng.random() < strength)
    tails = tuple(
        Tail(
            fraction=strength * rng.uniform(0.05, 0.14),
            angle=start + 180 * j + rng.normal(0, 25),
            span=turn * rng.uniform(50, 160),
            opening=rng.uniform(15, 35),
            width=rng.uniform(0.07, 0.16),
        )
        for j in range(count)
    )
    smooth = scene.disk is None
    shells = strength * rng.uniform(0.04, 0.15) if smooth or rng.random() < 0.2 else 0.0
    tails = () if smooth and rng.random() < 0.5 else tails
    # What is torn out of a galaxy is missing from each of its parts.
    left = 1 - shells - sum(tail.fraction for tail in tails)
    return replace(
        scene,
        tails=tails,
        shells=shells,
        bulge=replace(scene.bulge, fraction=left * scene.bulge.fraction) if scene.bulge else None,
        bar=replace(scene.bar, fraction=left * scene.bar.fraction) if scene.bar else None,
        ring=replace(scene.ring, fraction=left * scene.ring.fraction) if scene.ring else None,
        lopsided=0.0 if smooth else scene.lopsided + strength * rng.uniform(0.1, 0.5),
    )


def _merger(rng, base: Scene, mix: Mix) -> Scene:
    """Two galaxies that touch, with or without tails."""
    bodies = rng.choice(["disk", "elliptical", "lenticular"], 2, p=[0.6, 0.25, 0.15])
    ratio = rng.uniform(0.2, 1.0)
    first = _BODIES[str(bodies[0])](rng, base.scaled(1 / (1 + ratio), 0.85), mix)
    other = replace(
        base.scaled(ratio / (1 + ratio), 0.8 * ratio**0.4), angle=rng.uniform(0, 180), seed=int(rng.integers(2**31))
    )
    second = _BODIES[str(bodies[1])](rng, other, mix)
    if rng.random() < 0.75:
        first = _disturb(rng, first, rng.uniform(0.3, 1))
    if rng.random() < 0.5:
        second = _disturb(rng, second, rng.uniform(0.3, 1))
    distance, direction = rng.uniform(0.6, 2.4), rng.uniform(0, 2 * np.pi)
    companion = Companion(second, distance * np.cos(direction), distance * np.sin(direction))
    return replace(first, companions=(companion,))


def _artifact(rng, survey: Survey) -> Scene:
    """Hardly any galaxy, and something that spoils the image."""
    which = str(rng.choice(list(ARTIFACTS), p=list(ARTIFACTS.values())))
    magnitude = MAGNITUDES[survey.name][1] + rng.uniform(1, 3)
    return Scene(
        kind="artifact",
        flux=10 ** (0.4 * (NANOMAGGY_ZERO_POINT - magnitude)),
        radius=rng.uniform(2.5, 7.0),
        angle=rng.uniform(0, 180),
        redshift=float(rng.uniform(0.05, 0.3)),
        old=Colours(rng.normal(0.8, 0.2), rng.normal(0.4, 0.1)),
        young=Colours(0.4, 0.15),
        seed=int(rng.integers(2**31)),
        bulge=Bulge(1.0, 1.0, 2.0, rng.uniform(0.4, 1)),
        artifact=which,
    )
