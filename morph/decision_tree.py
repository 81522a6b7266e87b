"""The Galaxy Zoo decision trees: questions, answers, and who is asked what.

One shared tree carries every survey's votes, so that all of them train one model. It has the questions of
Galaxy Zoo DECaLS (Walmsley et al. 2022) and the odd features of Galaxy Zoo 2 (Willett et al. 2013). Where
another tree asked more coarsely ("is there a bar?" instead of "strong, weak or none?"), its votes count for
a *coarse answer*, the union of several answers of one question, and the likelihood adds those answers'
concentrations. Nothing is bent to fit.

Votes are arrays over `VOTE_COLUMNS` (the 42 answers, then the coarse ones); probabilities and Dirichlet
concentrations are arrays over `ANSWERS` alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Question:
    """One question: its answers in order, and the answers that lead to it (empty: everybody is asked)."""

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
    """The column of a question or an answer in every table that is written: the name with underscores for hyphens.

    SQL, `DataFrame.query` and TOPCAT take such a name without quotes. JSON and the decision tree keep the hyphens.
    """
    return name.replace("-", "_")


#: The columns of the answers in every table, in the order of `ANSWERS`.
ANSWER_COLUMNS: tuple[str, ...] = tuple(map(column_name, ANSWERS))

_SPELLINGS = {spelling: name for name in VOTE_COLUMNS for spelling in (name, column_name(name))}


def vote_column(name: str) -> str | None:
    """The vote column that a table or a mapping means, spelled with hyphens or underscores; None when it is none."""
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


def empty_votes() -> np.ndarray:
    """Votes of a galaxy that nobody was asked about: NaN [vote columns]."""
    return np.full(len(VOTE_COLUMNS), np.nan, dtype="float32")


def set_votes(row: np.ndarray, counts: dict[str, float]) -> np.ndarray:
    """Put `counts` (vote column -> votes) into `row`; every other column of a question that is
    answered becomes 0 rather than NaN, since it was offered and not chosen."""
    answered = {question_of(column) for column in counts}
    for j, column in enumerate(VOTE_COLUMNS):
        if column in counts:
            row[j] = counts[column]
        elif question_of(column) in answered and np.isnan(row[j]):
            row[j] = 0.0
    return row


def chain(fractions: np.ndarray) -> np.ndarray:
    """Multiply each question's answers by the chance of being asked it.

    Parameters
    ----------
    fractions : [..., answers], each question summing to one.

    Returns
    -------
    [..., answers], the Kaggle Galaxy Zoo challenge's convention: a question's answers sum to the
    probability that a volunteer arrives there.
    """
    chained = np.array(fractions, dtype=float)
    for question in TREE:
        parents = TREE.leading_to(question)
        if parents:
            part = TREE.slices[question.name]
            chained[..., part] *= chained[..., parents].sum(axis=-1, keepdims=True)
    return chained


# --- Other trees -------------------------------------------------------------------------------------

#: Galaxy Zoo 2 answers by their number in the published tables (a01 ... a38, Willett et al. 2013).
#: "just noticeable" bulges are small, "obvious" ones moderate or large.
GALAXY_ZOO_2: dict[str, str] = {
    "a01": "smooth-or-featured_smooth",
    "a02": "smooth-or-featured_featured-or-disk",
    "a03": "smooth-or-featured_artifact",
    "a04": "disk-edge-on_yes",
    "a05": "disk-edge-on_no",
    "a06": "bar_strong-or-weak",
    "a07": "bar_no",
    "a08": "has-spiral-arms_yes",
    "a09": "has-spiral-arms_no",
    "a10": "bulge-size_none",
    "a11": "bulge-size_small",
    "a12": "bulge-size_large-or-moderate",
    "a13": "bulge-size_dominant",
    "a15": "odd-feature_none",
    "a16": "how-rounded_round",
    "a17": "how-rounded_in-between",
    "a18": "how-rounded_cigar-shaped",
    "a19": "odd-feature_ring",
    "a20": "odd-feature_lens-or-arc",
    "a21": "odd-feature_disturbed",
    "a22": "odd-feature_irregular",
    "a23": "odd-feature_other",
    "a24": "odd-feature_merger",
    "a38": "odd-feature_dust-lane",
    "a25": "edge-on-bulge_rounded",
    "a26": "edge-on-bulge_boxy",
    "a27": "edge-on-bulge_none",
    "a28": "spiral-winding_tight",
    "a29": "spiral-winding_medium",
    "a30": "spiral-winding_loose",
    "a31": "spiral-arm-count_1",
    "a32": "spiral-arm-count_2",
    "a33": "spiral-arm-count_3",
    "a34": "spiral-arm-count_4",
    "a36": "spiral-arm-count_more-than-4",
    "a37": "spiral-arm-count_cant-tell",
}

#: The Galaxy Zoo 2 answers after which each of its questions is asked, by question number. Question 6
#: ("anything odd?") is asked of everybody who saw a galaxy.
GALAXY_ZOO_2_ASKED_AFTER: dict[str, tuple[str, ...]] = {
    "t01": (),
    "t02": ("a02",),
    "t03": ("a05",),
    "t04": ("a05",),
    "t05": ("a05",),
    "t06": ("a01", "a02"),
    "t07": ("a01",),
    "t08": ("a14",),
    "t09": ("a04",),
    "t10": ("a08",),
    "t11": ("a08",),
}

#: Hard classes: the answers that each implies, and no more.
_SMOOTH = ("smooth-or-featured_smooth",)
_DISK = ("smooth-or-featured_featured-or-disk",)
_FACE_ON_DISK = (*_DISK, "disk-edge-on_no")
_SPIRAL_DISK = (*_FACE_ON_DISK, "has-spiral-arms_yes")
_EDGE_ON = (*_DISK, "disk-edge-on_yes")

GALAXY_ZOO_1_CLASSES: dict[str, tuple[str, ...]] = {
    "elliptical": (*_SMOOTH, "merging_none"),
    "spiral_clockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral_anticlockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral": (*_SPIRAL_DISK, "merging_none"),
    # Half of what Galaxy Zoo 1 calls edge-on, Galaxy Zoo 2 calls smooth and cigar-shaped: nobody was asked which.
    "edge_on": ("disk-edge-on_yes", "merging_none"),
    "merger": ("merging_merger", "odd-feature_merger"),
    "unknown": ("smooth-or-featured_artifact",),
}

#: Answers that a volunteer of Galaxy Zoo 1 could give and nobody could deny: who saw a disk without arms had no
#: button to say so, nor who saw another odd feature than a merger.
_UNDENIABLE = ("has-spiral-arms_yes", "odd-feature_merger")

#: What a vote for each class says. A hard class may imply what nobody could deny, being one vote among galaxies that
#: other classes and surveys speak about; as shares of a galaxy's own volunteers such votes would all be for one side.
#: And who voted for edge-on must count as not smooth there, or a galaxy that nine of ten saw edge-on would be smooth
#: by the tenth's vote alone.
GALAXY_ZOO_1_VOTES: dict[str, tuple[str, ...]] = {
    name: tuple(answer for answer in answers if answer not in _UNDENIABLE)
    for name, answers in {**GALAXY_ZOO_1_CLASSES, "edge_on": (*_EDGE_ON, "merging_none")}.items()
}

#: Galaxy10 DECaLS (Leung & Bovy), in the order of its integer classes.
GALAXY10_CLASSES: dict[str, tuple[str, ...]] = {
    "disturbed": ("merging_disturbance",),
    "merging": ("merging_merger",),
    "round_smooth": (*_SMOOTH, "how-rounded_round"),
    "in_between_smooth": (*_SMOOTH, "how-rounded_in-between"),
    "cigar_smooth": (*_SMOOTH, "how-rounded_cigar-shaped"),
    "barred_spiral": (*_SPIRAL_DISK, "bar_strong-or-weak"),
    "unbarred_tight_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_tight"),
    "unbarred_loose_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_loose"),
    "edge_on_without_bulge": (*_EDGE_ON, "edge-on-bulge_none"),
    "edge_on_with_bulge": (*_EDGE_ON, "edge-on-bulge_rounded"),
}

#: Rings among face-on featured galaxies (Walmsley et al. 2022b). "No ring" may have another odd feature,
#: which the shared tree cannot say with one vote, so it counts against "ring" as "none".
RING_CLASSES: dict[str, tuple[str, ...]] = {
    "ring": (*_FACE_ON_DISK, "odd-feature_ring"),
    "no_ring": (*_FACE_ON_DISK, "odd-feature_none"),
}


def likely_path(probabilities: np.ndarray) -> list[tuple[str, str, float]]:
    """The questions that the most probable answers lead through: (question, answer, its probability).

    Parameters
    ----------
    probabilities : [answers], one galaxy's.
    """
    chosen: list[tuple[str, str, float]] = []
    for question in TREE:
        reached = not question.asked_after or any((q, a) in question.asked_after for q, a, _ in chosen)
        if reached:
            p = probabilities[TREE.slices[question.name]]
            chosen.append((question.name, question.answers[int(p.argmax())], float(p.max())))
    return chosen
