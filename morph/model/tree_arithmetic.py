"""Arithmetic along the decision tree on tensors: sums over a question's answers, and products down the tree."""

import numpy as np
from keras import ops

from morph.decision_tree import ANSWERS, TREE, question_membership

_MEMBER = question_membership(ANSWERS)
_QUESTION_OF = _MEMBER.argmax(axis=1)


def _arriving() -> np.ndarray:
    """Which answers lead to each question, float32 [answers, questions]; to a root lead its own, all of them."""
    leading = np.zeros_like(_MEMBER)
    for j, question in enumerate(TREE):
        parents = TREE.leading_to(question)
        if len({_QUESTION_OF[i] for i in parents}) > 1:
            raise ValueError(f"'{question.name}' follows answers of several questions, whose chances do not add up.")
        leading[:, j] = _MEMBER[:, j] if not parents else 0
        leading[parents, j] = 1
    return leading


def _path() -> np.ndarray:
    """Whether a question (row) lies on the way to another (column), itself included: bool [questions, questions]."""
    path = np.eye(len(TREE), dtype=bool)
    for j, question in enumerate(TREE):
        for i in TREE.leading_to(question)[:1]:
            # Parents stand before their children, so theirs is complete.
            path[:, j] |= path[:, _QUESTION_OF[i]]
    return path


_ARRIVING, _PATH = _arriving(), _path()


def per_question(values, which: np.ndarray = _MEMBER):
    """Sums over answers, [n, answers] to [n, questions]; of every question's own unless `which` says otherwise.

    Not a matrix product, which accelerators round to three digits.
    """
    return ops.sum(ops.expand_dims(values, -1) * which, axis=-2)


def per_answer(values):
    """A question's value for each of its answers: [n, questions] to [n, answers]."""
    return ops.take(values, _QUESTION_OF, axis=-1)


def down_the_tree(probabilities):
    """The probability that a volunteer who starts at the top gives each answer.

    As `morph.decision_tree.tree_probabilities`, on tensors: every question's answers sum to the chance of
    being asked it.

    Parameters
    ----------
    probabilities : [n, answers], each question summing to one.

    Returns
    -------
    [n, answers].
    """
    reached = per_question(probabilities, _ARRIVING)
    arriving = ops.prod(ops.where(_PATH, ops.expand_dims(reached, -1), 1.0), axis=-2)
    return probabilities * per_answer(arriving)
