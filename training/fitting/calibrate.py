"""Calibration: a few parameters for each question, fitted to held-out votes.

Maximum Dirichlet-multinomial likelihood, with a normal prior around "no correction" on every parameter, so that the
prior decides where votes are few, and the votes where they are many.

A hard class counts as one vote, but is the verdict of many volunteers and more certain than one vote: it would make
fractions too sharp and intervals too narrow. Where enough galaxies have several votes, only those enter the fit; where
none have, single votes constrain the fractions and not their total.

The three of forty volunteers who saw a spiral in a smooth galaxy do not answer like those who count the arms of a
spiral. So a question's galaxies are those for which most volunteers reached it, as in `training.metrics.votes`, and
the priors are wide only where there are enough of them.

Volunteers do not quite scatter like a Dirichlet, and its likelihood trades a wrong width for a wrong mean. Where the
priors are wide, the cross-entropy of the vote fractions, which depends on the mean alone, is added
(`docs/explanation/methods.md` has the measurement).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS, membership, question_of
from morph.model.calibration import FEWEST, LEAST_SHARE, MOST, Calibration
from morph.model.classifier import Classifier
from morph.votes import vote_counts
from training.metrics.dirichlet import dirichlet_multinomial
from training.metrics.votes import REACHED

#: Galaxies that were asked a question below which its calibration is left alone.
FEWEST_ASKED = 50
#: Standard deviations of the priors: of the logarithms of temperature and slope, of the shift, of offsets. Chosen on
#: halves of validation sets: fitted to 250 galaxies, a miscalibrated model gains nearly all of the possible
#: likelihood; fitted to 50, a calibrated model loses a few hundredths a galaxy.
PRIOR = {"temperature": 0.1, "slope": 0.1, "shift": 0.2, "offset": 0.1}
#: The same where enough galaxies reached the question and have several votes on it.
WIDE_PRIOR = {**PRIOR, "temperature": 0.4, "offset": 0.4}


def calibrate(classifier: Classifier, held_out: Galaxies | Sequence[Galaxies]) -> dict[str, int]:
    """Correct a classifier's concentrations on galaxies that it was not trained on, each kind of image by itself.

    A kind that was never corrected takes the correction of the one that is.

    Returns
    -------
    How many galaxies each corrected question was fitted on, of both kinds together. A question with votes on fewer
    than `FEWEST_ASKED` galaxies of a kind keeps its correction there.
    """
    sets = [held_out] if isinstance(held_out, Galaxies) else list(held_out)
    asked: dict[str, int] = {}
    for kind, layer in classifier.calibrations.items():
        some = [galaxies for galaxies in sets if galaxies.kind == kind]
        fitted = _fit(classifier, layer, Galaxies.concatenate(some)) if some else {}
        asked = {name: asked.get(name, 0) + fitted.get(name, 0) for name in TREE.slices if name in {**asked, **fitted}}
        if fitted:
            for other in classifier.calibrations.values():
                if other.fresh:
                    _assign(other, _values(layer))
    return asked


def _fit(classifier: Classifier, layer: Calibration, galaxies: Galaxies) -> dict[str, int]:
    """Fit the calibration of one kind of image to galaxies of that kind; how many were asked each question."""
    votes = vote_counts(galaxies.votes).astype(float)
    counts = {name: votes[:, _columns(name)].sum(axis=1) for name in TREE.slices}
    volunteers = counts["smooth-or-featured"]
    votes_used = {name: _votes_to_fit(each, each >= REACHED * volunteers) for name, each in counts.items()}
    asked = {name: int(rows.sum()) for name, (rows, _) in votes_used.items() if rows.sum() >= FEWEST_ASKED}
    if not asked:
        return {}
    values = _values(layer)
    for place, question in enumerate(TREE):
        if question.name in asked:
            part = TREE.slices[question.name]
            values["temperature"][place] = values["slope"][place] = 1
            values["offset"][part] = values["shift"][place] = 0
    _assign(layer, values)
    # Uncalibrated where the correction was just reset.
    concentration = classifier.answer(galaxies.images)["concentration"]
    for place, question in enumerate(TREE):
        if question.name in asked:
            part = TREE.slices[question.name]
            rows, direct = votes_used[question.name]
            fitted = fit_question(concentration[rows, part], votes[rows], question.name, direct)
            for name in ("temperature", "slope", "shift"):
                values[name][place] = getattr(fitted, name)
            values["offset"][part] = fitted.offset
    _assign(layer, values)
    return asked


def _votes_to_fit(votes: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, bool]:
    """Which galaxies' votes on a question to fit, and whether they are direct.

    Parameters
    ----------
    votes : [n], how many there are on the question.
    reached : bool [n], whether most of the galaxy's volunteers reached it.

    Returns
    -------
    bool [n], and whether the votes are direct (see `fit_question`). Others are used only where those are too few.
    """
    several = votes > 1
    if (several & reached).sum() >= FEWEST_ASKED:
        return several & reached, True
    return several if several.sum() >= FEWEST_ASKED else votes > 0, False


def _values(layer: Calibration) -> dict[str, np.ndarray]:
    return {weight.name: ops.convert_to_numpy(weight).copy() for weight in layer.weights}


def _assign(layer: Calibration, values: dict[str, np.ndarray]) -> None:
    for weight in layer.weights:
        weight.assign(values[weight.name])


@dataclass(frozen=True)
class Correction:
    """What `morph.model.calibration.Calibration` holds for one question; `offset` is [answers of the question]."""

    temperature: float
    slope: float
    shift: float
    offset: np.ndarray

    @classmethod
    def of(cls, unit: np.ndarray, prior: Mapping[str, float]) -> "Correction":
        """From numbers in standard deviations of their priors: temperature, slope, shift, offsets."""
        return cls(
            float(np.exp(prior["temperature"] * unit[0])),
            float(np.exp(prior["slope"] * unit[1])),
            float(prior["shift"] * unit[2]),
            prior["offset"] * unit[3:],
        )

    def apply(self, concentration: np.ndarray) -> np.ndarray:
        """As the layer does, in double precision: [n, answers of the question] to the same."""
        total = concentration.sum(axis=1, keepdims=True)
        share = np.exp(log_softmax(np.log(concentration / total) / self.temperature + self.offset, axis=1))
        worth = np.exp(np.clip(self.slope * np.log(total) + self.shift, np.log(FEWEST), np.log(MOST)))
        return np.maximum(share, LEAST_SHARE) * worth


def fit_question(concentration: np.ndarray, votes: np.ndarray, question: str, direct: bool = False) -> Correction:
    """The most probable correction of one question.

    Parameters
    ----------
    concentration : [n, answers of the question], as the heads give them.
    votes : [n, vote columns], 0 where not asked.
    direct : whether these are several votes each on galaxies that reached the question. The priors are wide then, and
        the cross-entropy of the vote fractions is added to the likelihood.

    Returns
    -------
    The correction, in double precision.
    """
    counts = votes[:, _columns(question)]
    united = membership()[TREE.slices[question], _columns(question)].astype(float)
    concentration = concentration.astype(float)
    prior = WIDE_PRIOR if direct else PRIOR
    worth = _independent_votes(counts.sum(axis=1), concentration.sum(axis=1)) if direct else 0.0
    shares = counts / counts.sum(axis=1, keepdims=True)

    def cost(unit: np.ndarray) -> float:
        corrected = Correction.of(unit, prior).apply(concentration)
        total = corrected.sum(axis=1)
        added = corrected @ united
        likelihood = dirichlet_multinomial(counts, added, total)
        entropy = -(shares * np.log(added / total[:, None])).sum()
        return 0.5 * float(unit @ unit) - float(likelihood.sum()) + worth * float(entropy)

    found = minimize(cost, np.zeros(3 + concentration.shape[1]), method="L-BFGS-B").x
    return Correction.of(found, prior)


def _independent_votes(votes: np.ndarray, total: np.ndarray) -> float:
    """The effective number of independent votes on a typical galaxy.

    Fractions of n votes of a Dirichlet-multinomial scatter as those of n (A + 1) / (n + A) independent ones (Mosimann
    1962), with A the total concentration.
    """
    return float(np.median(votes * (total + 1) / (votes + total)))


def _columns(question: str) -> list[int]:
    """Indices of a question's vote columns, unions of its answers included."""
    return [j for j, column in enumerate(VOTE_COLUMNS) if question_of(column) == question]
