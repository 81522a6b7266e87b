"""What volunteers would answer about a scene as a survey shows it.

Three steps. `visibility` says how clearly each feature stands out, from its contrast and its width after the
point-spread function and the noise: a smooth law that only rises with both. `answer_probabilities` turns
structure and visibility into the chance that one volunteer gives each answer when asked. `draw_votes` sends some
forty volunteers down the tree: only those who saw features are asked about arms.

Volunteers differ between galaxies more than a multinomial allows, so their chances are first drawn from a
Dirichlet distribution around the mean (as Walmsley et al. 2020 model them). The constants were set so that the
votes of the "survey" mix look like the real ones: see `tests/morph/simulation/test_votes.py`.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import ANSWERS, TREE
from morph.simulation.scenes import Scene
from morph.surveys import Survey
from morph.votes import empty_votes

#: Mean number of volunteers a galaxy, and the scatter of that number.
VOLUNTEERS, SCATTER = 40, 3

#: How much volunteers agree from galaxy to galaxy: the concentration of the Dirichlet.
AGREEMENT = 18.0

#: The share of volunteers who call a galaxy an artifact: on DECam images more do than on SDSS's.
CALLED_ARTIFACT = {"sdss": 0.04, "decals": 0.09, "des": 0.07, "lsst": 0.07}

#: A feature of this contrast is seen by half of the volunteers when noise is no problem ...
HALF_SEEN_CONTRAST = 0.28
#: ... and one of this signal-to-noise when its contrast is none.
HALF_SEEN_SIGNAL = 12.0


@dataclass(frozen=True)
class Visibility:
    """The fraction of volunteers who see each feature of a galaxy, 0 to 1."""

    arms: float = 0.0
    bar: float = 0.0
    ring: float = 0.0
    disk: float = 0.0
    edge: float = 0.0
    clumps: float = 0.0
    tails: float = 0.0
    companion: float = 0.0
    lane: float = 0.0


def seen(contrast: float, width: float, area: float, scene: Scene, survey: Survey) -> float:
    """The share of volunteers who see a feature.

    Parameters
    ----------
    contrast : its brightness over that of what surrounds it, before blurring.
    width : its standard deviation across, arcsec.
    area : square arcsec that it covers.
    """
    blur = survey.seeing[1] / 2.3548
    smeared = contrast * width / np.hypot(width, blur)
    # Half of the light lies within the half-light ellipse.
    brightness = 0.5 * scene.flux / (np.pi * scene.radius**2 * max(scene.axis_ratio, 0.15))
    noise = survey.noise()[1] / survey.pixel_scale
    signal = smeared * brightness * np.sqrt(area) / noise
    clear = 1 / (1 + (HALF_SEEN_CONTRAST / max(smeared, 1e-6)) ** 2.5)
    return float(clear / (1 + (HALF_SEEN_SIGNAL / max(signal, 1e-6)) ** 2))


def visibility(scene: Scene, survey: Survey) -> Visibility:
    """How clearly each feature of `scene` stands out on `survey`."""
    r, q = scene.radius, scene.axis_ratio
    found: dict[str, float] = {}
    squeeze = np.sqrt(q)
    if scene.arms and scene.disk:
        arms, young = scene.arms, scene.disk.young * (1 - scene.bulge_fraction)
        # Arms are as wide as their angular width seen along a radius, and closer when tightly wound.
        width = r * squeeze * np.sin(np.radians(arms.pitch)) / (np.sqrt(arms.sharpness) * max(arms.number, 1.4))
        contrast = young * arms.contrast / (1 + 0.35 * arms.contrast) * (1 - 0.35 * arms.irregularity)
        found["arms"] = seen(0.6 * contrast, 1.4 * width, width * 2 * r, scene, survey)
    if scene.bar:
        bar = scene.bar
        width = 0.35 * r * bar.length * bar.axis_ratio * squeeze
        found["bar"] = seen(5 * bar.fraction / bar.length, width, 4 * width * bar.length * r, scene, survey)
    if scene.ring:
        width = r * scene.ring.width * squeeze
        contrast = 2.5 * scene.ring.fraction / (scene.ring.radius * scene.ring.width * 6)
        found["ring"] = seen(contrast, width, 6 * width * r * scene.ring.radius, scene, survey)
    if scene.kind == "disk":
        # A bulge in a disk of another colour and flatness shows that there is a disk at all.
        distinct = 4 * scene.bulge_fraction * (1 - scene.bulge_fraction) * (1 - 0.75 * q)
        distinct += 0.8 * max(scene.old.g_r - scene.young.g_r, 0) * (scene.disk.young if scene.disk else 0)
        found["disk"] = 0.45 * seen(0.5 * distinct, 0.4 * r * squeeze, r**2 * q, scene, survey)
    if scene.kind == "edge-on":
        thin = scene.disk.thickness * r if scene.disk else r
        found["edge"] = seen(1.6, 0.35 * r, 2 * thin * r, scene, survey) * _rise(r / (thin + survey.seeing[1]), 2.0, 4)
        found["lane"] = seen(0.5 * scene.dust, 0.3 * thin, 0.6 * thin * r, scene, survey)
    if scene.disk and (scene.disk.clumpiness > 0.3 or scene.knots):
        lumps = (scene.disk.clumpiness - 0.2) * scene.disk.young + 0.006 * scene.knots * scene.disk.young
        found["clumps"] = seen(0.7 * lumps, 0.13 * r * squeeze, 0.3 * r**2 * q, scene, survey)
    if scene.tails or scene.shells or scene.lopsided > 0.15:
        light = sum(tail.fraction for tail in scene.tails) + 0.7 * scene.shells
        contrast = 4.0 * light + 0.8 * max(scene.lopsided - 0.1, 0)
        found["tails"] = seen(contrast, 0.3 * r, 0.25 * r**2, scene, survey)
    if scene.companions:
        away = max(np.hypot(c.x, c.y) for c in scene.companions) * r
        share = max(c.scene.flux for c in scene.companions) / scene.flux
        found["companion"] = _rise(away / survey.seeing[1], 0.8, 4) * _rise(share, 0.08, 3)
    return Visibility(**found)


def _rise(value: float, middle: float, steepness: float) -> float:
    """0 to 1, one half at `middle`."""
    return float(1 / (1 + (middle / max(value, 1e-6)) ** steepness))


def ordinal(value: float, edges: tuple[float, ...], softness: float) -> np.ndarray:
    """Chances of ordered answers, where volunteers place a value among edges with a logistic error.

    Parameters
    ----------
    value : what they judge.
    edges : between the answers, rising.
    softness : scale of the error.
    """
    below = 1 / (1 + np.exp(-(np.asarray(edges) - value) / softness))
    return np.diff(np.concatenate([[0.0], below, [1.0]]))


def answer_probabilities(scene: Scene, survey: Survey) -> np.ndarray:
    """The chance that a volunteer gives each answer when asked: float64 [answers], each question sums to one."""
    view = visibility(scene, survey)
    q = scene.axis_ratio
    # Volunteers judge the flattening on the blurred image.
    blur = survey.seeing[1] / 2.3548
    seen_ratio = float(np.hypot(q * scene.radius, blur) / np.hypot(scene.radius, blur))
    odd = max(view.tails, 0.8 * view.companion)

    hidden = 1.0
    for share in (view.arms, 0.75 * view.bar, 0.8 * view.ring, view.disk, 0.92 * view.edge, 0.6 * view.clumps):
        hidden *= 1 - share
    hidden *= 1 - 0.45 * odd
    featured = 0.07 + 0.88 * (1 - hidden)
    if scene.artifact:
        first = np.array([0.08, 0.06, 0.86])
    else:
        artifact = CALLED_ARTIFACT[survey.name] + 0.03 * (1 - featured)
        first = np.array([(1 - featured) * (1 - artifact), featured * (1 - artifact), artifact])

    edge = (
        0.1 + 0.87 * _sharpen(view.edge, 3.0)
        if scene.kind == "edge-on"
        else 0.55 * _rise(0.36 / max(seen_ratio, 0.05), 1.25, 8)
    )
    # Volunteers who see features at all have most often seen the arms.
    arms = 0.12 + 0.86 * _sharpen(view.arms, 8.0) if scene.arms else 0.18 + 0.25 * view.clumps + 0.3 * view.tails
    bar_strength = 0.0 if not scene.bar else view.bar * (0.4 + 0.9 * scene.bar.length)
    bar = ordinal(_sharpen(min(bar_strength, 0.98), 2.0), (0.42, 0.8), 0.11)[::-1]
    bulge = ordinal(np.sqrt(scene.bulge_fraction), (0.04, 0.40, 0.62, 0.85), 0.065)[::-1]
    rounded = ordinal(seen_ratio, (0.4, 0.8), 0.06)[::-1]
    if scene.bulge and scene.kind == "edge-on":
        size = ordinal(np.sqrt(scene.bulge_fraction), (0.25,), 0.07)
        boxy = 0.55 * _rise(scene.bulge.radius * scene.radius / survey.seeing[1], 0.5, 3) * (scene.bulge.boxiness > 0)
        boxy = 0.06 + boxy
        edge_bulge = np.array([boxy * size[1], size[0], (1 - boxy) * size[1]])
    else:
        edge_bulge = np.array([0.06, 0.84, 0.10]) if scene.kind == "edge-on" else np.array([0.1, 0.25, 0.65])
    pitch = scene.arms.pitch if scene.arms else 14.0
    winding = ordinal(pitch, (17.0, 27.0), 2.2 + 3 * (1 - view.arms))
    chances = {
        "smooth-or-featured": first,
        "disk-edge-on": np.array([edge, 1 - edge]),
        "has-spiral-arms": np.array([arms, 1 - arms]),
        "bar": bar,
        "bulge-size": bulge,
        "how-rounded": rounded,
        "edge-on-bulge": edge_bulge,
        "spiral-winding": winding,
        "spiral-arm-count": _arm_count(scene, view),
        "merging": _merging(scene, view),
        "odd-feature": _odd(scene, view),
    }
    return np.concatenate([chances[question.name] for question in TREE])


def _sharpen(share: float, factor: float) -> float:
    """Odds multiplied: those who are asked are those who saw something."""
    return factor * share / (1 + (factor - 1) * share)


def _arm_count(scene: Scene, view: Visibility) -> np.ndarray:
    """Volunteers count the true number when arms are clear, are one off at times, or cannot tell."""
    chances = np.array([0.06, 0.5, 0.1, 0.03, 0.04, 0.27])
    if not scene.arms:
        return chances / chances.sum()
    true = min(scene.arms.number, 5) - 1
    near = np.exp(-0.5 * ((np.arange(5) - true) / (0.3 + 0.15 * true)) ** 2)
    clear = _sharpen(view.arms, 3.0) * (1 - 0.4 * scene.arms.irregularity) * (1 - 0.06 * true)
    counted = np.append(near / near.sum(), 0.0)
    lost = np.array([0.05, 0.42, 0.06, 0.02, 0.05, 0.40])
    return clear * counted + (1 - clear) * lost


def _merging(scene: Scene, view: Visibility) -> np.ndarray:
    """None, minor disturbance, major disturbance, merger."""
    merger = 0.02 + 0.85 * view.companion
    light = sum(tail.fraction for tail in scene.tails) + scene.shells
    disturbed = (1 - merger) * (0.05 + 0.85 * view.tails)
    major = _rise(light + 0.3 * scene.lopsided, 0.24, 4)
    if scene.kind == "irregular":
        major *= 0.5
    return np.array([1 - merger - disturbed, disturbed * (1 - major), disturbed * major, merger])


def _odd(scene: Scene, view: Visibility) -> np.ndarray:
    """None, ring, lens or arc, disturbed, irregular, other, merger, dust lane."""
    shares = np.array([1.0, 0.012, 0.012, 0.012, 0.012, 0.09, 0.015, 0.006])
    shares[1] += 8 * view.ring**2
    shares[3] += 0.9 * view.tails
    shares[4] += 1.5 * view.clumps if scene.kind == "irregular" else 0.05 * view.clumps
    shares[5] += 0.1 * view.tails + (1.0 if scene.artifact else 0.0)
    shares[6] += 3.0 * view.companion
    shares[7] += 1.2 * view.lane
    return shares / shares.sum()


def draw_votes(
    probabilities: np.ndarray, rng: np.random.Generator, volunteers: int | None = None, agreement: float = AGREEMENT
) -> np.ndarray:
    """Votes of `volunteers` (about forty if not given) who go down the tree.

    Parameters
    ----------
    probabilities : [answers], as `answer_probabilities` gives them.
    agreement : concentration of the Dirichlet distribution around them; infinite for a plain multinomial.

    Returns
    -------
    float32 [vote columns], NaN where a question was not asked and for coarse answers, which the tree never asks.
    """
    if volunteers is None:
        volunteers = max(5, round(rng.normal(VOLUNTEERS, SCATTER)))
    votes = empty_votes()
    for question in TREE:
        part = TREE.slices[question.name]
        parents = TREE.leading_to(question)
        asked = int(np.nansum(votes[parents])) if parents else volunteers
        if not asked:
            continue
        chances = np.maximum(probabilities[part], 1e-3)
        chances = chances / chances.sum()
        if np.isfinite(agreement):
            chances = rng.dirichlet(agreement * chances)
        votes[: len(ANSWERS)][part] = rng.multinomial(asked, chances)
    return votes
