"""The likelihood of volunteers' votes: Dirichlet-multinomial (Walmsley et al. 2020)."""

import numpy as np
from keras import ops

from morph.decision_tree import VOTE_COLUMNS, membership, question_membership

_UNION = membership()
_QUESTION = question_membership(VOTE_COLUMNS)


def log_gamma(x):
    """Logarithm of the gamma function for x > 0, element by element.

    Stirling's series after shifting x by six (Abramowitz & Stegun 6.1.41); the error stays near float32
    rounding. Keras has no such operation on every backend.
    """
    shifted = x + 6.0
    product = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0)
    inverse = 1.0 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260)))
    return (shifted - 0.5) * ops.log(shifted) - shifted + 0.5 * float(np.log(2 * np.pi)) + series - ops.log(product)


def log_likelihood(concentration, votes):
    """Log-probability of the votes, question by question.

    A coarse answer's concentration is the sum of its answers' (the aggregation property of the Dirichlet), so
    trees that asked less finely train the same heads. A column without votes adds nothing, and neither does a
    question that nobody was asked: the terms vanish by themselves.

    Parameters
    ----------
    concentration : [n, answers], positive.
    votes : [n, vote columns], NaN or 0 where nobody answered.

    Returns
    -------
    [n, questions], 0 where nobody was asked.
    """
    votes = ops.where(ops.isnan(votes), 0.0, votes)
    cells = ops.matmul(concentration, _UNION)
    # An answer outside a question's votes must not enter its total, so totals are taken over answers.
    total = ops.matmul(concentration, _QUESTION[: concentration.shape[-1]])
    asked = ops.matmul(votes, _QUESTION)
    chosen = log_gamma(cells + votes) - log_gamma(cells) - log_gamma(votes + 1.0)
    return ops.matmul(chosen, _QUESTION) + log_gamma(total) - log_gamma(total + asked) + log_gamma(asked + 1.0)
