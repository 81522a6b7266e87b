"""The Galaxy Zoo decision tree: questions, answers, and which answers lead to which question.

One shared tree carries every survey's votes, so that all of them train one model. It has the questions of
Galaxy Zoo DECaLS (Walmsley et al. 2022) and the odd features of Galaxy Zoo 2 (Willett et al. 2013). Where
another tree asked more coarsely ("is there a bar?" instead of "strong, weak or none?"), its votes count for
a *coarse answer*, the union of several answers of one question, and the likelihood adds those answers'
concentrations. Other trees are mapped onto it by
`training.importers.schemes`; what does not fit is added here.

Votes are arrays over `VOTE_COLUMNS` (the 42 answers, then the coarse ones); probabilities and Dirichlet
concentrations are arrays over `ANSWERS` alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Question:
    """One question: its answers in order, and the answers that lead to it (empty: every volunteer is asked)."""

    name: str
    answers: tuple[str, ...]
    asked_after: tuple[tuple[str, str], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The answers' full names, `<question>_<answer>`; `column_name` of one is its column in a table."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)


@dataclass(frozen=True)
class Tree:
    """Questions in the order of the volunteers' path, parents before children."""

    questions: tuple[Question, ...]

    def __iter__(self):
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, name: str) -> Question:
        for question in self.questions:
            if question.name == name:
                return question
        raise KeyError(name)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for question in self.questions for column in question.columns)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each question's answers stand among `columns`."""
        slices, start = {}, 0
        for question in self.questions:
            slices[question.name] = slice(start, start + len(question.answers))
            start += len(question.answers)
        return slices

    def leading_to(self, question: Question) -> list[int]:
        """Indices in `columns` of the answers after which `question` is asked (empty for a root)."""
        return [self.columns.index(f"{parent}_{answer}") for parent, answer in question.asked_after]


_FEATURED = (("smooth-or-featured", "featured-or-disk"),)
_FACE_ON = (("disk-edge-on", "no"),)
_SPIRAL = (("has-spiral-arms", "yes"),)
_GALAXY = (("smooth-or-featured", "smooth"), ("smooth-or-featured", "featured-or-disk"))

TREE = Tree(
    (
        Question("smooth-or-featured", ("smooth", "featured-or-disk", "artifact")),
        Question("disk-edge-on", ("yes", "no"), _FEATURED),
        Question("has-spiral-arms", ("yes", "no"), _FACE_ON),
        Question("bar", ("strong", "weak", "no"), _FACE_ON),
        Question("bulge-size", ("dominant", "large", "moderate", "small", "none"), _FACE_ON),
        Question("how-rounded", ("round", "in-between", "cigar-shaped"), (("smooth-or-featured", "smooth"),)),
        Question("edge-on-bulge", ("boxy", "none", "rounded"), (("disk-edge-on", "yes"),)),
        Question("spiral-winding", ("tight", "medium", "loose"), _SPIRAL),
        Question("spiral-arm-count", ("1", "2", "3", "4", "more-than-4", "cant-tell"), _SPIRAL),
        Question("merging", ("none", "minor-disturbance", "major-disturbance", "merger"), _GALAXY),
        Question(
            "odd-feature",
            ("none", "ring", "lens-or-arc", "disturbed", "irregular", "other", "merger", "dust-lane"),
            _GALAXY,
        ),
    )
)

ANSWERS: tuple[str, ...] = TREE.columns

#: Coarse answers: a union of answers of one question, for trees that asked less finely.
COARSE: dict[str, tuple[str, ...]] = {
    "bar_strong-or-weak": ("bar_strong", "bar_weak"),
    "bulge-size_large-or-moderate": ("bulge-size_large", "bulge-size_moderate"),
    "merging_disturbance": ("merging_minor-disturbance", "merging_major-disturbance"),
    "merging_any": ("merging_minor-disturbance", "merging_major-disturbance", "merging_merger"),
    "how-rounded_not-cigar": ("how-rounded_round", "how-rounded_in-between"),
    "odd-feature_any": tuple(c for c in TREE["odd-feature"].columns if c != "odd-feature_none"),
}

VOTE_COLUMNS: tuple[str, ...] = ANSWERS + tuple(COARSE)


def column_name(name: str) -> str:
    """The column of a question or an answer in every table that morph writes, with underscores for hyphens.

    SQL, `DataFrame.query` and TOPCAT take such a name without quotes. JSON and the decision tree keep the hyphens.
    """
    return name.replace("-", "_")


#: The columns of the answers in every table, in the order of `ANSWERS`.
ANSWER_COLUMNS: tuple[str, ...] = tuple(map(column_name, ANSWERS))

_SPELLINGS = {spelling: name for name in VOTE_COLUMNS for spelling in (name, column_name(name))}


def vote_column(name: str) -> str | None:
    """The vote column of a name with hyphens or underscores; None where there is no such column."""
    return _SPELLINGS.get(name)


def membership() -> np.ndarray:
    """Which answers each vote column unites: float32 [answers, vote columns] of zeros and ones."""
    matrix = np.zeros((len(ANSWERS), len(VOTE_COLUMNS)), dtype="float32")
    for j, column in enumerate(VOTE_COLUMNS):
        for answer in COARSE.get(column, (column,)):
            matrix[ANSWERS.index(answer), j] = 1
    return matrix


def question_of(column: str) -> str:
    """The question that a vote column answers."""
    return column.rsplit("_", 1)[0]


def question_membership(columns: tuple[str, ...] = VOTE_COLUMNS) -> np.ndarray:
    """Which question each column belongs to: float32 [columns, questions]."""
    names = [question.name for question in TREE]
    matrix = np.zeros((len(columns), len(names)), dtype="float32")
    for i, column in enumerate(columns):
        matrix[i, names.index(question_of(column))] = 1
    return matrix


def tree_probabilities(fractions: np.ndarray) -> np.ndarray:
    """Multiply each question's answers by the probability of being asked it.

    Parameters
    ----------
    fractions : [..., answers], each question summing to one.

    Returns
    -------
    [..., answers], the Kaggle Galaxy Zoo challenge's convention: a question's answers sum to the
    probability that a volunteer is asked it.
    """
    down = np.array(fractions, dtype=float)
    for question in TREE:
        if parents := TREE.leading_to(question):
            down[..., TREE.slices[question.name]] *= down[..., parents].sum(axis=-1, keepdims=True)
    return down


def _by_question(values: np.ndarray) -> dict[str, dict[str, float]]:
    """One galaxy's values [answers], as {question: {answer: value}}."""
    return {
        question.name: dict(zip(question.answers, map(float, values[TREE.slices[question.name]]), strict=True))
        for question in TREE
    }


def most_likely_path(probabilities: np.ndarray | Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, float]]:
    """The questions to which the most likely answers lead, each with its most likely answer and that answer's
    probability.

    Parameters
    ----------
    probabilities : one galaxy's, [answers] or {question: {answer: p}}; questions may be missing from the latter.
    """
    answers_of = _by_question(probabilities) if isinstance(probabilities, np.ndarray) else probabilities
    path: list[tuple[str, str, float]] = []
    chosen: set[tuple[str, str]] = set()
    for question in TREE:
        answers = answers_of.get(question.name)
        if answers and (not question.asked_after or chosen.intersection(question.asked_after)):
            answer = max(answers, key=answers.__getitem__)
            chosen.add((question.name, answer))
            path.append((question.name, answer, answers[answer]))
    return path


# --- Answers in words ---------------------------------------------------------------------------------

_PHRASES = {
    "smooth-or-featured_featured-or-disk": "featured",
    "disk-edge-on_yes": "edge-on",
    "disk-edge-on_no": "face-on",
    "has-spiral-arms_yes": "spiral arms",
    "has-spiral-arms_no": "no arms",
    "bar_strong": "strong bar",
    "bar_weak": "weak bar",
    "bar_no": "no bar",
    **{f"bulge-size_{size}": f"{size} bulge" for size in ("dominant", "large", "moderate", "small")},
    "bulge-size_none": "no bulge",
    "edge-on-bulge_boxy": "boxy bulge",
    "edge-on-bulge_none": "no bulge",
    "edge-on-bulge_rounded": "rounded bulge",
    **{f"spiral-winding_{winding}": f"{winding} winding" for winding in ("tight", "medium", "loose")},
    "spiral-arm-count_1": "1 arm",
    **{f"spiral-arm-count_{n}": f"{n} arms" for n in (2, 3, 4)},
    "spiral-arm-count_more-than-4": "more than 4 arms",
    "spiral-arm-count_cant-tell": "uncounted arms",
    "merging_none": "not merging",
    "odd-feature_none": "nothing odd",
    "odd-feature_other": "something odd",
    "odd-feature_lens-or-arc": "lens or arc",
    "odd-feature_dust-lane": "dust lane",
    "merging_minor-disturbance": "slightly disturbed",
    "merging_major-disturbance": "strongly disturbed",
}

#: Answers that nothing is there, which lists of answers leave out.
ABSENCES = {"merging_none", "odd-feature_none"}


def phrase(question: str, answer: str) -> str:
    """An answer in words that need no question beside them.

    >>> phrase("disk-edge-on", "no")
    'face-on'
    """
    return _PHRASES.get(f"{question}_{answer}", answer)


def phrases(given: Iterable[tuple[str, str]]) -> list[str]:
    """Questions and their answers in words, without absences; what two questions have in common is said once.

    >>> phrases([("disk-edge-on", "no"), ("merging", "merger"), ("odd-feature", "merger"), ("odd-feature", "none")])
    ['face-on', 'merger']
    """
    return list(dict.fromkeys(phrase(*pair) for pair in given if "_".join(pair) not in ABSENCES))
