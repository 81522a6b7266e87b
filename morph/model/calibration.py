"""Answers that mean what they say: what is left to correct between the heads and the volunteers.

A network's probabilities are too sure or too shy, and lean towards the answers that training drew more often; how
many votes they claim to be worth is learned where votes are many and guessed where they are one. Held-out galaxies
tell by how much. The correction is small, and never more than a few numbers a question, so that few galaxies can
settle it (`training.fitting.calibrate`).
"""

import keras
from keras import ops

from morph.decision_tree import ANSWERS, TREE
from morph.model.tree_arithmetic import per_answer, per_question

#: No answer is given less than this share of a question, as in the heads: one vote for it must not be impossible.
LEAST_SHARE = 1e-4
#: Pseudo-votes that a corrected answer is worth, at least and at most.
FEWEST, MOST = 0.5, 1000.0


@keras.saving.register_keras_serializable(package="morph")
class Calibration(keras.layers.Layer):
    """Dirichlet concentrations to corrected ones, [n, answers] both; fresh from the constructor, the same.

    With f a question's expected fractions and A its total concentration,

        f' = softmax(ln f / temperature + offset),    ln A' = slope ln A + shift.

    The first is vector scaling with one temperature a question (Guo et al. 2017), the second makes intervals as wide
    as votes scatter. `training.fitting.calibrate` fits both; no gradient reaches them in training.
    """

    def __init__(self, **options):
        super().__init__(**{**options, "trainable": False})
        per_q = {"shape": (len(TREE),), "trainable": False}
        self.temperature = self.add_weight(name="temperature", initializer="ones", **per_q)
        self.offset = self.add_weight(name="offset", shape=(len(ANSWERS),), initializer="zeros", trainable=False)
        self.slope = self.add_weight(name="slope", initializer="ones", **per_q)
        self.shift = self.add_weight(name="shift", initializer="zeros", **per_q)
        self.built = True

    def call(self, concentration):
        total = per_question(concentration)
        share = concentration / per_answer(total)
        share = ops.exp(ops.log(share) / per_answer(self.temperature) + self.offset)
        share = ops.maximum(share / per_answer(per_question(share)), LEAST_SHARE)
        total = ops.clip(ops.exp(self.slope * ops.log(total) + self.shift), FEWEST, MOST)
        return share * per_answer(total)

    @property
    def fresh(self) -> bool:
        """Whether it corrects nothing yet."""
        neutral = zip((1, 0, 1, 0), (self.temperature, self.offset, self.slope, self.shift), strict=True)
        return all(bool(ops.all(weight == value)) for value, weight in neutral)

    def load_own_variables(self, store):
        """A file from before there was a calibration has none, and stays as it was."""
        if len(store.keys()):
            super().load_own_variables(store)
