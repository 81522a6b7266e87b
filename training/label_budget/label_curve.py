"""Curves of accuracy against the number of labels: the labels saved, and the gain from more.

Curves are arrays [..., budgets] over budgets that increase; leading axes are resamples, so that whatever is read off a
curve is read off all of its resamples at once and gets an interval.
"""

import numpy as np

#: Exponents of the power law that are tried.
EXPONENTS = np.linspace(0.05, 2.0, 40)


def rising(values: np.ndarray) -> np.ndarray:
    """The nearest curve that never falls (least squares; pool adjacent violators, Ayer et al. 1955).

    More labels do not hurt; where a curve falls it is scatter, and reading off the first crossing would take the
    luckiest point of it. [..., n] to [..., n].
    """
    values = np.asarray(values, dtype=float)
    n = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    fitted = np.empty_like(values)
    # The least-squares rising curve at i is max over j <= i of min over k >= i of the mean from j to k.
    for i in range(n):
        means = [
            np.min([(sums[..., k + 1] - sums[..., j]) / (k + 1 - j) for k in range(i, n)], axis=0)
            for j in range(i + 1)
        ]
        fitted[..., i] = np.max(means, axis=0)
    return fitted


def labels_needed(labels: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many labels a curve needs to reach a value, read off between budgets in the logarithm of the labels.

    Parameters
    ----------
    labels : [n], increasing and positive.
    values : [..., n], the curve.
    wanted : [...], the value to reach.

    Returns
    -------
    [...]: labels; infinite where the curve never gets there, the first budget where it starts above.

    Examples
    --------
    >>> float(labels_needed(np.array([100, 400]), np.array([0.5, 0.7]), np.array(0.6)).round())
    200.0
    """
    curve, log = rising(values), np.log(np.asarray(labels, dtype=float))
    wanted = np.asarray(wanted, dtype=float)
    reached = curve >= wanted[..., None]
    first = reached.argmax(axis=-1)
    above = np.take_along_axis(curve, first[..., None], axis=-1)[..., 0]
    below = np.take_along_axis(curve, np.maximum(first - 1, 0)[..., None], axis=-1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(above > below, (wanted - below) / (above - below), 1.0)
    needed = np.exp(log[np.maximum(first - 1, 0)] + share * (log[first] - log[np.maximum(first - 1, 0)]))
    # The logarithm and back would leave a trace of rounding on the first budget.
    needed = np.where(first == 0, float(labels[0]), needed)
    return np.where(reached.any(axis=-1), needed, np.inf)


def gain(labels: np.ndarray, values: np.ndarray, spread: np.ndarray, more: float = 100.0) -> np.ndarray:
    """The expected gain of a curve from `more` labels after the last budget.

    With three budgets or more the error follows a + b n^-c, fitted by weighted least squares over `EXPONENTS`; with
    two, the slope in the logarithm of the labels goes on. One budget gives NaN.

    Parameters
    ----------
    labels : [n], increasing and positive.
    values : [..., n], the curve, as fractions.
    spread : [n], the standard error of each point.
    more : labels.

    Returns
    -------
    [...], as fractions.
    """
    labels, values = np.asarray(labels, dtype=float), np.asarray(values, dtype=float)
    last, after = labels[-1], labels[-1] + more
    if len(labels) < 2:
        return np.full(values.shape[:-1], np.nan)
    if len(labels) == 2:
        slope = (values[..., 1] - values[..., 0]) / np.log(labels[1] / labels[0])
        return slope * np.log(after / last)
    weight = 1 / np.maximum(spread, 1e-4)
    best, found = np.full(values.shape[:-1], np.inf), np.zeros(values.shape[:-1])
    for exponent in EXPONENTS:
        falling = (labels / last) ** -exponent
        design = np.column_stack([np.ones(len(labels)), falling]) * weight[:, None]
        solution = (values * weight) @ np.linalg.pinv(design).T
        misfit = ((values * weight - solution @ design.T) ** 2).sum(axis=-1)
        step = solution[..., 1] * ((after / last) ** -exponent - 1.0)
        found, best = np.where(misfit < best, step, found), np.minimum(misfit, best)
    return found
