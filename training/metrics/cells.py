"""The answers that a set of galaxies can be judged by.

Trees differ in how finely they ask: one has "strong, weak, no bar", another "bar, no bar". A set of galaxies is
judged by *cells*: where more of its votes are for a coarse answer than for the members of that answer, the
members' votes and probabilities are added; every other answer is its own cell. A galaxy with votes that straddle
cells is not judged on that question.
"""

from dataclasses import dataclass

import numpy as np

from morph.decision_tree import ANSWERS, COARSE, TREE, VOTE_COLUMNS, membership, question_of, tree_probabilities
from morph.votes import vote_counts

#: Galaxy Zoo 2 asks first whether anything is odd, so that this union is one of its 37 answers.
_ANYTHING_ODD = "odd-feature_any"


@dataclass(frozen=True)
class Cells:
    """Groups of answers, in the order of the tree.

    Attributes
    ----------
    names : vote columns, coarse or fine: one a cell.
    of_answers : float32 [answers, cells] of zeros and ones.
    of_columns : float32 [vote columns, cells] of zeros and ones; a column that straddles cells has none.
    """

    names: tuple[str, ...]
    of_answers: np.ndarray
    of_columns: np.ndarray

    @classmethod
    def of(cls, votes: np.ndarray) -> "Cells":
        """The cells of a set's votes, [n, vote columns]."""
        total = dict(zip(VOTE_COLUMNS, vote_counts(votes).sum(axis=0), strict=True))
        coarse = [name for name in COARSE if total[name] > sum(total[member] for member in COARSE[name])]
        coarse = [name for name in coarse if not any(set(COARSE[name]) < set(COARSE[other]) for other in coarse)]
        cell_of = {answer: answer for answer in ANSWERS} | {a: name for name in coarse for a in COARSE[name]}
        names = tuple(dict.fromkeys(cell_of[answer] for answer in ANSWERS))
        of_answers = np.zeros((len(ANSWERS), len(names)), dtype="float32")
        for i, answer in enumerate(ANSWERS):
            of_answers[i, names.index(cell_of[answer])] = 1
        united = membership().T @ of_answers
        sizes = membership().sum(axis=0)[:, None]
        return cls(names, of_answers, (united == sizes).astype("float32"))

    def of_question(self, question: str) -> list[int]:
        """Indices of a question's cells."""
        return [i for i, name in enumerate(self.names) if question_of(name) == question]

    def counts(self, votes: np.ndarray) -> np.ndarray:
        """Votes in each cell, float64 [n, cells]; 0 where nobody was asked or votes straddle cells."""
        votes = vote_counts(votes).astype(float)
        counts = votes @ self.of_columns
        for j in np.flatnonzero(self.of_columns.sum(axis=1) == 0):
            part = self.of_question(question_of(VOTE_COLUMNS[j]))
            counts[:, part] *= votes[:, [j]] == 0
        return counts

    def add(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities or Dirichlet concentrations [n, answers] added up in each cell, float64 [n, cells]."""
        return np.asarray(answers, dtype=float) @ self.of_answers


def chained_votes(votes: np.ndarray, cells: Cells) -> tuple[np.ndarray, tuple[str, ...]]:
    """Vote fractions in the convention of the Kaggle Galaxy Zoo challenge (see `morph.decision_tree.chain`).

    Returns
    -------
    values : [n, columns], each question's cells summing to the share of the volunteers who arrive there; NaN
        where that is unknown, 0 where nobody arrives.
    names : the columns: the cells of questions that somebody answered, and "anything odd".
    """
    counts = cells.counts(votes)
    values = np.full(counts.shape, np.nan)
    for question in TREE:
        part = cells.of_question(question.name)
        total = counts[:, part].sum(axis=1, keepdims=True)
        parents = [cells.names.index(ANSWERS[i]) for i in TREE.leading_to(question)]
        arriving = values[:, parents].sum(axis=1, keepdims=True) if parents else np.ones((len(votes), 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            fractions = np.where(total > 0, counts[:, part] / total, np.where(arriving == 0, 0.0, np.nan))
        values[:, part] = fractions * arriving
    asked = [i for i, name in enumerate(cells.names) if counts[:, cells.of_question(question_of(name))].any()]
    names = tuple(cells.names[i] for i in asked)
    return _with_anything_odd(values[:, asked], names)


def chained_probabilities(probabilities: np.ndarray, cells: Cells, names: tuple[str, ...]) -> np.ndarray:
    """Probabilities in the same convention, for the columns that `chained_votes` gave: [n, columns]."""
    values, all_names = _with_anything_odd(cells.add(tree_probabilities(probabilities)), cells.names)
    return values[:, [all_names.index(name) for name in names]]


def _with_anything_odd(values: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    odd = [i for i, name in enumerate(names) if name in COARSE[_ANYTHING_ODD]]
    if not odd:
        return values, names
    return np.column_stack([values, values[:, odd].sum(axis=1)]), (*names, _ANYTHING_ODD)
