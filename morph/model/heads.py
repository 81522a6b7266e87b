"""Heads of the decision tree: features to Dirichlet concentrations of every question's answers."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from morph.decision_tree import TREE
from morph.model.tree_arithmetic import per_answer, per_question

#: No question is ever answered with less certainty than this many pseudo-votes, nor with more.
FEWEST, MOST = 1.0, 200.0


def build_heads(given: Sequence[int], width: int = 128, dropout: float = 0.3, name: str = "heads") -> keras.Model:
    """A functional model from vectors, each [n, one of `given`], to concentrations of every answer, [n, answers].

    Each question has a softmax over its answers, the expected vote fractions, and one number for how many
    votes that expectation is worth; their product is the Dirichlet's concentration. Labels of one vote inform
    only the first, so a hard class cannot make the model overconfident.
    """
    vectors = [keras.Input((size,)) for size in given]
    x = layers.Concatenate()(vectors) if len(vectors) > 1 else vectors[0]
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(width, activation="relu", name="shared")(x)
    x = layers.Dropout(dropout)(x)
    concentrations = []
    for question in TREE:
        asked = question.name
        expected = layers.Dense(len(question.answers), activation="softmax", name=f"{asked}-expected")(x)
        weight = layers.Dense(1, kernel_initializer="zeros", name=f"{asked}-weight")(x)
        concentrations.append(Concentration(name=asked)([expected, weight]))
    return keras.Model(vectors, layers.Concatenate(name="concentration")(concentrations), name=name)


@keras.saving.register_keras_serializable(package="morph")
class Concentration(layers.Layer):
    """Expected fractions [n, k] and a log-weight [n, 1] to concentrations [n, k]."""

    def call(self, inputs):
        expected, weight = inputs
        # Zero comes out as twenty pseudo-votes, a typical agreement of volunteers.
        votes = FEWEST + (MOST - FEWEST) * ops.sigmoid(weight - 2.25)
        return votes * ops.maximum(expected, 1e-4)


def probabilities(concentration):
    """Expected vote fractions of every question: float32 [n, answers], each question summing to one."""
    return concentration / per_answer(per_question(concentration))
