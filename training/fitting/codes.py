"""Fitting the components of codes: principal components of stretched images, whichever way galaxies are turned.

Turned and mirrored galaxies are as likely as the galaxies themselves. In the cosine transform, a mirrored image has
other signs, and a transposed one swaps the axes, so the covariance of all eight falls into blocks of even and odd
frequencies that are computed one by one, without turning an image.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from morph.model.codes import MOST_NUMBERS
from morph.model.entropy_coding import LEVELS

#: Galaxies below which the components stay as they are, and the most that are used.
FEWEST, MOST = 200, 12_000
#: Components whose residual says how much detail and noise a galaxy has.
COARSE = 50
#: The share of the galaxies with the smallest residuals that have the same weight.
SMOOTHEST = 0.05
#: Even and odd frequencies along both axes; what is odd along the other axis alone is the same, transposed.
_BLOCKS = ((0, 0), (1, 1), (0, 1))


def fit_codes(classifier: Classifier, sets: Sequence[Galaxies], seed: int = 0) -> int:
    """Fit the components of the classifier's codes in place; everything else stays.

    They depend on the preprocessing and on these galaxies, and not on the network.

    Parameters
    ----------
    classifier : its `codes` change.
    sets : galaxies of either kind of image; no labels are needed.
    seed : of the galaxies that are used, where there are more than `MOST`.

    Returns
    -------
    How many galaxies they were fitted to; 0 where there are fewer than `FEWEST`, and then they stay as they are.
    """
    count = sum(map(len, sets))
    if count < FEWEST:
        return 0
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:MOST])
    starts = np.cumsum([0, *map(len, sets)])
    parts = []
    for galaxies, start, end in zip(sets, starts, starts[1:], strict=False):
        rows = chosen[(chosen >= start) & (chosen < end)] - start
        parts.append(_coefficients(classifier, galaxies, rows))
    coefficients = np.concatenate(parts)
    centre = _centre(coefficients)
    coefficients -= centre
    # The error of a picture is judged by its logarithm, so a galaxy counts by what cannot be coded of it anyway.
    rough = _components(coefficients, np.ones(len(coefficients)), COARSE)
    left = (coefficients**2).sum(axis=(1, 2, 3)) - (_numbers(coefficients, rough) ** 2).sum(axis=1)
    left = np.maximum(left, np.quantile(left, SMOOTHEST))
    basis = _components(coefficients, 1 / np.maximum(left, 1e-6), MOST_NUMBERS)
    knots = np.quantile(_numbers(coefficients, basis), LEVELS, axis=0).T
    classifier.codes.set_basis(centre.reshape(-1), basis, knots)
    return len(coefficients)


def _coefficients(classifier: Classifier, galaxies: Galaxies, rows: np.ndarray) -> np.ndarray:
    """The lowest frequencies of some galaxies' stretched images, [n, f, f, 3]."""
    f = classifier.codes.frequencies
    found = np.empty((len(rows), f, f, 3), dtype="float32")
    for start in range(0, len(rows), 256):
        images = classifier.central(galaxies.images[rows[start : start + 256]])
        flux = classifier.linear(images) if images.dtype == np.uint8 else ops.convert_to_tensor(images)
        transformed = classifier.codes.transform(classifier.preprocessing(flux)["image"])
        found[start : start + 256] = ops.convert_to_numpy(transformed).reshape(-1, f, f, 3)
    return found


def _centre(coefficients: np.ndarray) -> np.ndarray:
    """The mean over all ways of turning, [f, f, 3]: even along both axes, and the same transposed."""
    mean = coefficients.mean(axis=0)
    mean[1::2], mean[:, 1::2] = 0.0, 0.0
    return (mean + mean.transpose(1, 0, 2)) / 2


def _components(coefficients: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """The first weighted principal components over all ways of turning, as columns: float32 [3 f f, count]."""
    f = coefficients.shape[1]
    weights = np.sqrt(weights / weights.sum()).astype("float32")[:, None]
    values: list[float] = []
    vectors: list[np.ndarray] = []
    for along_y, along_x in _BLOCKS:
        part = coefficients[:, along_y::2, along_x::2]
        other = coefficients[:, along_x::2, along_y::2].transpose(0, 2, 1, 3)
        scaled = [each.reshape(len(each), -1) * weights for each in (part, other)]
        covariance = sum(each.T @ each for each in scaled) / 2
        found, axes = np.linalg.eigh(covariance.astype(float))
        for value, axis in zip(found[::-1][:count], axes.T[::-1][:count], strict=True):
            component = np.zeros((f, f, 3), dtype="float32")
            component[along_y::2, along_x::2] = axis.reshape(part.shape[1:])
            same = [component] if along_y == along_x else [component, component.transpose(1, 0, 2)]
            values += [float(value)] * len(same)
            vectors += same
    order = np.argsort(-np.array(values), kind="stable")[:count]
    # Which of two signs a component has is left open by its definition: here the largest part is positive.
    chosen = np.stack([vectors[each].reshape(-1) for each in order])
    signs = np.sign(chosen[np.arange(count), np.abs(chosen).argmax(axis=1)])
    return (chosen * signs[:, None]).T


def _numbers(coefficients: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return coefficients.reshape(len(coefficients), -1) @ basis
