"""From features to votes: the heads of the decision tree, arithmetic along the tree, and the likelihood of votes."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS, membership, question_membership

#: The least and the most pseudo-votes that the expected fractions of one question are worth.
FEWEST, MOST = 1.0, 200.0

_UNION = membership()
_VOTES_QUESTION = question_membership(VOTE_COLUMNS)
_MEMBER = question_membership(ANSWERS)
_QUESTION_OF = _MEMBER.argmax(axis=1)


def build_heads(
    input_sizes: Sequence[int], width: int = 128, dropout: float = 0.3, name: str = "heads"
) -> keras.Model:
    """Build the network from features to the Dirichlet concentrations of every answer.

    Each question has a softmax over its answers, the expected vote fractions, and one number, how many votes that
    expectation is worth; their product is the Dirichlet's concentration. Labels of one vote inform only the first, so
    a hard class cannot make the model over-confident.

    Parameters
    ----------
    input_sizes : lengths of the vectors that it reads, each [n, length].
    width : units of the shared hidden layer.
    dropout : rate before and behind that layer.
    name : of the Keras model.

    Returns
    -------
    A functional model from the list of vectors to float32 [n, answers].
    """
    vectors = [keras.Input((size,)) for size in input_sizes]
    x = layers.Concatenate()(vectors) if len(vectors) > 1 else vectors[0]
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(width, activation="relu", name="shared")(x)
    x = layers.Dropout(dropout)(x)
    concentrations = []
    for question in TREE:
        expected = layers.Dense(len(question.answers), activation="softmax", name=f"{question.name}-expected")(x)
        weight = layers.Dense(1, kernel_initializer="zeros", name=f"{question.name}-weight")(x)
        concentrations.append(Concentration(name=question.name)([expected, weight]))
    return keras.Model(vectors, layers.Concatenate(name="concentration")(concentrations), name=name)


@keras.saving.register_keras_serializable(package="morph")
class Concentration(layers.Layer):
    """Expected fractions [n, k] and a log-weight [n, 1] to concentrations [n, k]."""

    def call(self, inputs):
        expected, weight = inputs
        # A weight of zero gives twenty pseudo-votes, a typical agreement of volunteers.
        votes = FEWEST + (MOST - FEWEST) * ops.sigmoid(weight - 2.25)
        return votes * ops.maximum(expected, 1e-4)


def probabilities(concentration):
    """Expected vote fractions, float32 [n, answers]; those of each question sum to one."""
    return concentration / per_answer(per_question(concentration))


# --- Along the decision tree ----------------------------------------------------------------------------


def _arriving() -> np.ndarray:
    """Which answers lead to each question, float32 [answers, questions]; to a root lead its own, all of them."""
    leading = np.zeros_like(_MEMBER)
    for j, question in enumerate(TREE):
        parents = TREE.leading_to(question)
        if len({_QUESTION_OF[i] for i in parents}) > 1:
            raise ValueError(f"'{question.name}' follows answers of several questions; give it those of one.")
        leading[:, j] = _MEMBER[:, j] if not parents else 0
        leading[parents, j] = 1
    return leading


def _path() -> np.ndarray:
    """Whether a question (row) lies on the path to another (column), itself included: bool [questions, questions]."""
    path = np.eye(len(TREE), dtype=bool)
    for j, question in enumerate(TREE):
        for i in TREE.leading_to(question)[:1]:
            # Parents stand before their children, so theirs is complete.
            path[:, j] |= path[:, _QUESTION_OF[i]]
    return path


_ARRIVING, _PATH = _arriving(), _path()


def per_question(values, membership: np.ndarray = _MEMBER):
    """Sum over answers: [n, answers] to [n, questions], over each question's own unless `membership` says otherwise.

    Not a matrix product, which accelerators round to three digits.
    """
    return ops.sum(ops.expand_dims(values, -1) * membership, axis=-2)


def per_answer(values):
    """Repeat a question's value for each of its answers: [n, questions] to [n, answers]."""
    return ops.take(values, _QUESTION_OF, axis=-1)


def tree_probabilities(fractions):
    """The probability that a volunteer who starts at the root gives each answer.

    As `morph.decision_tree.tree_probabilities`, on tensors: a question's answers sum to the probability that it is
    asked. `fractions` is [n, answers], each question summing to one; so is what returns, multiplied down the tree.
    """
    reached = per_question(fractions, _ARRIVING)
    arriving = ops.prod(ops.where(_PATH, ops.expand_dims(reached, -1), 1.0), axis=-2)
    return fractions * per_answer(arriving)


# --- The likelihood of votes ----------------------------------------------------------------------------


def log_gamma(x):
    """Logarithm of the gamma function for x > 0, element by element.

    Stirling's series after shifting x by six (Abramowitz & Stegun 6.1.41), accurate to about float32's rounding.
    Keras has no such operation on every backend.
    """
    shifted = x + 6.0
    product = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0)
    inverse = 1.0 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260)))
    return (shifted - 0.5) * ops.log(shifted) - shifted + 0.5 * float(np.log(2 * np.pi)) + series - ops.log(product)


def log_likelihood(concentration, votes):
    """Dirichlet-multinomial log-probability of the votes, question by question (Walmsley et al. 2020).

    A coarse answer's concentration is the sum of its answers' (the aggregation property of the Dirichlet), so trees
    that ask less finely train the same heads. A column without votes and a question that was not asked add nothing.

    Parameters
    ----------
    concentration : [n, answers], positive.
    votes : [n, vote columns], NaN or 0 where not asked.

    Returns
    -------
    [n, questions], 0 where not asked.
    """
    votes = ops.where(ops.isnan(votes), 0.0, votes)
    cells = ops.matmul(concentration, _UNION)
    # An answer outside a question's votes must not enter its total, so totals are taken over answers.
    total = ops.matmul(concentration, _VOTES_QUESTION[: concentration.shape[-1]])
    asked = ops.matmul(votes, _VOTES_QUESTION)
    chosen = log_gamma(cells + votes) - log_gamma(cells) - log_gamma(votes + 1.0)
    return ops.matmul(chosen, _VOTES_QUESTION) + log_gamma(total) - log_gamma(total + asked) + log_gamma(asked + 1.0)
