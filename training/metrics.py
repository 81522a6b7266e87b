"""How well probabilities agree with votes: pure NumPy, every figure with an interval.

Figures have flat names, ``<question>/<figure>`` or ``<question>/<figure>/<answer>``:

- ``accuracy``: share of galaxies whose most probable answer is the one with most votes.
- ``accuracy-confident``: the same where at least `CONFIDENT` of the volunteers agree. A hard class is one vote
  and so always confident.
- ``balanced-accuracy``: mean completeness over the answers that are true of some galaxy.
- ``completeness/<answer>``: of the galaxies with this answer, the share that is found (recall).
- ``purity/<answer>``: of the galaxies given this answer, the share that has it (precision).
- ``log-likelihood``: mean Dirichlet-multinomial log-probability of a galaxy's votes.
- ``calibration-error``: expected calibration error of the most probable answer, against the share of the
  volunteers who gave it.

Over all questions there is ``all/rms``, the error of the fractions in the convention of the Kaggle Galaxy Zoo
challenge, and ``four-class/...`` is the scheme of Galaxy Zoo 1 (see `training.four_classes`).

A question counts for a galaxy when at least half of its volunteers reached it (Walmsley et al. 2022): the
bulge that one of forty volunteers believed to see edge-on is nobody's truth.
"""

import math
from dataclasses import dataclass

import numpy as np

from morph.questions import TREE
from training.cells import Cells, chained_probabilities, chained_votes
from training.four_classes import FOUR_CLASSES, four_classes, four_classes_of_votes
from training.sums import Sums

#: Share of the volunteers that makes a majority confident.
CONFIDENT = 0.8
#: Share of the volunteers that must have reached a question for it to count.
REACHED = 0.5
#: Bins of predicted probability in the calibration error.
BINS = 10
#: Resamples of the bootstrap, and the tail left out on each side of an interval.
RESAMPLES = 1000
TAIL = 0.025

FOUR_CLASS = "four-class"


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval from the bootstrap, and the number of galaxies behind it.

    An interval of no width means that all these galaxies agree, not that the figure is certain: look at `n`.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval leaves out zero; meant for differences."""
        return self.low > 0 or self.high < 0


def measure(
    votes: np.ndarray,
    probabilities: np.ndarray,
    concentration: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Every figure that these votes allow.

    Parameters
    ----------
    votes : [n, vote columns], NaN where nobody was asked.
    probabilities : [n, answers], each question summing to one.
    concentration : [n, answers], Dirichlet; log-likelihoods need it.
    resamples, seed : of the bootstrap over galaxies.
    """
    if not len(votes):
        return {}
    each = contributions(votes, probabilities, concentration)
    best, counts = figures(each.total()), sample_sizes(each.total())
    spread = figures(each.resample(resamples, seed))
    return {name: Figure(float(value), *_interval(spread[name]), counts[name]) for name, value in best.items()}


def differences(
    votes: np.ndarray,
    first: tuple[np.ndarray, np.ndarray | None],
    second: tuple[np.ndarray, np.ndarray | None],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Figure]:
    """Second model minus first on the same galaxies, each figure with its paired interval.

    Parameters
    ----------
    votes : [n, vote columns], the truth for both.
    first, second : each (probabilities, concentration or None), [n, answers].
    """
    if not len(votes):
        return {}
    each = [contributions(votes, *model) for model in (first, second)]
    best = [figures(sums.total()) for sums in each]
    counts = sample_sizes(each[0].total())
    spread = [figures(sums.resample(resamples, seed)) for sums in each]
    return {
        name: Figure(float(best[1][name] - best[0][name]), *_interval(spread[1][name] - spread[0][name]), counts[name])
        for name in best[0]
        if name in best[1]
    }


def contributions(votes: np.ndarray, probabilities: np.ndarray, concentration: np.ndarray | None = None) -> Sums:
    """What each galaxy adds to the sums that figures are made of."""
    cells = Cells.of(votes)
    counts, predicted = cells.counts(votes), cells.add(probabilities)
    strength = None if concentration is None else cells.add(concentration)
    sums = Sums({("all", "squares"): _squares(votes, probabilities, cells)}, {})
    for question in TREE:
        part = cells.of_question(question.name)
        asked = _reached(counts, cells, question.name)
        if not asked.any():
            continue
        sums.answers[question.name] = tuple(cells.names[i].rsplit("_", 1)[1] for i in part)
        _add_agreement(sums, question.name, counts[:, part], predicted[:, part], asked)
        if strength is not None:
            likelihood = dirichlet_multinomial(counts[:, part], strength[:, part])
            sums.parts[question.name, "log-likelihood"] = (likelihood * asked)[:, None]
    shares = four_classes_of_votes(votes)
    known = np.isfinite(shares).all(axis=1)
    if known.any():
        sums.answers[FOUR_CLASS] = FOUR_CLASSES
        _add_agreement(sums, FOUR_CLASS, np.nan_to_num(shares), four_classes(probabilities), known)
    return sums


def _reached(counts: np.ndarray, cells: Cells, question: str) -> np.ndarray:
    """Which galaxies have votes on the question from at least half of their volunteers: bool [n]."""
    votes = counts[:, cells.of_question(question)].sum(axis=1)
    volunteers = counts[:, cells.of_question("smooth-or-featured")].sum(axis=1)
    return (votes > 0) & (votes >= REACHED * volunteers)


def _add_agreement(sums: Sums, question: str, votes: np.ndarray, p: np.ndarray, asked: np.ndarray) -> None:
    """Add the contributions to one question's confusion matrix and calibration."""
    total = votes.sum(axis=1, keepdims=True)
    shares = np.divide(votes, total, out=np.zeros(votes.shape), where=total > 0)
    truth, guess, rows = shares.argmax(axis=1), p.argmax(axis=1), np.arange(len(votes))
    confusion = np.zeros((len(votes), votes.shape[1], votes.shape[1]))
    confusion[rows, truth, guess] = asked
    confident = asked & (shares.max(axis=1) >= CONFIDENT)
    given = p[rows, guess]
    bins = np.zeros((len(votes), BINS))
    bins[rows, _bin(given)] = (given - shares[rows, guess]) * asked
    sums.parts[question, "confusion"] = confusion.reshape(len(votes), -1)
    sums.parts[question, "confident"] = np.column_stack([confident & (truth == guess), confident]).astype(float)
    sums.parts[question, "calibration"] = bins
    sums.parts[question, "asked"] = asked[:, None].astype(float)


def _bin(p: np.ndarray) -> np.ndarray:
    return np.clip((p * BINS).astype(int), 0, BINS - 1)


def _squares(votes: np.ndarray, probabilities: np.ndarray, cells: Cells) -> np.ndarray:
    truth, names = chained_votes(votes, cells)
    error = (chained_probabilities(probabilities, cells, names) - truth) ** 2
    known = np.isfinite(error)
    return np.column_stack([np.where(known, error, 0).sum(axis=1), known.sum(axis=1), known.any(axis=1)])


def dirichlet_multinomial(counts: np.ndarray, concentration: np.ndarray) -> np.ndarray:
    """Log-probability of votes over the answers of one question, [n].

    ln P = ln N! G(A) / G(N + A) + sum_k ln G(k_i + a_i) / (k_i! G(a_i)), with N = sum k and A = sum a
    (Mosimann 1962; for Galaxy Zoo, Walmsley et al. 2020). Adding answers up adds their concentrations.
    """
    n, a = counts.sum(axis=-1), concentration.sum(axis=-1)
    whole = _ln_gamma(n + 1) + _ln_gamma(a) - _ln_gamma(n + a)
    each = _ln_gamma(counts + concentration) - _ln_gamma(counts + 1) - _ln_gamma(concentration)
    return whole + each.sum(axis=-1)


def _ln_gamma(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.lgamma, otypes=[float])(x) if np.size(x) else np.zeros(np.shape(x))


def figures(sums: Sums) -> dict[str, np.ndarray]:
    """Figures from sums over galaxies, one value for each entry of the sums' leading axis."""
    found: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for (question, what), total in sums.parts.items():
            if what == "confusion":
                found |= _from_confusion(question, sums.answers[question], total)
            elif what == "confident":
                found[f"{question}/accuracy-confident"] = total[..., 0] / total[..., 1]
            elif what == "calibration":
                asked = sums.parts[question, "asked"][..., 0]
                found[f"{question}/calibration-error"] = np.abs(total).sum(axis=-1) / asked
            elif what == "log-likelihood":
                found[f"{question}/log-likelihood"] = total[..., 0] / sums.parts[question, "asked"][..., 0]
            elif what == "squares":
                found[f"{question}/rms"] = np.sqrt(total[..., 0] / total[..., 1])
    return {name: value for name, value in found.items() if np.isfinite(value).any()}


def _from_confusion(question: str, answers: tuple[str, ...], total: np.ndarray) -> dict[str, np.ndarray]:
    matrix = total.reshape(*total.shape[:-1], len(answers), len(answers))
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, given = matrix.sum(axis=-1), matrix.sum(axis=-2)
    recall, precision = right / true, right / given
    present = np.isfinite(recall)
    found = {
        f"{question}/accuracy": right.sum(axis=-1) / true.sum(axis=-1),
        f"{question}/balanced-accuracy": np.where(present, recall, 0).sum(axis=-1) / present.sum(axis=-1),
    }
    for i, answer in enumerate(answers):
        found[f"{question}/completeness/{answer}"] = recall[..., i]
        found[f"{question}/purity/{answer}"] = precision[..., i]
    return found


def sample_sizes(total: Sums) -> dict[str, int]:
    """Galaxies behind each figure."""
    sizes: dict[str, int] = {}
    for (question, what), values in total.parts.items():
        if what == "confusion":
            answers = total.answers[question]
            matrix = values.reshape(len(answers), len(answers))
            for i, answer in enumerate(answers):
                sizes[f"{question}/completeness/{answer}"] = int(matrix[i].sum())
                sizes[f"{question}/purity/{answer}"] = int(matrix[:, i].sum())
        elif what == "confident":
            sizes[f"{question}/accuracy-confident"] = int(values[1])
        elif what == "asked":
            for figure in ("accuracy", "balanced-accuracy", "calibration-error", "log-likelihood"):
                sizes[f"{question}/{figure}"] = int(values[0])
        elif what == "squares":
            sizes[f"{question}/rms"] = int(values[2])
    return sizes


def confusion(votes: np.ndarray, probabilities: np.ndarray, question: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Galaxies with each most voted answer (rows) and most probable answer (columns) of a question.

    Returns the matrix, int [k, k], and the answers' names; both empty where nobody answered the question,
    which may be `FOUR_CLASS`.
    """
    sums = contributions(votes, probabilities).total()
    answers = sums.answers.get(question, ())
    matrix = sums.parts.get((question, "confusion"), np.zeros(0))
    return matrix.reshape(len(answers), len(answers)).astype(int), answers


def reliability(votes: np.ndarray, probabilities: np.ndarray, question: str) -> np.ndarray:
    """Predicted against observed shares of the votes, over all answers of a question.

    Returns
    -------
    [bins, 3]: mean predicted probability, mean share of the volunteers, galaxies x answers; only bins that
        hold something.
    """
    cells = Cells.of(votes)
    counts, part = cells.counts(votes), cells.of_question(question)
    asked = _reached(counts, cells, question)
    shares = counts[asked][:, part]
    shares = (shares / shares.sum(axis=1, keepdims=True)).ravel()
    p = cells.add(probabilities)[asked][:, part].ravel()
    place = _bin(p)
    n = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, values, minlength=BINS) for values in (p, shares)]
    return np.column_stack([sums[0][n > 0] / n[n > 0], sums[1][n > 0] / n[n > 0], n[n > 0]])


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the resamples in which the figure exists; a rare answer can be drawn in none."""
    low, high = np.nanquantile(values, [TAIL, 1 - TAIL])
    return float(low), float(high)
