"""Decoded images against their originals: what an astronomer measures on them, and what the model answers."""

from typing import TYPE_CHECKING

import numpy as np

from morph.dataset import Galaxies
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.signal_to_noise import border, flux_and_noise
from training.evaluation.retrieval import of_types
from training.fitting.batches import linear
from training.metrics import votes as metrics
from training.metrics.categories import four_classes_of_votes
from training.metrics.estimates import RESAMPLES, Estimate

if TYPE_CHECKING:
    from morph.model.classifier import Classifier

#: Galaxies with less light within the half-light radius, in units of its noise, are not measured.
LEAST_SIGNAL = 50.0
#: The half-light radius that a stamp is cut for, in pixels, and the radius within which light is added up.
RADIUS = NETWORK_SIZE / FIELD
APERTURE = 2 * RADIUS


def measure_decoded(
    classifier: "Classifier", galaxies: Galaxies, images: np.ndarray, seed: int = 0
) -> dict[str, Estimate]:
    """Compare decoded images with their originals.

    Parameters
    ----------
    classifier : whose answers are compared.
    galaxies : with the originals.
    images : decoded, of the same kind, [n, size, size, 3].
    seed : of the bootstrap.

    Returns
    -------
    With 95 % intervals: ``magnitude`` (mag), ``radius`` (share) and ``ellipticity``, the medians of the differences of
    the middle band's magnitude and the half-light radius, and of the length of the difference of the ellipticities, of
    galaxies of `LEAST_SIGNAL` or more; ``scatter/magnitude`` and so on, half of the middle 68 % of the differences.
    Where there are votes: ``accuracy/original`` and ``accuracy/decoded`` of the four classes, and ``ndcg/original``
    and ``ndcg/decoded``, the mean over classes of nDCG@10 by one example.
    """
    random = np.random.default_rng(seed)
    originals = classifier.central(galaxies.images)
    found = _shapes(originals, images, random)
    if not np.isfinite(four_classes_of_votes(galaxies.votes)).any():
        return found
    for name, stamps in (("original", originals), ("decoded", images)):
        answers = classifier.answer(stamps)
        figures = metrics.measure(galaxies.votes, answers["probabilities"], answers["concentration"])
        if f"{metrics.FOUR_CLASS}/accuracy" in figures:
            found[f"accuracy/{name}"] = figures[f"{metrics.FOUR_CLASS}/accuracy"]
        shares = four_classes_of_votes(galaxies.votes)
        rows = dict(of_types(answers["similarity"], shares, np.random.default_rng(seed)))
        each = [figure for row, figure in rows.items() if row.startswith("ndcg/")]
        if each:
            value, low, high = (np.mean([getattr(f, part) for f in each]) for part in ("value", "low", "high"))
            found[f"ndcg/{name}"] = Estimate(float(value), float(low), float(high), sum(f.n for f in each))
    return found


def _shapes(originals: np.ndarray, images: np.ndarray, random: np.random.Generator) -> dict[str, Estimate]:
    before, after = linear(originals), linear(images)
    flux, noise, _, _ = flux_and_noise(before)
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = flux[:, 1] >= LEAST_SIGNAL * noise[:, 1]
    bright &= np.isfinite(before).all(axis=(1, 2, 3)) & np.isfinite(after).all(axis=(1, 2, 3))
    if not bright.any():
        return {}
    (light, radius, ellipticity), (light_after, radius_after, ellipticity_after) = (
        shapes(each[bright]) for each in (before, after)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = {
            "magnitude": -2.5 * np.log10(light_after / light),
            "radius": radius_after / radius - 1,
            "ellipticity": np.hypot(*(ellipticity_after - ellipticity).T),
        }
    found = {}
    for name, values in differences.items():
        values = values[np.isfinite(values)]
        samples = values[random.integers(len(values), size=(RESAMPLES, len(values)))]
        found[name] = Estimate.of(np.median(values), np.median(samples, axis=1), len(values))
        half = np.diff(np.quantile(samples, [0.16, 0.84], axis=1), axis=0)[0] / 2
        found[f"scatter/{name}"] = Estimate.of(np.diff(np.quantile(values, [0.16, 0.84]))[0] / 2, half, len(values))
    return found


def shapes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light, half-light radius and ellipticity of the galaxies in the middle of stamps.

    Parameters
    ----------
    images : linear brightness, float32 [n, size, size, 3], without missing pixels; their sky is subtracted.

    Returns
    -------
    light : in the middle band, within two of the half-light radii that stamps are cut for: [n].
    radius : that holds half of it, pixels, [n].
    ellipticity : (a² - b²) / (a² + b²) along the axes and the diagonals, from second moments of the mean of the bands
        under a Gaussian as wide as that half-light radius: [n, 2].
    """
    size = images.shape[1]
    images = images - border(images)[0]
    offset = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    distance = np.hypot(x, y).ravel()
    order = np.argsort(distance, kind="stable")
    inside = order[distance[order] < APERTURE]
    growth = np.cumsum(images[..., 1].reshape(len(images), -1)[:, inside], axis=1, dtype=float)
    light = growth[:, -1]
    # The first pixel from which on half of the light is within.
    reached = (growth >= 0.5 * light[:, None]).argmax(axis=1)
    before = np.take_along_axis(growth, np.maximum(reached - 1, 0)[:, None], axis=1)[:, 0]
    after = np.take_along_axis(growth, reached[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        # A circle around so many pixels, the last of them in part.
        radius = np.sqrt((reached + np.clip((0.5 * light - before) / (after - before), 0, 1)) / np.pi)
        weighted = images.mean(axis=-1) * np.exp(-0.5 * (x**2 + y**2) / RADIUS**2)
        xx, yy, xy = ((weighted * moment).sum(axis=(1, 2)) for moment in (x * x, y * y, x * y))
        ellipticity = np.stack([xx - yy, 2 * xy], axis=1) / (xx + yy)[:, None]
    return light, np.where(light > 0, radius, np.nan), ellipticity
