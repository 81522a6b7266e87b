"""What a model's answers are expected to be worth on galaxies that nobody has labelled.

On the galaxies that it remembers the model was right or wrong, with a certain confidence; on new galaxies only its
confidence is known. A logistic curve from confidence to the chance of being right, fitted for each question on the
remembered galaxies, gives the expected share of right answers among the new ones (Guillory et al. 2021; Platt 1999
for the curve). It sees that galaxies are harder, and not that volunteers call the same thing by another name.
Weighting the remembered galaxies by density ratios (Sugiyama et al. 2007) was tried in its place: surveys overlap so
little that a few galaxies decide, and the estimated changes had no correlation with the measured ones.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import TREE
from morph.domain_shift.sample import Sample

#: Fewer galaxies than this, remembered with the volunteers' answer or new, say nothing of a question.
FEWEST_JUDGED, FEWEST_ASKED = 30, 20
RESAMPLES = 200
#: How many galaxies it takes to move the curve's offset and slope halfway from 0 and 1, confidence taken at its word.
_PRIOR = np.array([0.1, 1.0])


@dataclass(frozen=True)
class Expected:
    """One question.

    Attributes
    ----------
    taught : share of right answers on the remembered galaxies, of which `judged` have the volunteers' answer.
    expected : the share expected on the new galaxies, of which `asked` are asked the question.
    low, high : 95 % interval of `expected` - `taught` from a bootstrap over both sets of galaxies.
    """

    question: str
    taught: float
    expected: float
    low: float
    high: float
    judged: int
    asked: int

    @property
    def suffers(self) -> bool:
        """Whether the fall exceeds the noise."""
        return self.high < 0


def expected_accuracies(reference: Sample, new: Sample, seed: int = 0) -> list[Expected]:
    """Every question of which enough is known, the one that falls most first."""
    random = np.random.default_rng(seed)
    found = []
    for k, question in enumerate(TREE):
        judged = np.isfinite(reference.right[:, k]) & np.isfinite(reference.confidence[:, k])
        right, known = reference.right[judged, k].astype(float), _log_odds(reference.confidence[judged, k])
        asked = _log_odds(new.confidence[np.isfinite(new.confidence[:, k]), k])
        if len(known) < FEWEST_JUDGED or len(asked) < FEWEST_ASKED:
            continue
        # The first row takes each galaxy once; the others are the bootstrap's.
        counts = _resampled(random, len(known))
        curves = fit_curves(known, right, counts)
        of_new = _resampled(random, len(asked))
        chance = _sigmoid(curves[:, :1] + curves[:, 1:] * asked)
        expected = (of_new * chance).sum(axis=1) / len(asked)
        taught = counts @ right / len(known)
        low, high = np.quantile(expected[1:] - taught[1:], [0.025, 0.975])
        found.append(
            Expected(
                question.name, float(taught[0]), float(expected[0]), float(low), float(high), len(known), len(asked)
            )
        )
    return sorted(found, key=lambda each: each.expected - each.taught)


def fit_curves(log_odds: np.ndarray, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Offset and slope of the logistic curve from the log odds of a confidence to the chance of being right.

    Parameters
    ----------
    log_odds, right : [n].
    counts : [b, n], how often each galaxy counts in each of b fits.

    Returns
    -------
    [b, 2].
    """
    x = np.column_stack([np.ones_like(log_odds), log_odds])
    curves = np.tile([0.0, 1.0], (len(counts), 1))
    for _ in range(30):
        p = _sigmoid(curves @ x.T)
        gradient = (counts * (p - right)) @ x + _PRIOR * (curves - [0.0, 1.0])
        hessian = np.einsum("bn,ni,nj->bij", counts * p * (1 - p), x, x, optimize=True) + np.diag(_PRIOR)
        # Newton's steps overshoot where the curve is flat.
        step = np.clip(np.linalg.solve(hessian, gradient[..., None])[..., 0], -1, 1)
        curves -= step
        if np.abs(step).max() < 1e-4:
            break
    return curves


def _resampled(random: np.random.Generator, n: int) -> np.ndarray:
    """Ones, and below them how often each of n galaxies is drawn in every resample: [1 + RESAMPLES, n]."""
    return np.vstack([np.ones(n), random.multinomial(n, np.full(n, 1 / n), RESAMPLES)])


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(float), 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
