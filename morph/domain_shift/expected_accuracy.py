"""The expected accuracy of a model's answers on galaxies without labels.

On the galaxies of its reference sample a model's answers are known to be correct or not, with a certain confidence; on
new galaxies only its confidence is known. A logistic curve from confidence to the probability of a correct answer,
fitted for each question on the reference sample, gives the expected accuracy on the new galaxies (Guillory et al.
2021; Platt 1999 for the curve). The estimate accounts for galaxies that are harder, but not for volunteers who use
another name for the same structure. Weighting the reference sample by density ratios (Sugiyama et al. 2007) was tried
instead: surveys overlap so little that a few galaxies dominate, and the estimated changes did not correlate with the
measured ones.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import TREE
from morph.domain_shift.sample import Sample

#: Fewest reference galaxies with the volunteers' answer, and fewest new galaxies, for an estimate.
FEWEST_JUDGED, FEWEST_ASKED = 30, 20
RESAMPLES = 200
#: Strength of the prior on the curve's offset and slope, 0 and 1 for calibrated confidence, in galaxies.
_PRIOR = np.array([0.1, 1.0])


@dataclass(frozen=True)
class ExpectedAccuracy:
    """The accuracy on one question.

    Attributes
    ----------
    reference : accuracy on the reference sample, of which `judged` galaxies have the volunteers' answer.
    expected : accuracy expected on the new galaxies, of which `asked` reach the question.
    low, high : 95 % interval of `expected` - `reference` from a bootstrap over both sets of galaxies.
    """

    question: str
    reference: float
    expected: float
    low: float
    high: float
    judged: int
    asked: int

    @property
    def drops(self) -> bool:
        """Whether the drop is statistically significant."""
        return self.high < 0


def expected_accuracies(reference: Sample, new: Sample, seed: int = 0) -> list[ExpectedAccuracy]:
    """Every question with enough galaxies, the largest drop first.

    Parameters
    ----------
    reference, new : samples of the same model.
    seed : of the bootstrap.

    Returns
    -------
    list of `ExpectedAccuracy`
    """
    random = np.random.default_rng(seed)
    found = []
    for k, question in enumerate(TREE):
        judged = np.isfinite(reference.correct[:, k]) & np.isfinite(reference.confidence[:, k])
        correct, known = reference.correct[judged, k].astype(float), _log_odds(reference.confidence[judged, k])
        asked = _log_odds(new.confidence[np.isfinite(new.confidence[:, k]), k])
        if len(known) < FEWEST_JUDGED or len(asked) < FEWEST_ASKED:
            continue
        # The first row takes each galaxy once; the others are the bootstrap's.
        counts = _resampled(random, len(known))
        curves = fit_curves(known, correct, counts)
        of_new = _resampled(random, len(asked))
        probability = _sigmoid(curves[:, :1] + curves[:, 1:] * asked)
        expected = (of_new * probability).sum(axis=1) / len(asked)
        accuracy = counts @ correct / len(known)
        low, high = np.quantile(expected[1:] - accuracy[1:], [0.025, 0.975])
        found.append(
            ExpectedAccuracy(
                question.name, float(accuracy[0]), float(expected[0]), float(low), float(high), len(known), len(asked)
            )
        )
    return sorted(found, key=lambda each: each.expected - each.reference)


def fit_curves(log_odds: np.ndarray, correct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Offset and slope of the logistic curve from the log odds of a confidence to the probability of a correct answer.

    Parameters
    ----------
    log_odds, correct : [n].
    counts : [b, n], how often each galaxy counts in each of b fits.

    Returns
    -------
    [b, 2].
    """
    x = np.column_stack([np.ones_like(log_odds), log_odds])
    curves = np.tile([0.0, 1.0], (len(counts), 1))
    for _ in range(30):
        p = _sigmoid(curves @ x.T)
        gradient = (counts * (p - correct)) @ x + _PRIOR * (curves - [0.0, 1.0])
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
