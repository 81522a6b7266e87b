"""What would fine-tuning on a small set give? Measured on that set itself, by cross-validation.

With a few dozen labels a test split is too small to tell anything, so every galaxy is predicted once by a model that
was fine-tuned on the other folds.
"""

from dataclasses import replace

import numpy as np

from morph.galaxies import Galaxies, split_position
from morph.model.classifier import Classifier
from training.fit import FINETUNING, Recipe, fit
from training.sources.progress import track


def fold_of(galaxies: Galaxies, folds: int, seed: int = 0) -> np.ndarray:
    """The fold that each galaxy belongs to, by its id: int [n], 0 to folds - 1."""
    return np.minimum((split_position(galaxies.ids, seed) * folds).astype(int), folds - 1)


def cross_validate(
    parent: Classifier,
    galaxies: Galaxies,
    folds: int = 5,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The answers (as `Classifier.answer` gives them) of models that never saw the galaxy they answer about.

    Parameters
    ----------
    parent : where every fold's fine-tuning starts; it is left as it is.
    galaxies : all the labelled galaxies there are.
    recipe : as for `training.fit.fit`; `FINETUNING` by default.

    The anomaly score stays the parent's: the folds are too small to say what is normal.
    """
    recipe = replace(recipe or FINETUNING, seed=seed)
    place = fold_of(galaxies, folds, seed)
    answers: dict[str, np.ndarray] = {}
    for fold in track(range(folds), "Cross-validating", folds):
        held_out = np.flatnonzero(place == fold)
        if not len(held_out):
            continue
        classifier = Classifier(galaxies.survey, parent.size, parent.latent)
        classifier.set_weights(parent.get_weights())
        fit(classifier, [(galaxies.select(place != fold), 1.0)], None, recipe)
        for name, value in classifier.answer(galaxies.images[held_out]).items():
            answers.setdefault(name, np.empty((len(galaxies), *value.shape[1:]), value.dtype))[held_out] = value
    return answers
