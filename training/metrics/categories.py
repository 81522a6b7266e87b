"""The categories that answers are compared in: pooled answers of a question, and the four classes of Galaxy Zoo 1.

Trees differ in how finely they ask: one has "strong, weak, no bar", another "bar, no bar". Where a set of galaxies has
more votes for a coarse answer than for its members, the members' votes and probabilities are pooled into one category;
every other answer is a category of its own. A galaxy with votes that straddle categories does not count on that
question.

The four classes (elliptical, spiral, edge-on disk, merger; Lintott et al. 2008) compare surveys with hard classes,
whatever tree their labels came from. Galaxy Zoo 1 asked for spirals seen edge-on and got every needle: half of its
edge-on galaxies look smooth and cigar-shaped to a model trained on Galaxy Zoo 2's answers too (on its validation
split, 28 % of them are found as disks seen edge-on, and 80 % with cigars). So a smooth cigar counts as edge-on, in
votes and in predictions alike. Not every set of labels can express all four: mergers are left out where the labels do
not include merging, and all four where the labels do not distinguish edge-on disks.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import ANSWERS, COARSE, TREE, VOTE_COLUMNS, membership, question_of, tree_probabilities
from morph.votes import vote_counts

#: Galaxy Zoo 2 asks first whether anything is odd, so that this union is one of its 37 answers.
_ANYTHING_ODD = "odd-feature_any"

#: In the order of their columns.
FOUR_CLASSES = ("elliptical", "spiral", "edge-on", "merger")
_ROOT, _EDGE = TREE.slices["smooth-or-featured"], TREE.slices["disk-edge-on"]
_ROUNDED = TREE.slices["how-rounded"]
_MERGING, _ODD = TREE.slices["merging"], TREE.slices["odd-feature"]
#: Where a volunteer calls a pair of galaxies a merger or a strongly disturbed one is a matter of taste.
_MERGER = ("merging_major-disturbance", "merging_merger")


@dataclass(frozen=True)
class Categories:
    """Groups of answers, in the order of the tree.

    Attributes
    ----------
    names : vote columns, coarse or fine: one for each category.
    of_answers : float32 [answers, categories] of zeros and ones.
    of_columns : float32 [vote columns, categories] of zeros and ones; a column that straddles categories has none.
    """

    names: tuple[str, ...]
    of_answers: np.ndarray
    of_columns: np.ndarray

    @classmethod
    def of(cls, votes: np.ndarray) -> "Categories":
        """The categories of a set's votes, [n, vote columns]."""
        total = dict(zip(VOTE_COLUMNS, vote_counts(votes).sum(axis=0), strict=True))
        coarse = [name for name in COARSE if total[name] > sum(total[member] for member in COARSE[name])]
        coarse = [name for name in coarse if not any(set(COARSE[name]) < set(COARSE[other]) for other in coarse)]
        category_of = {answer: answer for answer in ANSWERS} | {a: name for name in coarse for a in COARSE[name]}
        names = tuple(dict.fromkeys(category_of[answer] for answer in ANSWERS))
        of_answers = np.zeros((len(ANSWERS), len(names)), dtype="float32")
        for i, answer in enumerate(ANSWERS):
            of_answers[i, names.index(category_of[answer])] = 1
        united = membership().T @ of_answers
        sizes = membership().sum(axis=0)[:, None]
        return cls(names, of_answers, (united == sizes).astype("float32"))

    def of_question(self, question: str) -> list[int]:
        """Indices of a question's categories."""
        return [i for i, name in enumerate(self.names) if question_of(name) == question]

    def counts(self, votes: np.ndarray) -> np.ndarray:
        """Votes in each category, float64 [n, categories]; 0 where not asked or votes straddle categories."""
        votes = vote_counts(votes).astype(float)
        counts = votes @ self.of_columns
        for j in np.flatnonzero(self.of_columns.sum(axis=1) == 0):
            part = self.of_question(question_of(VOTE_COLUMNS[j]))
            counts[:, part] *= votes[:, [j]] == 0
        return counts

    def add(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities or Dirichlet concentrations [n, answers] added up in each category, float64 [n,
        categories]."""
        return np.asarray(answers, dtype=float) @ self.of_answers


def chained_votes(votes: np.ndarray, categories: Categories) -> tuple[np.ndarray, tuple[str, ...]]:
    """Vote fractions in the convention of the Kaggle Galaxy Zoo challenge (`morph.decision_tree.tree_probabilities`).

    Returns
    -------
    values : [n, columns], each question's categories summing to the share of the volunteers who arrive there; NaN
        where that is unknown, 0 where that share is 0.
    names : the columns: the categories of questions with votes, and "anything odd".
    """
    counts = categories.counts(votes)
    values = np.full(counts.shape, np.nan)
    for question in TREE:
        part = categories.of_question(question.name)
        total = counts[:, part].sum(axis=1, keepdims=True)
        parents = [categories.names.index(ANSWERS[i]) for i in TREE.leading_to(question)]
        arriving = values[:, parents].sum(axis=1, keepdims=True) if parents else np.ones((len(votes), 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            fractions = np.where(total > 0, counts[:, part] / total, np.where(arriving == 0, 0.0, np.nan))
        values[:, part] = fractions * arriving
    asked = [
        i for i, name in enumerate(categories.names) if counts[:, categories.of_question(question_of(name))].any()
    ]
    names = tuple(categories.names[i] for i in asked)
    return _with_anything_odd(values[:, asked], names)


def chained_probabilities(probabilities: np.ndarray, categories: Categories, names: tuple[str, ...]) -> np.ndarray:
    """Probabilities in the same convention.

    Parameters
    ----------
    probabilities : [n, answers].
    categories : of the votes.
    names : the columns that `chained_votes` returned.

    Returns
    -------
    [n, columns].
    """
    values, all_names = _with_anything_odd(categories.add(tree_probabilities(probabilities)), categories.names)
    return values[:, [all_names.index(name) for name in names]]


def _with_anything_odd(values: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    odd = [i for i, name in enumerate(names) if name in COARSE[_ANYTHING_ODD]]
    if not odd:
        return values, names
    return np.column_stack([values, values[:, odd].sum(axis=1)]), (*names, _ANYTHING_ODD)


def expressed(votes: np.ndarray) -> tuple[str, ...]:
    """The classes that these galaxies' labels can express: all of `FOUR_CLASSES`, those without the merger, or none.

    Spirals and edge-on disks are distinct only with votes on both features and edge-on disks. Mergers need votes on
    merging, or on odd features with at least one for a merger: labels such as "ring or no ring" use that question and
    do not have the answer.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    """
    total = vote_counts(votes).sum(axis=0)
    given = tuple(column for column, votes_of in zip(VOTE_COLUMNS, total, strict=True) if votes_of > 0)

    def asked(*names: str) -> bool:
        return any(column.startswith(names) for column in given)

    if not (asked("smooth-or-featured_smooth", "smooth-or-featured_featured") and asked("disk-edge-on_")):
        return ()
    return FOUR_CLASSES if asked("merging_", "odd-feature_merger") else FOUR_CLASSES[:-1]


def left_out(votes: np.ndarray) -> str:
    """One sentence on what `expressed` leaves out; empty where that is nothing, or there are no votes on features."""
    classes = expressed(votes)
    if not classes and np.nansum(votes[:, _ROOT]) > 0:
        return "There are no votes on edge-on disks, so the labels do not distinguish the four classes."
    if classes and "merger" not in classes:
        return (
            "The labels do not include merging: mergers are left out of the four classes, and a galaxy that the model "
            "classifies as a merger counts as the most likely of the others."
        )
    return ""


def four_classes(probabilities: np.ndarray, mergers: bool = True) -> np.ndarray:
    """Probabilities of the four classes, down the tree.

    A merger is a merger whatever it is made of; what does not merge is edge-on if it is a disk seen so or a smooth
    cigar, elliptical if otherwise smooth, and a spiral if otherwise featured. The chance of an artefact is shared out
    in proportion.

    Parameters
    ----------
    probabilities : [n, answers], each question summing to one.
    mergers : whether to give them a class; if not, their probability goes to the others (see `expressed`).

    Returns
    -------
    [n, 4] in the order of `FOUR_CLASSES`, rows summing to one.
    """
    p = np.asarray(probabilities, dtype=float)
    smooth, featured = p[:, ANSWERS.index("smooth-or-featured_smooth")], p[:, _ROOT.start + 1]
    edge_on, cigar = (p[:, ANSWERS.index(name)] for name in ("disk-edge-on_yes", "how-rounded_cigar-shaped"))
    merger = p[:, [ANSWERS.index(name) for name in _MERGER]].sum(axis=1)
    return _classes(smooth, cigar, featured, edge_on, merger * mergers)


def four_classes_of_votes(votes: np.ndarray) -> np.ndarray:
    """Shares of the volunteers for the four classes, as far as their votes determine them.

    Mergers are read from the question on merging or, in Galaxy Zoo 2, from the odd features. Rows are NaN
    where the votes do not decide between the classes, or where most saw an artefact.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.

    Returns
    -------
    [n, 4] in the order of `FOUR_CLASSES`.
    """
    counts = vote_counts(votes).astype(float)
    root = _shares(counts[:, _ROOT])
    edge_on = _shares(counts[:, _EDGE])[:, 0]
    rounded = np.column_stack([counts[:, _ROUNDED], counts[:, VOTE_COLUMNS.index("how-rounded_not-cigar")]])
    # A hard class that is smooth and of no known shape counts as elliptical.
    cigar = np.nan_to_num(_shares(rounded)[:, 2])
    # Coarse answers such as "some disturbance" are votes on merging too, though none for a merger.
    coarse = [i for i, name in enumerate(VOTE_COLUMNS) if i >= len(ANSWERS) and name.startswith("merging_")]
    merging = _shares(np.column_stack([counts[:, _MERGING], counts[:, coarse]]))[:, 2:4].sum(axis=1)
    odd = counts[:, _ODD]
    odd_merger = _shares(odd)[:, TREE["odd-feature"].answers.index("merger")]
    merger = np.where(np.isfinite(merging), merging, np.nan_to_num(odd_merger))
    smooth, featured, artefact = root.T
    # Without votes for a disk, edge-on needs none.
    edge_on = np.where(featured == 0, 0.0, edge_on)
    shares = _classes(smooth, cigar, featured, edge_on, merger)
    shares[artefact > 0.5] = np.nan
    # A hard class "merger" implies neither smooth nor featured.
    shares[np.isnan(smooth) & (merger > 0.5)] = [0, 0, 0, 1]
    # Nor does Galaxy Zoo 1's "edge-on".
    shares[np.isnan(smooth) & ~(merger > 0.5) & (edge_on > 0.5)] = [0, 0, 1, 0]
    return shares


def _shares(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def _classes(
    smooth: np.ndarray, cigar: np.ndarray, featured: np.ndarray, edge_on: np.ndarray, merger: np.ndarray
) -> np.ndarray:
    galaxy = smooth + featured
    needle = featured * edge_on + smooth * cigar
    single = np.column_stack([smooth * (1 - cigar), featured * (1 - edge_on), needle]) * (1 - merger)[:, None]
    classes = np.column_stack([single, galaxy * merger])
    with np.errstate(invalid="ignore", divide="ignore"):
        return classes / classes.sum(axis=1, keepdims=True)
