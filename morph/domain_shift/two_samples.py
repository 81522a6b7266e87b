"""Do two sets of galaxies differ? A classifier two-sample test (Lopez-Paz & Oquab 2017).

A classifier is trained to separate the sets and tested on held-out galaxies. Its area under the ROC curve (AUC) is
the probability that a galaxy of the second set gets a higher score than one of the first: 0.5 where the sets do not
differ, 1 where they do not overlap.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

FOLDS = 5
#: Strength of the ridge, per galaxy: coordinates are standardised, and most carry nothing.
RIDGE = 0.1


@dataclass(frozen=True)
class TwoSampleTest:
    """How well a classifier separates two sets.

    Attributes
    ----------
    auc : area under the ROC curve on held-out galaxies; low, high : its 95 % interval.
    first, second : log odds of belonging to the second set, one a galaxy, from a classifier not trained on it.
    """

    auc: float
    low: float
    high: float
    first: np.ndarray
    second: np.ndarray


def two_sample_test(first: np.ndarray, second: np.ndarray, seed: int = 0) -> TwoSampleTest:
    """Cross-validate a ridge logistic regression on the coordinates and their squares, which respond to a change of
    spread as well as of location.

    >>> random = np.random.default_rng(0)
    >>> test = two_sample_test(random.normal(size=(200, 3)), random.normal(2, 1, size=(200, 3)))
    >>> test.low > 0.95
    True

    Parameters
    ----------
    first, second : [n, d] and [m, d], finite; at least `FOLDS` rows each.
    seed : of the division into folds.
    """
    both = np.concatenate([first, second]).astype(float)
    label = np.repeat([0, 1], [len(first), len(second)])
    features = _standardised(np.column_stack([scaled := _standardised(both), scaled**2]))
    fold = np.empty(len(label), dtype=int)
    random = np.random.default_rng(seed)
    for members in (np.flatnonzero(label == 0), np.flatnonzero(label == 1)):
        fold[random.permutation(members)] = np.arange(len(members)) % FOLDS
    odds, areas = np.empty(len(label)), []
    for k in range(FOLDS):
        held_out = fold == k
        weights = logistic(features[~held_out], label[~held_out])
        odds[held_out] = weights[0] + features[held_out] @ weights[1:]
        # Each classifier has its own zero point, so that ranks are compared within a fold only.
        areas.append(roc_area(odds[held_out & (label == 0)], odds[held_out & (label == 1)]))
    auc = float(np.mean(areas))
    # The folds' training sets overlap, which the variance of one test set does not account for (Nadeau & Bengio 2003).
    error = 1.96 * standard_error(auc, len(first), len(second)) * math.sqrt(1 + FOLDS / (FOLDS - 1))
    low, high = max(auc - error, 0.0), min(auc + error, 1.0)
    return TwoSampleTest(auc, low, high, odds[label == 0], odds[label == 1])


def logistic(features: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Weights [1 + d], the offset first, of a ridge logistic regression in which both labels weigh the same."""
    x = np.column_stack([np.ones(len(features)), features])
    share = label.mean()
    weight = np.where(label == 1, 0.5 / share, 0.5 / (1 - share))
    ridge = np.full(x.shape[1], RIDGE * len(x))
    ridge[0] = 1e-6
    w = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(hessian, x.T @ (weight * (p - label)) + ridge * w)
        w -= step
        if np.abs(step).max() < 1e-4:
            break
    return w


def roc_area(first: np.ndarray, second: np.ndarray) -> float:
    """Probability that a value of `second` exceeds one of `first`; ties count half."""
    ranks = rankdata(np.concatenate([first, second]))[len(first) :]
    return float((ranks.sum() - len(second) * (len(second) + 1) / 2) / (len(first) * len(second)))


def standard_error(auc: float, n: int, m: int) -> float:
    """Standard error of an area under the ROC curve (Hanley & McNeil 1982).

    Parameters
    ----------
    auc : the area.
    n, m : galaxies in the two samples.
    """
    second, first = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (m - 1) * (second - auc**2) + (n - 1) * (first - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (n * m)))


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
