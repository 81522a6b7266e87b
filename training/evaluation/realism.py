"""How much sampled galaxies look like real ones, every figure beside its floor: the same between halves of the real.

Both sets are observed: fluxes with noise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, TREE, tree_probabilities
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.experts import MEASUREMENTS
from morph.model.inference import infer
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.photometry import fluxes_within, intensity, measure
from morph.stamps.stretch import centre_crop
from morph.surveys import magnitude
from training.evaluation.realism_distances import (
    between_halves,
    kernel_distance,
    separability,
    standardised,
    wasserstein,
)
from training.evaluation.realism_statistics import POWER, STATISTICS, power_spectra, statistics
from training.metrics.estimates import Estimate

#: Galaxies of either kind that a measurement needs, and bins of magnitude in which it is repeated.
FEWEST, BINS = 60, 5
#: Kinds of galaxies whose share is compared: their name and the answers that make them.
KINDS = {
    "spirals": ("has-spiral-arms_yes",),
    "bars": ("bar_strong", "bar_weak"),
    "edge-on": ("disk-edge-on_yes",),
}
#: Resamples of the bootstrap of what is asked for and measured.
_RESAMPLES = 200


@dataclass(frozen=True)
class Figure:
    """A figure of the samples with its 95 % interval, and the same between halves of the real galaxies, or of them
    alone where it compares a galaxy with its properties."""

    estimate: Estimate
    floor: float

    @classmethod
    def of(cls, values: np.ndarray, floors: np.ndarray, n: int) -> "Figure":
        """Of distances between halves.

        Parameters
        ----------
        values, floors : of samples and of real galaxies, as `between_halves` gives them.
        n : how many samples.
        """
        return cls(Estimate.of(np.nanmean(values), values, n), float(np.nanmean(np.abs(floors))))

    @property
    def value(self) -> float:
        return self.estimate.value

    def __str__(self) -> str:
        interval = f"({self.estimate.low:.3g} to {self.estimate.high:.3g})"
        return f"{self.value:9.3g}  {interval:22} floor {self.floor:.3g}"


@dataclass(frozen=True)
class Realism:
    """What `measure_realism` measures.

    Attributes
    ----------
    figures : by name:

        - ``wasserstein``, ``wasserstein/<statistic>``, ``wasserstein/bin <k>``: Wasserstein distance over the real
          galaxies' standard deviation, as a mean over `STATISTICS`, of each, and as a mean in each of five bins of
          magnitude.
        - ``kernel distance``: squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018) on the
          features of a network that did not train with the decoder.
        - ``auc``: how well a fresh convolutional network separates samples from real galaxies, among those that it was
          not trained on: 0.5 for not at all.
        - ``power``: the largest deviation of the median power spectrum from 1/32 to 1/4 cycle a pixel, a fraction.
        - ``share/<kind>``: difference of the share of spirals, bars and edge-on galaxies, percentage points.
        - ``asked/magnitude``, ``asked/radius``, ``asked/redshift``: median difference between what is measured on a
          sample and its property: mag, dex, (1 + z).
        - ``asked/redshift coverage``: the share of redshifts within the central 68 % of the posterior given the image.
        - ``asked/votes``: calibration error of the classifier's answers against the samples' votes.

    real, sampled : how many galaxies.
    """

    figures: dict[str, Figure]
    real: int
    sampled: int

    def lines(self) -> list[str]:
        """One line a figure."""
        first = (
            f"{self.sampled:,} samples and {self.real:,} real galaxies; each figure with its 95 % interval and floor."
        )
        return [first, *(f"{name:26} {figure}" for name, figure in self.figures.items())]


def measure_realism(
    classifier: Classifier, real: Galaxies, sampled: Galaxies, judge: Classifier | None = None, seed: int = 0
) -> Realism:
    """Compare sampled galaxies with real ones.

    Parameters
    ----------
    classifier : the model that drew the samples.
    real, sampled : fluxes of one survey, observed with noise.
    judge : a model that did not train with the decoder, for the kernel distance; a network with random weights if not
        given.
    seed : of the halves and of the fresh network.

    Raises
    ------
    InputError : either set has fewer than `FEWEST` galaxies, or is not one of fluxes.
    """
    for each in (real, sampled):
        if each.kind != "flux" or len(each) < FEWEST:
            raise InputError(
                f"Realism is measured on {FEWEST} fluxes or more of each kind; '{each.about.get('path')}' has "
                f"{len(each)} of {each.kind}."
            )
    random = np.random.default_rng(seed)
    n = min(len(real), len(sampled))
    real, sampled = (each.select(np.sort(random.permutation(len(each))[:n])) for each in (real, sampled))

    def compared(distance: Callable, one: np.ndarray, other: np.ndarray) -> Figure:
        return Figure.of(*between_halves(distance, one, other, random), n)

    figures = _wasserstein_figures(statistics(real), statistics(sampled), random)
    features = standardised(*(_features(judge, each.images, seed) for each in (real, sampled)))
    figures["kernel distance"] = compared(kernel_distance, *features)
    order = random.permutation(n)
    halves = (real.images[order[: n // 2]], real.images[order[n // 2 :]])
    floor = separability(*halves, random).value
    figures["auc"] = Figure(separability(real.images, sampled.images, random), floor)
    spectra = [power_spectra(centre_crop(each.images, NETWORK_SIZE)) for each in (real, sampled)]
    figures["power"] = compared(power_deviation, *spectra)
    shares = [tree_probabilities(classifier.answer(each.images)["probabilities"]) for each in (real, sampled)]
    for kind, answers in KINDS.items():
        places = [ANSWERS.index(answer) for answer in answers]
        figures[f"share/{kind}"] = compared(_share_difference, *(s[:, places].sum(axis=1) for s in shares))
    return Realism(figures | _asked(classifier, real, sampled, seed), n, n)


def _wasserstein_figures(real: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> dict[str, Figure]:
    values, floors = between_halves(wasserstein, real, drawn, random)
    n = len(drawn)
    figures = {"wasserstein": Figure.of(np.nanmean(values, axis=1), np.nanmean(floors, axis=1), n)}
    for place, name in enumerate(STATISTICS):
        figures[f"wasserstein/{name}"] = Figure.of(values[:, place], floors[:, place], n)
    bright = STATISTICS.index("magnitude")
    edges = np.nanquantile(real[:, bright], np.linspace(0, 1, BINS + 1)[1:-1])
    bins = [np.digitize(each[:, bright], edges) for each in (real, drawn)]
    for number in range(BINS):
        one, other = (each[which == number] for each, which in zip((real, drawn), bins, strict=True))
        if min(len(one), len(other)) >= 8:
            values, floors = (np.nanmean(each, axis=1) for each in between_halves(wasserstein, one, other, random))
            figures[f"wasserstein/bin {number + 1}"] = Figure.of(values, floors, len(other))
    return figures


def _features(judge: Classifier | None, images: np.ndarray, seed: int) -> np.ndarray:
    """Features of a network that knows nothing of the decoder: [n, d]."""
    if judge is None:
        keras.utils.set_random_seed(seed)
        judge = Classifier()
    return judge.anomaly_features(images)[:, : judge.encoder.output["features"].shape[-1]]


def power_deviation(real: np.ndarray, drawn: np.ndarray) -> float:
    """The largest deviation of the ratio of two sets' median power spectra [n, bins] from 1."""
    ratio = np.median(drawn, axis=0) / np.median(real, axis=0)
    assert len(ratio) == len(POWER) - 1
    return float(np.abs(ratio - 1).max())


def _share_difference(real: np.ndarray, drawn: np.ndarray) -> float:
    return 100 * float(drawn.mean() - real.mean())


def _asked(classifier: Classifier, real: Galaxies, sampled: Galaxies, seed: int) -> dict[str, Figure]:
    """What is measured on samples against their properties, and the same of the real galaxies as a floor."""
    found, floors = (_against_properties(classifier, galaxies, seed) for galaxies in (sampled, real))
    random = np.random.default_rng(seed)
    figures = {}
    for name, (rows, figure) in found.items():
        resampled = [figure(rows[random.integers(len(rows), size=len(rows))]) for _ in range(_RESAMPLES)]
        own_rows, own = floors[name]
        estimate = Estimate.of(figure(rows), np.array(resampled), len(rows))
        figures[f"asked/{name}"] = Figure(estimate, float(own(own_rows)))
    return figures


def _against_properties(
    classifier: Classifier, galaxies: Galaxies, seed: int
) -> dict[str, tuple[np.ndarray, Callable[[np.ndarray], float]]]:
    """By name: what was measured of each galaxy, one row each, and the figure of such rows."""
    properties, redshift = galaxies.properties, galaxies.properties["redshift"]
    inferred = infer(classifier, {"image": galaxies.images}, draws=64, seed=seed, surveys=galaxies.surveys).redshift
    low, middle, high = np.quantile(inferred, [0.16, 0.5, 0.84], axis=1)
    inside = np.where(np.isfinite(redshift), (redshift >= low) & (redshift <= high), np.nan)
    flux, radius = _measured(galaxies)
    probabilities = classifier.answer(galaxies.images)["probabilities"]
    votes = np.concatenate([galaxies.votes[:, : len(ANSWERS)], probabilities], axis=1)
    return {
        "magnitude": (magnitude(flux) - properties[MEASUREMENTS[1]], np.nanmedian),
        "radius": (np.log10(radius / properties["radius"]), np.nanmedian),
        "redshift": ((middle - redshift) / (1 + redshift), np.nanmedian),
        "redshift coverage": (inside, np.nanmean),
        "votes": (votes, lambda rows: _calibration_error(*np.split(rows, 2, axis=1))),
    }


def _measured(galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """The flux in r (twice that within the stamp's half-light radius), and the measured radius in arcsec: [n]."""
    radius = NETWORK_SIZE / FIELD
    flux, sizes = [], []
    for image, scale in zip(galaxies.images, galaxies.properties["pixel_scale"], strict=True):
        middle = (image.shape[0] - 1) / 2
        edge = np.concatenate([image[:4, :, 1].ravel(), image[-4:, :, 1].ravel()])
        flux.append(2 * fluxes_within(image[..., 1] - np.nanmedian(edge), middle, middle, radius)[0])
        sizes.append(measure(intensity(image)).radius * scale)
    return np.array(flux), np.array(sizes)


def _calibration_error(votes: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean difference of vote shares and probabilities in ten bins of the probability, of questions that ten or more
    volunteers answered."""
    error, total = 0.0, 0
    for part in TREE.slices.values():
        counts = np.nan_to_num(votes[:, : len(ANSWERS)][:, part])
        asked = counts.sum(axis=1) >= 10
        if not asked.any():
            continue
        share = (counts[asked] / counts[asked].sum(axis=1, keepdims=True)).ravel()
        given = probabilities[asked, part].ravel()
        number = np.minimum((given * 10).astype(int), 9)
        for k in np.unique(number):
            inside = number == k
            error += abs(share[inside].mean() - given[inside].mean()) * inside.sum()
            total += int(inside.sum())
    return error / max(total, 1)
