"""The classes of a census: every answer of the decision tree, unions of answers, and the Hubble sequence.

All are linear or products of *tree fractions*: the share of the volunteers who, starting at the top, give an answer.
Those of a model are its probabilities multiplied down the tree; those of volunteers follow from their votes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morph.decision_tree import ABSENCES, COARSE, TREE, VOTE_COLUMNS, column_name, membership, phrase, question_of
from morph.votes import vote_counts

#: The question that the classes of the Hubble sequence answer together; everyone is asked it.
HUBBLE = "hubble-sequence"

#: Bulges of spirals from the largest to the smallest, with the vote columns that they unite.
BULGES = {
    "sa": "bulge-size_dominant",
    "sb": "bulge-size_large-or-moderate",
    "sc": "bulge-size_small",
    "sd": "bulge-size_none",
}

#: Classes of the Hubble sequence: their names in words. They add up to one.
HUBBLE_CLASSES: dict[str, str] = {
    "e0": "round ellipticals",
    "e3": "ellipticals between round and elongated",
    "e7": "elongated ellipticals",
    "s0": "face-on disks without spiral arms",
    **{bulge: f"unbarred spirals, bulge {BULGES[bulge].split('_')[1].replace('-', ' ')}" for bulge in BULGES},
    **{
        f"{bulge[0]}b{bulge[1]}": f"barred spirals, bulge {BULGES[bulge].split('_')[1].replace('-', ' ')}"
        for bulge in BULGES
    },
    "edge-on": "edge-on disks",
    "artifact": "stars and artifacts",
}


@dataclass(frozen=True)
class GalaxyClass:
    """One class: its column's name, the question that it answers, and what it is in words."""

    name: str
    question: str
    words: str


def _answer_words(column: str) -> str:
    question = question_of(column)
    answer = column.removeprefix(f"{question}_")
    parts = [each.rsplit("_", 1)[1] for each in COARSE.get(column, ())]
    if parts:
        return f"{question.replace('-', ' ')}: {answer.replace('-', ' ')}"
    said = phrase(question, answer)
    if question == "smooth-or-featured":
        return {"artifact": "star or artifact"}.get(said, said)
    alone = said != answer and question != "edge-on-bulge" and column not in ABSENCES
    return said if alone else f"{question.replace('-', ' ')}: {answer.replace('-', ' ')}"


#: Every class, in the order of the columns of `with_hubble`.
CLASSES: tuple[GalaxyClass, ...] = (
    *(GalaxyClass(column_name(name), question_of(name), _answer_words(name)) for name in VOTE_COLUMNS),
    *(GalaxyClass(f"hubble_{column_name(name)}", HUBBLE, words) for name, words in HUBBLE_CLASSES.items()),
)

#: The classes that most people ask for.
MAIN = (
    "smooth-or-featured_smooth",
    "smooth-or-featured_featured-or-disk",
    "disk-edge-on_yes",
    "has-spiral-arms_yes",
    "bar_strong-or-weak",
    "merging_any",
)

#: For each question the columns among the classes whose sum is the share of those who are asked it: the answers that
#: lead to it; none where everyone is asked. Answers come first among the vote columns, and these among the classes.
ASKED: dict[str, tuple[int, ...]] = {
    **{question.name: tuple(TREE.leading_to(question)) for question in TREE},
    HUBBLE: (),
}


def index_of(name: str) -> int:
    """The place of a class, by its name with hyphens or underscores.

    >>> CLASSES[index_of("bar_strong-or-weak")].words
    'bar: strong or weak'
    """
    return next(i for i, each in enumerate(CLASSES) if each.name == column_name(name))


def classes_of_answers(tree: np.ndarray) -> np.ndarray:
    """The tree fractions of all classes.

    Parameters
    ----------
    tree : tree fractions of the answers, [n, answers], as `morph.decision_tree.tree_probabilities` gives them.

    Returns
    -------
    float32 [n, classes], the tree fraction of each class.
    """
    return with_hubble(tree.astype("float32", copy=False) @ membership())


def classes_of_votes(votes: np.ndarray) -> np.ndarray:
    """What volunteers said of each class.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.

    Returns
    -------
    float [n, classes], tree fractions; NaN where the votes do not say: a question that nobody was asked although some
    volunteers could have been, or answers that were asked about together only.
    """
    counts, asked = vote_counts(np.asarray(votes, dtype=float)), np.isfinite(votes)
    found = np.full(counts.shape, np.nan)
    for question in TREE:
        columns = [i for i, name in enumerate(VOTE_COLUMNS) if question_of(name) == question.name]
        total = counts[:, columns].sum(axis=1)
        known = asked[:, columns].any(axis=1) & (total > 0)
        reach = _reach(found, question.asked_after)
        for column in columns:
            members = COARSE.get(VOTE_COLUMNS[column], (VOTE_COLUMNS[column],))
            inside = [i for i in columns if set(COARSE.get(VOTE_COLUMNS[i], (VOTE_COLUMNS[i],))) <= set(members)]
            across = [i for i in columns if i not in inside and set(COARSE.get(VOTE_COLUMNS[i], ())) & set(members)]
            says = known & (counts[:, across].sum(axis=1) == 0)
            share = counts[:, inside].sum(axis=1) / np.where(total > 0, total, 1)
            found[:, column] = np.where(reach == 0, 0.0, np.where(says, share * reach, np.nan))
    return with_hubble(found)


def _reach(found: np.ndarray, asked_after: tuple[tuple[str, str], ...]) -> np.ndarray:
    if not asked_after:
        return np.ones(len(found))
    return found[:, [VOTE_COLUMNS.index(f"{question}_{answer}") for question, answer in asked_after]].sum(axis=1)


def with_hubble(tree: np.ndarray) -> np.ndarray:
    """Tree fractions of the vote columns [n, vote columns], and of the Hubble sequence beside them: [n, classes].

    Bars and bulges count as independent among the volunteers of one galaxy, as the tree asks about them separately.
    """

    def share(name: str) -> np.ndarray:
        return tree[:, VOTE_COLUMNS.index(name)]

    face_on, spiral = share("disk-edge-on_no"), share("has-spiral-arms_yes")
    there = face_on > 0
    barred = np.divide(share("bar_strong-or-weak"), face_on, where=there, out=np.zeros_like(face_on))
    parts = {
        "e0": share("how-rounded_round"),
        "e3": share("how-rounded_in-between"),
        "e7": share("how-rounded_cigar-shaped"),
        "s0": share("has-spiral-arms_no"),
        "edge-on": share("disk-edge-on_yes"),
        "artifact": share("smooth-or-featured_artifact"),
    }
    for name, column in BULGES.items():
        bulge = np.divide(share(column), face_on, where=there, out=np.zeros_like(face_on))
        parts[name] = spiral * bulge * (1 - barred)
        parts[f"{name[0]}b{name[1]}"] = spiral * bulge * barred
    return np.concatenate([tree, np.stack([parts[name] for name in HUBBLE_CLASSES], axis=1)], axis=1)


def shares(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions among those who are asked, from sums or means of tree fractions.

    Parameters
    ----------
    sums : [..., classes], with the total over galaxies as what `ASKED` gives for questions that everyone is asked.

    Returns
    -------
    fraction, asked : [..., classes], the fraction of each class among those who are asked its question, and the share
        who are; `sums` are means over galaxies. NaN where nobody is asked.
    """
    asked = np.ones_like(sums)
    for i, each in enumerate(CLASSES):
        if columns := ASKED[each.question]:
            asked[..., i] = sums[..., columns].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(asked > 0, sums / asked, np.nan), asked


def by_name(values: np.ndarray) -> Mapping[str, float]:
    """Values [classes] by the classes' names."""
    return {each.name: float(value) for each, value in zip(CLASSES, values, strict=True)}
