"""Heads of the decision tree: features to Dirichlet concentrations of every question's answers."""

import keras
from keras import layers, ops

from morph.model.tree import per_answer, per_question
from morph.questions import TREE

#: No question is ever answered with less certainty than this many pseudo-votes, nor with more.
FEWEST, MOST = 1.0, 200.0


def build_heads(features: int, latent: int, width: int = 128, dropout: float = 0.3) -> keras.Model:
    """A functional model from features [n, features] and z's mean [n, latent] to concentrations [n, answers].

    Each question has a softmax over its answers, the expected vote fractions, and one number for how many
    votes that expectation is worth; their product is the Dirichlet's concentration. Labels of one vote inform
    only the first, so a hard class cannot make the model overconfident.
    """
    given = keras.Input((features,), name="features")
    z = keras.Input((latent,), name="z")
    x = layers.Concatenate()([given, z])
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(width, activation="relu", name="shared")(x)
    x = layers.Dropout(dropout)(x)
    concentrations = []
    for question in TREE:
        name = question.name
        expected = layers.Dense(len(question.answers), activation="softmax", name=f"{name}-expected")(x)
        weight = layers.Dense(1, kernel_initializer="zeros", name=f"{name}-weight")(x)
        concentrations.append(Concentration(name=name)([expected, weight]))
    return keras.Model([given, z], layers.Concatenate(name="concentration")(concentrations), name="heads")


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
