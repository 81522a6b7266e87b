"""How much sampled galaxies look like real ones, every figure beside its floor: the same between halves of the real.

Both sets are observed: fluxes with noise. The likelihood decoder's samples are smooth, which is what the figures show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, tree_probabilities
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.model.experts import MEASUREMENTS
from morph.model.inference import infer
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.photometry import fluxes_within, intensity, measure
from morph.stamps.stretch import centre_crop
from morph.surveys import magnitude
from training.evaluation.realism_statistics import POWER, STATISTICS, power_spectra, statistics

#: Galaxies of either kind that a measurement needs, and bins of magnitude in which it is repeated.
FEWEST, BINS = 60, 5
#: Kinds of galaxies whose share is compared: their name and the answers that make them.
KINDS = {
    "spirals": ("has-spiral-arms_yes",),
    "bars": ("bar_strong", "bar_weak"),
    "edge-on": ("disk-edge-on_yes",),
}
#: Epochs and batch of the network that separates samples from real galaxies.
_EPOCHS, _BATCH = 6, 32
#: Splits of the real galaxies into halves whose mean is a floor.
_HALVES = 5


@dataclass(frozen=True)
class Realism:
    """What `measure_realism` measures.

    Attributes
    ----------
    figures : value and floor by name; a floor is NaN where a figure has none.

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

    figures: dict[str, tuple[float, float]]
    real: int
    sampled: int

    def lines(self) -> list[str]:
        """One line a figure."""
        lines = [f"{self.sampled:,} samples and {self.real:,} real galaxies; each figure with its floor."]
        for name, (value, floor) in self.figures.items():
            beside = f"   floor {floor:.3g}" if np.isfinite(floor) else ""
            lines.append(f"{name:32} {value:9.3g}{beside}")
        return lines


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
    figures = _wasserstein_figures(statistics(real), statistics(sampled), random)
    features = [_features(judge, each.images, seed) for each in (real, sampled)]
    figures["kernel distance"] = _with_floor(kernel_distance, features, random)
    figures["auc"] = _auc_figures(real.images, sampled.images, random)
    spectra = [power_spectra(centre_crop(each.images, NETWORK_SIZE)) for each in (real, sampled)]
    figures["power"] = _with_floor(_power_deviation, spectra, random)
    shares = [tree_probabilities(classifier.answer(each.images)["probabilities"]) for each in (real, sampled)]
    for kind, answers in KINDS.items():
        places = [ANSWERS.index(answer) for answer in answers]
        figures[f"share/{kind}"] = _with_floor(_share_difference, [s[:, places].sum(axis=1) for s in shares], random)
    return Realism(figures | _asked(classifier, real, sampled, seed), len(real), len(sampled))


def wasserstein(real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The Wasserstein distance of every statistic over the real galaxies' standard deviation: [statistics].

    Parameters
    ----------
    real, drawn : [n, statistics] and [m, statistics]; NaN is left out.

    >>> wasserstein(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])).tolist()
    [1.0]
    """
    from scipy.stats import wasserstein_distance

    found = []
    for one, other in zip(real.T, drawn.T, strict=True):
        one, other = one[np.isfinite(one)], other[np.isfinite(other)]
        found.append(wasserstein_distance(one, other) / max(one.std(), 1e-12) if len(one) and len(other) else np.nan)
    return np.array(found)


def kernel_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel (x y / d + 1)^3, of features standardised by the
    real galaxies'.

    Parameters
    ----------
    real, drawn : features, [n, d] and [m, d].
    """
    centre, scale = real.mean(axis=0), real.std(axis=0) + 1e-6
    x, y = (real - centre) / scale, (drawn - centre) / scale

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        values = kernel(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def _with_floor(distance: Callable[..., float], sets: Sequence[np.ndarray], random) -> tuple[float, float]:
    """A distance between samples and real galaxies, and its mean between halves of the real ones.

    Both are between sets of half the size: such distances depend on the number of galaxies.
    """
    real, drawn = sets
    values, floors = [], []
    for _ in range(_HALVES):
        order = random.permutation(len(real))
        first, second = order[: len(real) // 2], order[len(real) // 2 :]
        half = random.permutation(len(drawn))[: len(second)]
        values.append(distance(real[first], drawn[half]))
        floors.append(distance(real[first], real[second]))
    return float(np.nanmean(values)), float(np.nanmean(np.abs(floors)))


def _wasserstein_figures(real: np.ndarray, drawn: np.ndarray, random) -> dict[str, tuple[float, float]]:
    def mean(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.nanmean(wasserstein(one, other)))

    figures = {"wasserstein": _with_floor(mean, (real, drawn), random)}
    for place, name in enumerate(STATISTICS):
        column = [each[:, [place]] for each in (real, drawn)]
        figures[f"wasserstein/{name}"] = _with_floor(mean, column, random)
    bright = STATISTICS.index("magnitude")
    edges = np.nanquantile(real[:, bright], np.linspace(0, 1, BINS + 1)[1:-1])
    bins = [np.digitize(each[:, bright], edges) for each in (real, drawn)]
    for number in range(BINS):
        parts = [each[which == number] for each, which in zip((real, drawn), bins, strict=True)]
        if min(map(len, parts)) >= 8:
            figures[f"wasserstein/bin {number + 1}"] = _with_floor(mean, parts, random)
    return figures


def _features(judge: Classifier | None, images: np.ndarray, seed: int) -> np.ndarray:
    """Features of a network that knows nothing of the decoder: [n, d]."""
    if judge is None:
        keras.utils.set_random_seed(seed)
        judge = Classifier()
    return judge.anomaly_features(images)[:, : judge.encoder.output["features"].shape[-1]]


def _power_deviation(real: np.ndarray, drawn: np.ndarray) -> float:
    ratio = np.median(drawn, axis=0) / np.median(real, axis=0)
    assert len(ratio) == len(POWER) - 1
    return float(np.abs(ratio - 1).max())


def _share_difference(real: np.ndarray, drawn: np.ndarray) -> float:
    return 100 * float(drawn.mean() - real.mean())


def _auc_figures(real: np.ndarray, drawn: np.ndarray, random) -> tuple[float, float]:
    order = random.permutation(len(real))
    first, second = order[: len(real) // 2], order[len(real) // 2 :]
    return separability(real, drawn, random), separability(real[first], real[second], random)


def separability(real: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> float:
    """How well a fresh convolutional network, trained on half of the galaxies, separates the other half: AUC.

    Parameters
    ----------
    real, drawn : stamps, [n, size, size, 3].
    random : of the halves and the network.
    """
    from sklearn.metrics import roc_auc_score

    images = np.concatenate([real, drawn])
    truth = np.repeat([0.0, 1.0], [len(real), len(drawn)]).astype("float32")
    shown = ops.convert_to_numpy(_stretched(centre_crop(images, NETWORK_SIZE)))
    order = random.permutation(len(images))
    fit, held_out = order[::2], order[1::2]
    keras.utils.set_random_seed(int(random.integers(2**31)))
    network = keras.Sequential(
        [
            keras.Input(shown.shape[1:]),
            *(layers.Conv2D(width, 3, strides=2, padding="same", activation="relu") for width in (16, 32, 64)),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.compile(keras.optimizers.Adam(2e-3), "binary_crossentropy")
    turned = np.concatenate([shown[fit], shown[fit][:, :, ::-1], shown[fit][:, ::-1]])
    network.fit(turned, np.tile(truth[fit], 3), batch_size=_BATCH, epochs=_EPOCHS, verbose=0)
    score = network.predict(shown[held_out], verbose=0)[:, 0]
    return float(roc_auc_score(truth[held_out], score))


def _stretched(stamps: np.ndarray):
    from morph.model.preprocessing import Preprocessing

    return Preprocessing()(stamps.astype("float32"))["image"]


def _asked(classifier: Classifier, real: Galaxies, sampled: Galaxies, seed: int) -> dict[str, tuple[float, float]]:
    """What is measured on samples against their properties, and the same of the real galaxies as a floor."""
    rows = []
    for galaxies in (sampled, real):
        properties = galaxies.properties
        inferred = infer(
            classifier, {"image": galaxies.images}, draws=64, seed=seed, surveys=galaxies.surveys
        ).redshift
        redshift = properties["redshift"]
        low, middle, high = np.quantile(inferred, [0.16, 0.5, 0.84], axis=1)
        flux, radius = _measured(galaxies)
        probabilities = classifier.answer(galaxies.images)["probabilities"]
        known = np.isfinite(redshift)
        rows.append(
            {
                "asked/magnitude": np.nanmedian(magnitude(flux) - properties[MEASUREMENTS[1]]),
                "asked/radius": np.nanmedian(np.log10(radius / properties["radius"])),
                "asked/redshift": np.nanmedian((middle - redshift) / (1 + redshift)),
                "asked/redshift coverage": np.mean((redshift >= low)[known] & (redshift <= high)[known]),
                "asked/votes": _calibration_error(galaxies.votes, probabilities),
            }
        )
    return {name: (float(rows[0][name]), float(rows[1][name])) for name in rows[0]}


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
    from morph.decision_tree import TREE

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
