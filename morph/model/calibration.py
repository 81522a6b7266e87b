"""Calibration: a correction of the heads' concentrations, fitted to held-out votes.

A network's probabilities are over- or under-confident, and biased towards the answers that training draws more often;
the number of votes that they are worth is learned only where votes are many. The correction has a few parameters a
question, so that few galaxies are enough to fit it (`training.fitting.calibrate`).
"""

import keras
from keras import ops

from morph.decision_tree import ANSWERS, TREE
from morph.model.heads import per_answer, per_question

#: The least share of an answer, as in the heads: one vote for it must be possible.
LEAST_SHARE = 1e-4
#: The least and the most pseudo-votes that a corrected question is worth.
FEWEST, MOST = 0.5, 1000.0


@keras.saving.register_keras_serializable(package="morph")
class Calibration(keras.layers.Layer):
    """Dirichlet concentrations [n, answers] to corrected ones; a new layer is the identity.

    With f a question's expected fractions and A its total concentration,

        f' = softmax(ln f / temperature + offset),    ln A' = slope ln A + shift.

    The first is vector scaling with one temperature a question (Guo et al. 2017), the second gives intervals the
    width of the votes' scatter. `training.fitting.calibrate` fits both; no gradient reaches them in training.
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
        """Whether it is still the identity."""
        neutral = zip((1, 0, 1, 0), (self.temperature, self.offset, self.slope, self.shift), strict=True)
        return all(bool(ops.all(weight == value)) for value, weight in neutral)

    def load_own_variables(self, store):
        """Load the weights; a file without calibration leaves the identity."""
        if len(store.keys()):
            super().load_own_variables(store)
