"""Votes for galaxies that nobody voted on: what a trained model expects volunteers to say.

A student that learns from its teacher's votes on new galaxies, under stronger augmentation than the teacher saw them
with, ends up better than the teacher (Xie et al. 2020, "noisy student").
"""

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import ANSWERS, VOTE_COLUMNS, tree_probabilities
from morph.model.classifier import Classifier
from training.fitting.adapt import turned

#: How many volunteers a teacher is worth: more than a hard class, fewer than the forty of Galaxy Zoo.
VOLUNTEERS = 8.0


def taught(teacher: Classifier, galaxies: Galaxies, volunteers: float = VOLUNTEERS) -> Galaxies:
    """The same galaxies with the votes that `teacher` expects of so many volunteers.

    The teacher looks at each galaxy turned by quarters and mirrored, eight ways, and its fractions are averaged.
    Questions get as many votes as volunteers would reach them, in fractions of a vote where need be.
    """
    fractions = np.zeros((len(galaxies), len(ANSWERS)))
    for view in turned(galaxies.images):
        fractions += teacher.answer(view)["probabilities"]
    votes = np.zeros((len(galaxies), len(VOTE_COLUMNS)), dtype="float32")
    votes[:, : len(ANSWERS)] = volunteers * tree_probabilities(fractions / 8)
    return galaxies.with_votes(votes, teacher.about.get("votes", ""))
