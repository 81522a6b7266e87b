"""How well probabilities agree with votes: pure NumPy, every metric an estimate with its interval.

Metrics have flat names, ``<question>/<metric>`` or ``<question>/<metric>/<answer>``:

- ``accuracy``: share of galaxies whose most probable answer is the one with most votes.
- ``accuracy-confident``: the same where at least `CONFIDENT` of the volunteers agree. A hard class is one vote
  and so always confident.
- ``balanced-accuracy``: mean completeness over the answers that are true of some galaxy.
- ``completeness/<answer>``: of the galaxies with this answer, the share that is found (recall).
- ``purity/<answer>``: of the galaxies given this answer, the share that has it (precision).
- ``log-likelihood``: mean Dirichlet-multinomial log-probability of a galaxy's votes.
- ``calibration-error``: expected calibration error of the most probable answer: its probability against the share
  of the volunteers who gave it, in ten bins of equal width (Naeini et al. 2015, Guo et al. 2017).
- ``calibration-noise``: what that error would be, from scatter alone, for probabilities that are right. It is never
  negative, so few galaxies make it large, and its bootstrap interval larger: read the two together.
- ``class-calibration-error``, ``class-calibration-noise``: the same for classes: the Dirichlet's probability that
  most of the voters give the answer, against whether they do. Hard classes should be compared with this: a hard
  class is the verdict of some forty volunteers, and more certain than one vote. Galaxies with one vote or at least
  ten.
- ``coverage-50``, ``coverage-90``: share of the vote fractions that lie in their central 50 % and 90 % predictive
  intervals, where the galaxy has at least ten votes (see `training.metrics.dirichlet`). Well calibrated is 50 % and 90
  %.

Over all questions there is ``all/rms``, the error of the fractions in the convention of the Kaggle Galaxy Zoo
challenge, ``all/coverage-50`` and ``all/coverage-90``, and ``four-class/...`` is the scheme of Galaxy Zoo 1, of whose
classes those count that the votes can express (see `training.metrics.categories`).

A question counts for a galaxy when at least half of its volunteers reached it (Walmsley et al. 2022).
"""

import numpy as np

from morph.decision_tree import TREE
from training.metrics.categories import (
    Categories,
    chained_probabilities,
    chained_votes,
    expressed,
    four_classes,
    four_classes_of_votes,
)
from training.metrics.dirichlet import (
    FEWEST_VOTES,
    LEVELS,
    VOLUNTEERS,
    covered,
    dirichlet_multinomial,
    leading_probability,
)
from training.metrics.estimates import RESAMPLES, Estimate, Sums, interval

#: Share of the volunteers that makes a majority confident.
CONFIDENT = 0.8
#: Share of the volunteers that must have reached a question for it to count.
REACHED = 0.5
#: Bins of predicted probability in the calibration error.
BINS = 10

FOUR_CLASS = "four-class"


def measure(
    votes: np.ndarray,
    probabilities: np.ndarray,
    concentration: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric that these votes allow.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    probabilities : [n, answers], each question summing to one.
    concentration : [n, answers], Dirichlet; log-likelihoods, class calibration and coverage need it.
    resamples, seed : of the bootstrap over galaxies.

    Returns
    -------
    Estimates by name, as the module lists them.
    """
    if not len(votes):
        return {}
    each = contributions(votes, probabilities, concentration)
    best, counts = figures(each.total()), sample_sizes(each.total())
    spread = figures(each.resample(resamples, seed))
    return {name: Estimate.of(value, spread[name], counts[name]) for name, value in best.items()}


def differences(
    votes: np.ndarray,
    first: tuple[np.ndarray, np.ndarray | None],
    second: tuple[np.ndarray, np.ndarray | None],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Second model minus first on the same galaxies, each metric with its paired interval.

    Parameters
    ----------
    votes : [n, vote columns], the truth for both.
    first, second : each (probabilities, concentration or None), [n, answers].
    resamples, seed : of the bootstrap over galaxies, the same for both.

    Returns
    -------
    Estimates of the differences by name.
    """
    if not len(votes):
        return {}
    each = [contributions(votes, *model) for model in (first, second)]
    best = [figures(sums.total()) for sums in each]
    counts = sample_sizes(each[0].total())
    spread = [figures(sums.resample(resamples, seed)) for sums in each]
    return {
        name: Estimate.of(best[1][name] - best[0][name], spread[1][name] - spread[0][name], counts[name])
        for name in best[0]
        if name in best[1]
    }


def contributions(votes: np.ndarray, probabilities: np.ndarray, concentration: np.ndarray | None = None) -> Sums:
    """What each galaxy adds to the sums that the metrics are functions of.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    probabilities : [n, answers].
    concentration : [n, answers], Dirichlet, or None.

    Returns
    -------
    The sums, with a leading axis of galaxies.
    """
    categories = Categories.of(votes)
    counts, predicted = categories.counts(votes), categories.add(probabilities)
    strength = None if concentration is None else categories.add(concentration)
    sums = Sums({("all", "squares"): _squares(votes, probabilities, categories)}, {})
    for question in TREE:
        part = categories.of_question(question.name)
        if strength is not None:
            _add_coverage(sums, question.name, counts[:, part], strength[:, part])
        asked = _reached(counts, categories, question.name)
        if not asked.any():
            continue
        sums.answers[question.name] = tuple(categories.names[i].rsplit("_", 1)[1] for i in part)
        _add_agreement(sums, question.name, counts[:, part], predicted[:, part], asked)
        if strength is not None:
            likelihood = dirichlet_multinomial(counts[:, part], strength[:, part])
            sums.parts[question.name, "log-likelihood"] = (likelihood * asked)[:, None]
            _add_class_calibration(sums, question.name, counts[:, part], strength[:, part], asked)
    shares = four_classes_of_votes(votes)
    known, classes = np.isfinite(shares).all(axis=1), expressed(votes)
    if known.any() and classes:
        sums.answers[FOUR_CLASS] = classes
        p, n = four_classes(probabilities, "merger" in classes), len(classes)
        _add_agreement(sums, FOUR_CLASS, np.nan_to_num(shares)[:, :n], p[:, :n], known)
    return sums


def _reached(counts: np.ndarray, categories: Categories, question: str) -> np.ndarray:
    """Which galaxies have votes on the question from at least half of their volunteers: bool [n]."""
    votes = counts[:, categories.of_question(question)].sum(axis=1)
    volunteers = counts[:, categories.of_question("smooth-or-featured")].sum(axis=1)
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
    bins = _binned(given, given - shares[rows, guess], asked)
    sums.parts[question, "confusion"] = confusion.reshape(len(votes), -1)
    sums.parts[question, "confident"] = np.column_stack([confident & (truth == guess), confident]).astype(float)
    sums.parts[question, "calibration"] = bins
    sums.parts[question, "asked"] = asked[:, None].astype(float)


def _binned(given: np.ndarray, excess: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Each galaxy's excess of probability, its square and a one, in its bin: [n, 3 x bins]."""
    each = np.zeros((len(given), 3, BINS))
    each[np.arange(len(given)), :, _bin(given)] = np.column_stack([excess, excess**2, np.ones(len(given))])
    return (each * asked[:, None, None]).reshape(len(given), -1)


def _add_class_calibration(
    sums: Sums, question: str, votes: np.ndarray, strength: np.ndarray, asked: np.ndarray
) -> None:
    """Add how the chance that most voters give the most probable answer compares with whether they do."""
    guess, n = strength.argmax(axis=1), votes.sum(axis=1)
    asked = asked & ((n == 1) | (n >= FEWEST_VOTES))
    if not asked.any():
        return
    given = np.zeros(len(votes))
    given[asked] = leading_probability(strength[asked], guess[asked], np.where(n == 1, VOLUNTEERS, n)[asked])
    sums.parts[question, "class-calibration"] = _binned(given, given - (votes.argmax(axis=1) == guess), asked)


def _add_coverage(sums: Sums, question: str, votes: np.ndarray, strength: np.ndarray) -> None:
    """Add how far the vote fractions lie in their intervals, for the question and for all."""
    enough = votes.sum(axis=1) >= FEWEST_VOTES
    if not enough.any():
        return
    each = np.zeros((len(votes), len(LEVELS) + 1))
    each[enough, :-1] = covered(votes[enough], strength[enough]).mean(axis=1)
    each[:, -1] = enough
    sums.parts[question, "coverage"] = each
    sums.parts["all", "coverage"] = sums.parts.get(("all", "coverage"), 0) + each


def _bin(p: np.ndarray) -> np.ndarray:
    return np.clip((p * BINS).astype(int), 0, BINS - 1)


def _squares(votes: np.ndarray, probabilities: np.ndarray, categories: Categories) -> np.ndarray:
    truth, names = chained_votes(votes, categories)
    error = (chained_probabilities(probabilities, categories, names) - truth) ** 2
    known = np.isfinite(error)
    return np.column_stack([np.where(known, error, 0).sum(axis=1), known.sum(axis=1), known.any(axis=1)])


def figures(sums: Sums) -> dict[str, np.ndarray]:
    """Metrics from sums over galaxies, one value for each entry of the sums' leading axis."""
    found: dict[str, np.ndarray] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for (question, what), total in sums.parts.items():
            if what == "confusion":
                found |= _from_confusion(question, sums.answers[question], total)
            elif what == "confident":
                found[f"{question}/accuracy-confident"] = total[..., 0] / total[..., 1]
            elif what.endswith("calibration"):
                excess, squares, n = np.moveaxis(total.reshape(*total.shape[:-1], 3, BINS), -2, 0)
                found[f"{question}/{what}-error"] = np.abs(excess).sum(axis=-1) / n.sum(axis=-1)
                # The mean absolute value of a normal variate is sqrt(2 / pi) of its standard deviation.
                scatter = np.maximum(squares - excess**2 / np.maximum(n, 1), 0)
                found[f"{question}/{what}-noise"] = np.sqrt(2 / np.pi * scatter).sum(axis=-1) / n.sum(axis=-1)
            elif what == "coverage":
                for i, level in enumerate(LEVELS):
                    found[f"{question}/coverage-{100 * level:.0f}"] = total[..., i] / total[..., -1]
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
    """The number of galaxies behind each metric."""
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
        elif what.endswith("calibration"):
            for figure in ("error", "noise"):
                sizes[f"{question}/{what}-{figure}"] = int(values[2 * BINS :].sum())
        elif what == "coverage":
            for level in LEVELS:
                sizes[f"{question}/coverage-{100 * level:.0f}"] = int(values[-1])
        elif what == "asked":
            for figure in ("accuracy", "balanced-accuracy", "log-likelihood"):
                sizes[f"{question}/{figure}"] = int(values[0])
        elif what == "squares":
            sizes[f"{question}/rms"] = int(values[2])
    return sizes


def confusion(votes: np.ndarray, probabilities: np.ndarray, question: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The confusion matrix of a question: most voted answers (rows) against most probable ones (columns).

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    probabilities : [n, answers].
    question : its name, or `FOUR_CLASS`.

    Returns
    -------
    The matrix, int [k, k], and the answers' names; both empty where the question has no votes.
    """
    sums = contributions(votes, probabilities).total()
    answers = sums.answers.get(question, ())
    matrix = sums.parts.get((question, "confusion"), np.zeros(0))
    return matrix.reshape(len(answers), len(answers)).astype(int), answers


def reliability(
    votes: np.ndarray, probabilities: np.ndarray, question: str, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Predicted against observed shares of the votes, over all answers of a question.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    probabilities : [n, answers].
    question : its name.
    resamples, seed : of the bootstrap over galaxies.

    Returns
    -------
    [bins, 5]: mean predicted probability, mean share of the volunteers, its 95 % interval (from the bootstrap over
        galaxies) low and high, galaxies x answers; only bins that hold something.
    """
    categories = Categories.of(votes)
    counts, part = categories.counts(votes), categories.of_question(question)
    asked = _reached(counts, categories, question)
    if not asked.any():
        return np.zeros((0, 5))
    shares = counts[asked][:, part]
    shares = shares / shares.sum(axis=1, keepdims=True)
    p = categories.add(probabilities)[asked][:, part]
    into = _bin(p)[..., None] == np.arange(BINS)
    each = np.stack([(value[..., None] * into).sum(axis=1) for value in (p, shares, np.ones(p.shape))], axis=1)
    sums = Sums({(question, "reliability"): each.reshape(len(each), -1)}, {})
    total = sums.total().parts[question, "reliability"].reshape(3, BINS)
    drawn = sums.resample(resamples, seed).parts[question, "reliability"].reshape(-1, 3, BINS)
    used = total[2] > 0
    with np.errstate(invalid="ignore"):
        spread = (drawn[:, 1] / drawn[:, 2])[:, used]
    low, high = interval(spread)
    return np.column_stack(
        [total[0, used] / total[2, used], total[1, used] / total[2, used], low, high, total[2, used]]
    )
