"""Distances between two sets of galaxies: of their statistics, of a network's features, and to a fresh network."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from morph.model.preprocessing import Preprocessing
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import centre_crop
from training.evaluation.anomalies import auroc
from training.metrics.estimates import Estimate

#: Epochs and batch of the network that separates samples from real galaxies.
EPOCHS, BATCH = 6, 32
#: Splits of both sets into halves.
HALVES = 100


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


def standardised(real: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features less the real galaxies' mean, over their standard deviation.

    By all real galaxies and not by those of a half: a unit of a network may answer to one galaxy alone. Those that
    answer to none are left out.

    Parameters
    ----------
    real, drawn : [n, d] and [m, d].
    """
    spread = real.std(axis=0)
    kept = spread > 1e-6 * spread.max()
    centre, scale = real[:, kept].mean(axis=0), spread[kept]
    return (real[:, kept] - centre) / scale, (drawn[:, kept] - centre) / scale


def kernel_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel (x y / d + 1)^3.

    Parameters
    ----------
    real, drawn : features as `standardised` gives them, [n, d] and [m, d].
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        values = kernel(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(real) + within(drawn) - 2 * float(kernel(real, drawn).mean())


def between_halves(
    distance: Callable[..., float | np.ndarray], real: np.ndarray, drawn: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between random halves of samples and of real galaxies, and between halves of the real ones.

    Both are between sets of half the size, since such distances depend on the number of galaxies. Where a measure is
    smooth, halves without replacement scatter as much as the whole does (the delete-half jackknife: Shao & Wu 1989),
    and they hold no galaxy twice, which the bootstrap's resamples would.

    Parameters
    ----------
    distance : of two sets, a number or several.
    real, drawn : one row a galaxy.
    random : of the halves.

    Returns
    -------
    Two arrays, [`HALVES`, ...].
    """
    values, floors = [], []
    for _ in range(HALVES):
        order = random.permutation(len(real))
        first, second = order[: len(real) // 2], order[len(real) // 2 :]
        half = random.permutation(len(drawn))[: len(drawn) // 2]
        values.append(distance(real[first], drawn[half]))
        floors.append(distance(real[first], real[second]))
    return np.array(values), np.array(floors)


def separability(real: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> Estimate:
    """How well a fresh convolutional network, trained on half of the galaxies, separates the other half: AUC, 0.5 for
    not at all.

    Parameters
    ----------
    real, drawn : stamps, [n, size, size, 3].
    random : of the halves and the network.
    """
    images = np.concatenate([real, drawn])
    truth = np.repeat([0.0, 1.0], [len(real), len(drawn)]).astype("float32")
    shown = ops.convert_to_numpy(Preprocessing()(centre_crop(images, NETWORK_SIZE).astype("float32"))["image"])
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
    network.fit(turned, np.tile(truth[fit], 3), batch_size=BATCH, epochs=EPOCHS, verbose=0)
    score = network.predict(shown[held_out], verbose=0)[:, 0]
    is_drawn = truth[held_out] > 0
    return auroc(score[~is_drawn], score[is_drawn])
