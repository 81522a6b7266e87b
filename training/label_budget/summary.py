"""The results of a transfer: every figure with its interval, and two sentences for planning a survey's labels.

An interval combines two uncertainties: that of the test galaxies, from a bootstrap that draws the same galaxies for
every method and budget, and that of the training galaxies and seeds, from the spread between repeats (Student's t).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from morph.console import listed
from morph.decision_tree import ANSWERS, TREE
from morph.errors import InputError
from training.evaluation.evaluate import Evaluation
from training.label_budget.label_curve import gain, labels_needed
from training.label_budget.plan import METHODS, THREE_QUESTIONS, Trial, three_questions
from training.metrics import votes as metrics
from training.metrics.estimates import TAIL, Estimate
from training.metrics.votes import FOUR_CLASS

#: Resamples of the test galaxies.
RESAMPLES = 400
#: The figures of a question that are reported; completeness and purity have one value an answer.
REPORTED = ("accuracy", "accuracy-confident", "balanced-accuracy", "completeness", "purity")
#: Before the name of one of the three questions of the transfer from SDSS to DES.
THREE = "three questions"
#: The figure that summarises all questions.
HEADLINE = "headline"
#: The budget at which savings are reported, if it was measured, and the further labels whose gain is estimated.
REFERENCE, MORE = 100, 100

Cell = tuple[str, int]


@dataclass(frozen=True)
class Point:
    """A figure at one budget: its mean over repeats, and resamples of that mean, [resamples]."""

    value: float
    draws: np.ndarray
    n: int

    @property
    def figure(self) -> Estimate:
        """The figure with its 95 % interval."""
        low, high = np.nanquantile(self.draws, [TAIL, 1 - TAIL])
        return Estimate(self.value, float(low), float(high), self.n)


@dataclass(frozen=True)
class Summary:
    """All figures of a transfer.

    Attributes
    ----------
    points : {(method, labels): {figure: Point}}; `HEADLINE` is one of the figures.
    repeats : {(method, labels): number of trainings}.
    headline : the headline figure in words.
    skipped : {question: why it is left out}.
    simulated : whether the target's galaxies are.
    """

    points: dict[Cell, dict[str, Point]]
    repeats: dict[Cell, int]
    headline: str
    skipped: dict[str, str]
    simulated: bool

    @cached_property
    def methods(self) -> list[str]:
        """The methods that need labels, in the order of `METHODS`."""
        return [method for method in METHODS if any(cell[0] == method and cell[1] for cell in self.points)]

    def labels(self, method: str) -> list[int]:
        return sorted(labels for name, labels in self.points if name == method)

    def curve(self, method: str, name: str = HEADLINE) -> list[Point]:
        """A figure at every budget of a method that has it."""
        cells = [self.points[method, labels] for labels in self.labels(method)]
        return [cell[name] for cell in cells if name in cell]

    def rows(self) -> list[dict[str, Any]]:
        """The long table: one row a method, budget and figure."""
        rows = []
        for (method, labels), figures in self.points.items():
            for name, point in figures.items():
                *question, figure, answer = _parts(name)
                row = {"method": method, "labels": labels, "repeats": self.repeats[method, labels]}
                row |= {"question": "/".join(question), "figure": figure, "answer": answer}
                rows.append(row | asdict(point.figure) | {"simulated": self.simulated})
        return rows

    def saving(self) -> dict[str, Any] | None:
        """How many labels training from scratch needs to do as well as fine-tuning at the reference budget.

        A dict of ``labels`` (the budget), ``scratch``, ``low`` and ``high`` (None: more than any that was tried) and
        ``most`` (the largest budget tried from scratch); None where either was not measured at two budgets.
        """
        tuned, scratch = self.labels("finetuned"), self.labels("scratch")
        if not tuned or len(scratch) < 2:
            return None
        at = next((labels for labels in tuned if labels >= REFERENCE), tuned[-1])
        points = self.curve("scratch")
        wanted = self.points["finetuned", at][HEADLINE]
        best = labels_needed(np.array(scratch), np.array([p.value for p in points]), np.array(wanted.value))
        drawn = labels_needed(np.array(scratch), np.stack([p.draws for p in points], axis=-1), wanted.draws)
        # Quantiles of numbers some of which are infinite must not interpolate between a number and infinity.
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL], method="nearest")
        numbers = {name: _finite(value) for name, value in (("scratch", best), ("low", low), ("high", high))}
        return {"labels": at, **numbers, "least": scratch[0], "most": scratch[-1]}

    def next_labels(self) -> dict[str, Any] | None:
        """The expected gain in the headline figure from `MORE` labels beyond the largest fine-tuned budget."""
        labels, points = self.labels("finetuned"), self.curve("finetuned")
        if len(labels) < 2:
            return None
        spread = np.array([np.nanstd(point.draws) for point in points])
        best = gain(np.array(labels), np.array([point.value for point in points]), spread, MORE)
        drawn = gain(np.array(labels), np.stack([point.draws for point in points], axis=-1), spread, MORE)
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
        return {"after": labels[-1], "more": MORE, "gain": float(best), "low": float(low), "high": float(high)}

    def sentences(self) -> list[str]:
        """The saving and the gain of further labels, in words."""
        saving, more = self.saving(), self.next_labels()
        first = [_saving_sentence(saving)] if saving else []
        return first + ([_next_sentence(more, self.headline)] if more else [])

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "simulated": self.simulated,
            "headline": self.headline,
            "skipped": self.skipped,
            "saving": self.saving(),
            "next_labels": self.next_labels(),
            "sentences": self.sentences(),
            "figures": self.rows(),
        }


def summarise(evaluations: Mapping[Trial, Evaluation]) -> Summary:
    """Join the repeats of every method and budget. The evaluations are all of the same galaxies.

    InputError when no question has two answers that occur.
    """
    first = next(iter(evaluations.values()))
    schemes = {"": first.votes, f"{THREE}/": three_questions(first.votes)}
    usable, skipped = _usable(schemes)
    if not usable:
        raise InputError("No question has two answers that occur in the test split, so there is nothing to classify.")
    cells: dict[Cell, list[Evaluation]] = {}
    for trial, evaluation in evaluations.items():
        cells.setdefault((trial.method, trial.labels), []).append(evaluation)
    parts_of_headline, headline = _headline(usable)
    points: dict[Cell, dict[str, Point]] = {}
    for k, (cell, repeats) in enumerate(cells.items()):
        joined = _join([_measure(evaluation, schemes) for evaluation in repeats], np.random.default_rng(k))
        points[cell] = {
            name: point for name, point in joined.items() if _question(name) in usable and _is_reported(name)
        }
        parts = [joined[name] for name in parts_of_headline if name in joined]
        points[cell][HEADLINE] = Point(
            float(np.mean([part.value for part in parts])),
            np.mean([part.draws for part in parts], axis=0),
            max(part.n for part in parts),
        )
    repeats_of = {cell: len(repeats) for cell, repeats in cells.items()}
    return Summary(points, repeats_of, headline, skipped, bool(first.about["simulated"]))


def _measure(evaluation: Evaluation, schemes: Mapping[str, np.ndarray]) -> dict[str, tuple[float, np.ndarray, int]]:
    """Every figure of one training: its value, its resamples and the galaxies behind it."""
    found: dict[str, tuple[float, np.ndarray, int]] = {}
    for scheme, votes in schemes.items():
        sums = metrics.contributions(votes, evaluation.answers["probabilities"])
        value, n = metrics.figures(sums.total()), metrics.sample_sizes(sums.total())
        # The same seed draws the same galaxies for every trial, so that differences between them are paired.
        drawn = metrics.figures(sums.resample(RESAMPLES, seed=0))
        found |= {f"{scheme}{name}": (float(value[name]), drawn[name], n.get(name, len(votes))) for name in value}
    return found


def _join(repeats: list[dict[str, tuple[float, np.ndarray, int]]], random: np.random.Generator) -> dict[str, Point]:
    """Figures averaged over repeats, with the spread between repeats in their resamples."""
    joined = {}
    count = len(repeats)
    # One deviate for all figures of a cell: a lucky training is lucky on every question.
    deviate = stats.t.rvs(count - 1, size=RESAMPLES, random_state=random) if count > 1 else np.zeros(RESAMPLES)
    for name in repeats[0]:
        known = [repeat[name] for repeat in repeats if name in repeat]
        values = np.array([value for value, _, _ in known])
        spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        drawn = np.mean([draws for _, draws, _ in known], axis=0) + spread * deviate
        joined[name] = Point(float(values.mean()), _bounded(name, drawn), known[0][2])
    return joined


def _bounded(name: str, draws: np.ndarray) -> np.ndarray:
    """Shares stay between zero and one."""
    return np.clip(draws, 0, 1) if _is_reported(name) else draws


def _usable(schemes: Mapping[str, np.ndarray]) -> tuple[list[str], dict[str, str]]:
    """The questions with at least two true answers, and why the others are left out."""
    usable: list[str] = []
    skipped: dict[str, str] = {}
    for scheme, votes in schemes.items():
        # Which answers are true does not depend on what is predicted.
        sums = metrics.contributions(votes, np.full((len(votes), len(ANSWERS)), 0.5)).total()
        for question in THREE_QUESTIONS if scheme else [question.name for question in TREE] + [FOUR_CLASS]:
            matrix = sums.parts.get((question, "confusion"))
            classes = 0 if matrix is None else int((_square(matrix).sum(axis=1) > 0).sum())
            if classes >= 2:
                usable.append(f"{scheme}{question}")
            else:
                reason = "no volunteer answered it" if classes == 0 else "only one of its answers occurs"
                skipped[question] = f"{reason} in the test split"
    return list(dict.fromkeys(usable)), {q: why for q, why in skipped.items() if q not in usable}


def _square(matrix: np.ndarray) -> np.ndarray:
    side = round(len(matrix) ** 0.5)
    return matrix.reshape(side, side)


def _headline(usable: list[str]) -> tuple[list[str], str]:
    """The figures whose mean is the headline, and its name in words."""
    three = [question for question in usable if question.startswith(THREE)]
    if three:
        names = [THREE_QUESTIONS[question.split("/")[1]] for question in three]
        mean = "mean accuracy" if len(names) > 1 else "accuracy"
        return [f"{q}/accuracy-confident" for q in three], f"{mean} on {listed(names)} where volunteers agree"
    question = FOUR_CLASS if FOUR_CLASS in usable else usable[0]
    return [f"{question}/accuracy"], f"accuracy on {question}"


def _question(name: str) -> str:
    *question, _, _ = _parts(name)
    return "/".join(question)


def _parts(name: str) -> list[str]:
    """A figure's name as scheme (if any), question, figure and answer ("" where it has none)."""
    parts = name.split("/")
    return parts if parts[-2:-1] and parts[-2] in ("completeness", "purity") else [*parts, ""]


def _is_reported(name: str) -> bool:
    return _parts(name)[-2] in REPORTED


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _saving_sentence(saving: dict[str, Any]) -> str:
    labels, scratch, most = saving["labels"], saving["scratch"], saving["most"]
    start = f"Fine-tuning on {labels:,} labels does"
    if scratch is None and most <= labels:
        return f"{start} better than training from scratch on {most:,}, the most that was tried."
    if scratch is None:
        return (
            f"{start} better than training from scratch on {most:,}: it saves more than {most - labels:,} labels"
            f"{_at_least(saving)}."
        )
    low, high = _about(saving["low"], saving), _about(saving["high"], saving)
    around = f"{_about(scratch, saving)} (95 % interval {low} to {high})"
    if scratch <= labels:
        return f"{start} no better than training from scratch on {around}: it saves none."
    return f"{start} as well as training from scratch on {around}: it saves about {_round(scratch - labels):,} labels."


def _at_least(saving: dict[str, Any]) -> str:
    low = saving["low"]
    return "" if low is None else f" (95 % interval: from scratch needs {_about(low, saving)} or more)"


def _about(labels: float | None, saving: dict[str, Any]) -> str:
    if labels is None:
        return f"more than {saving['most']:,}"
    return f"{saving['least']:,} or fewer" if labels <= saving["least"] else f"{_round(labels):,}"


def _round(number: float) -> int:
    """Two significant digits."""
    return int(float(f"{number:.2g}"))


def _next_sentence(more: dict[str, Any], headline: str) -> str:
    gain, low, high = (100 * more[name] for name in ("gain", "low", "high"))
    start = f"The next {more['more']} labels after {more['after']:,} are expected to bring"
    points = f"{gain:+.2f} points of {headline} ({low:+.2f} to {high:+.2f})"
    if more["high"] <= 0:
        return f"{start} nothing: {points}."
    return f"{start} {points}{'.' if more['low'] > 0 else ', which is not statistically significant.'}"
