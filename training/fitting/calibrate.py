"""Fitting the calibration: the few numbers a question that held-out votes agree with best.

Maximum Dirichlet-multinomial likelihood, held towards "nothing to correct" by a normal prior on every number, so that
the prior decides where votes are few, and the votes where they are many.

A hard class counts as one vote, but is the verdict of many volunteers and surer than the word of one: it would make
fractions too sharp and intervals too narrow. Where enough galaxies have several votes, only those are listened to;
where none have, one vote says something of the fractions and, by itself, nothing of their total.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from morph.galaxies import Galaxies
from morph.model.calibration import FEWEST, LEAST_SHARE, MOST, Calibration
from morph.model.classifier import Classifier
from morph.questions import TREE, VOTE_COLUMNS, membership, question_of
from training.evaluation.metrics import dirichlet_multinomial

#: Galaxies that were asked a question below which its calibration is left alone.
FEWEST_ASKED = 50
#: Standard deviations of the priors: of the logarithms of temperature and slope, of the shift, of offsets. Chosen on
#: halves of validation sets: fitted to 250 galaxies, they let a model that is wrong gain nearly all of the likelihood
#: that there is to gain; fitted to 50, a model that is right loses a few hundredths a galaxy.
PRIOR = {"temperature": 0.1, "slope": 0.1, "shift": 0.2, "offset": 0.1}


def calibrate(classifier: Classifier, held_out: Galaxies | Sequence[Galaxies]) -> dict[str, int]:
    """Correct a classifier's concentrations on galaxies that it was not trained on, each kind of image by itself.

    A kind that was never corrected takes the correction of the one that is.

    Returns how many galaxies each corrected question was fitted on, of both kinds together. A question that fewer than
    `FEWEST_ASKED` galaxies of a kind were asked keeps the correction it had there.
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
    votes = np.nan_to_num(galaxies.votes).astype(float)
    listened = {name: _listened(votes[:, _columns(name)].sum(axis=1)) for name in TREE.slices}
    asked = {name: int(rows.sum()) for name, rows in listened.items() if rows.sum() >= FEWEST_ASKED}
    if not asked:
        return {}
    values = _values(layer)
    for place, question in enumerate(TREE):
        if question.name in asked:
            part = TREE.slices[question.name]
            values["temperature"][place] = values["slope"][place] = 1
            values["offset"][part] = values["shift"][place] = 0
    _assign(layer, values)
    # What the heads say, where the correction was just taken back.
    concentration = classifier.answer(galaxies.images)["concentration"]
    for place, question in enumerate(TREE):
        if question.name in asked:
            part = TREE.slices[question.name]
            rows = listened[question.name]
            fitted = fit_question(concentration[rows, part], votes[rows], question.name)
            for name in ("temperature", "slope", "shift"):
                values[name][place] = getattr(fitted, name)
            values["offset"][part] = fitted.offset
    _assign(layer, values)
    return asked


def _listened(votes: np.ndarray) -> np.ndarray:
    """Whose votes on a question to fit, given how many there are: those with several if they are enough, bool [n]."""
    several = votes > 1
    return several if several.sum() >= FEWEST_ASKED else votes > 0


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
    def of(cls, unit: np.ndarray) -> "Correction":
        """From numbers in standard deviations of their priors: temperature, slope, shift, offsets."""
        return cls(
            float(np.exp(PRIOR["temperature"] * unit[0])),
            float(np.exp(PRIOR["slope"] * unit[1])),
            float(PRIOR["shift"] * unit[2]),
            PRIOR["offset"] * unit[3:],
        )

    def apply(self, concentration: np.ndarray) -> np.ndarray:
        """As the layer does, in double precision: [n, answers of the question] to the same."""
        total = concentration.sum(axis=1, keepdims=True)
        share = np.exp(log_softmax(np.log(concentration / total) / self.temperature + self.offset, axis=1))
        worth = np.clip(np.exp(self.slope * np.log(total) + self.shift), FEWEST, MOST)
        return np.maximum(share, LEAST_SHARE) * worth


def fit_question(concentration: np.ndarray, votes: np.ndarray, question: str) -> Correction:
    """The most probable correction of one question.

    Parameters
    ----------
    concentration : [n, answers of the question], as the heads give them.
    votes : [n, vote columns], 0 where nobody was asked.
    """
    counts = votes[:, _columns(question)]
    united = membership()[TREE.slices[question], _columns(question)].astype(float)
    concentration = concentration.astype(float)

    def cost(unit: np.ndarray) -> float:
        corrected = Correction.of(unit).apply(concentration)
        likelihood = dirichlet_multinomial(counts, corrected @ united, corrected.sum(axis=1))
        return 0.5 * float(unit @ unit) - float(likelihood.sum())

    return Correction.of(minimize(cost, np.zeros(3 + concentration.shape[1]), method="L-BFGS-B").x)


def _columns(question: str) -> list[int]:
    """Where a question's votes stand among the vote columns, unions of its answers included."""
    return [j for j, column in enumerate(VOTE_COLUMNS) if question_of(column) == question]
