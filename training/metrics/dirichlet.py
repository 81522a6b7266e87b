"""Dirichlet and Dirichlet-multinomial distributions of votes: likelihood, predictive intervals, the leading answer."""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammainc, gammaincinv, gammaln

#: The central intervals whose coverage is measured.
LEVELS = (0.5, 0.9)
#: Votes below which a vote fraction is too coarse to ask whether an interval holds it.
FEWEST_VOTES = 10
#: Volunteers behind a hard class, about as many as Galaxy Zoo asked of each galaxy (Lintott et al. 2011).
VOLUNTEERS = 38
#: Nodes of the integral over the leading answer's fraction: three digits.
_NODES = 24


def covered(counts: np.ndarray, concentration: np.ndarray, levels: Sequence[float] = LEVELS) -> np.ndarray:
    """The coverage of each answer's votes by their central predictive intervals.

    Given n votes on a question, one answer's k of them follow the beta-binomial BB(n, a, A - a), the marginal of the
    Dirichlet-multinomial. Votes are whole numbers, so no interval holds exactly half of the probability, and counting
    votes as inside or outside would find any model miscalibrated. The randomised probability integral transform is
    exact instead (Czado, Gneiting & Held 2009): u drawn between F(k - 1) and F(k) is uniform for a calibrated model.
    The returned probability that u lies in the middle needs no random draw: a number between 0 and 1 whose mean over
    galaxies is the level, for a calibrated model.

    Parameters
    ----------
    counts : [n, k], votes on all answers of one question; weighted votes are rounded.
    concentration : [n, k], Dirichlet.
    levels : [l], in (0, 1).

    Returns
    -------
    [n, k, l]. NaN for a galaxy without votes.
    """
    from scipy.stats import betabinom

    counts, concentration = np.asarray(counts, dtype=float), np.asarray(concentration, dtype=float)
    asked = np.rint(counts.sum(axis=1, keepdims=True))
    votes = np.minimum(np.rint(counts), asked)
    rest = concentration.sum(axis=1, keepdims=True) - concentration
    every = np.arange(int(asked.max(initial=0)) + 1)
    chance = betabinom.pmf(every, *(x[..., None] for x in np.broadcast_arrays(asked, concentration, rest)))
    below = (chance * (every < votes[..., None])).sum(axis=-1, keepdims=True)
    here = np.take_along_axis(chance, votes[..., None].astype(int), axis=-1)
    tail = (1 - np.asarray(levels)) / 2
    inside = np.clip(below + here, tail, 1 - tail) - np.clip(below, tail, 1 - tail)
    return np.where(asked[..., None] > 0, inside / np.maximum(here, np.finfo(float).tiny), np.nan)


def leading_probability(concentration: np.ndarray, which: np.ndarray, voters: np.ndarray) -> np.ndarray:
    """The probability that most of a galaxy's voters give an answer.

    A galaxy's class is the answer with most votes, which is more certain than any one vote: where
    70 ± 10 % of the votes are expected to be "smooth", nearly all such galaxies are of the class smooth. Fractions
    among n voters scatter as those of a Dirichlet with A' + 1 = n (A + 1) / (n + A), by the variance of the
    Dirichlet-multinomial, and are taken to be one. Its fractions are gamma variates over their sum, so the chance is
    the integral of one's density times the others' distribution functions.

    Parameters
    ----------
    concentration : [n, k], Dirichlet.
    which : [n], the answer in question.
    voters : [n], more than one.

    Returns
    -------
    [n].
    """
    rows = np.arange(len(concentration))
    total = concentration.sum(axis=1)
    scattered = voters * (total + 1) / (voters + total) - 1
    concentration = concentration * (scattered / total)[:, None]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    own = gammaincinv(concentration[rows, which][:, None], (nodes + 1) / 2)
    below = gammainc(concentration[:, :, None], own[:, None, :])
    below[rows, which] = 1
    return below.prod(axis=1) @ weights / 2


def dirichlet_multinomial(
    counts: np.ndarray, concentration: np.ndarray, total: np.ndarray | None = None
) -> np.ndarray:
    """Log-probability of votes over the answers of one question.

    ln P = ln N! G(A) / G(N + A) + sum_k ln G(k_i + a_i) / (k_i! G(a_i)), with N = sum k and A = sum a
    (Mosimann 1962; for Galaxy Zoo, Walmsley et al. 2020).

    Parameters
    ----------
    counts : [n, k], votes.
    concentration : [n, k], Dirichlet; that of a union of answers is the sum of theirs.
    total : [n], A, where an answer is in several of the columns, alone and in a union.

    Returns
    -------
    [n].

    Examples
    --------
    One vote for the second of two equally likely answers:

    >>> float(np.exp(dirichlet_multinomial(np.array([[0.0, 1.0]]), np.array([[3.0, 3.0]])))[0].round(6))
    0.5
    """
    n, a = counts.sum(axis=-1), concentration.sum(axis=-1) if total is None else total
    whole = gammaln(n + 1) + gammaln(a) - gammaln(n + a)
    each = gammaln(counts + concentration) - gammaln(counts + 1) - gammaln(concentration)
    return whole + each.sum(axis=-1)
