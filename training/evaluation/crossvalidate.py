"""Fine-tuning on a small set, measured on that set itself by cross-validation.

With a few dozen labels a test split is too small, so every galaxy is predicted once by a model that
was fine-tuned on the other folds.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from morph.console import track
from morph.dataset import Galaxies, split_position
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.votes import has_votes
from training.fitting.adaptation import adapted_to
from training.fitting.fit import fit
from training.fitting.objective import FINETUNING, Recipe

Adapt = Callable[[Classifier, Galaxies, int], Classifier]
Ask = Callable[[Classifier, np.ndarray], dict[str, np.ndarray]]


def folds_of(ids: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """The fold of each galaxy, in the order of a hash of its id.

    Parameters
    ----------
    ids : [n].
    folds : how many.
    seed : of the hash.

    Returns
    -------
    int [n], 0 to folds - 1; the folds are of one size, give or take one.
    """
    return np.argsort(np.argsort(split_position(ids, seed))) * folds // max(len(ids), 1)


def cross_validate(
    parent: Classifier,
    galaxies: Galaxies,
    folds: int = 5,
    recipe: Recipe | None = None,
    seed: int = 0,
    adapt: Adapt | None = None,
    ask: Ask = Classifier.answer,
) -> dict[str, np.ndarray]:
    """The answers of models that were not trained on the galaxy in question. The anomaly score stays the parent's: the
    folds are too small to determine it.

    Parameters
    ----------
    parent : where every fold's fine-tuning starts; it is left as it is.
    galaxies : all the labelled galaxies there are.
    folds : how many.
    recipe : as for `training.fitting.fit.fit`; `FINETUNING` by default.
    adapt : another way of adapting than fine-tuning: parent, training galaxies and seed to a classifier.
    ask : another way of classifying than each stamp once: classifier and images to answers.

    Returns
    -------
    As `Classifier.answer`.

    Raises
    ------
    InputError : there are no labels to fine-tune on, or fewer labelled galaxies than folds.
    """
    adapt = adapt or partial(_fine_tuned, recipe=recipe or FINETUNING)
    labelled = has_votes(galaxies.votes)
    if not labelled.any():
        raise InputError(f"'{galaxies.about.get('path')}' has no labelled galaxies to cross-validate on.")
    if labelled.sum() < folds:
        raise InputError(
            f"'{galaxies.about.get('path')}' has {labelled.sum()} labelled galaxies, fewer than {folds} folds; "
            f"ask for fewer --folds."
        )
    place = np.empty(len(galaxies), dtype=int)
    for part in (labelled, ~labelled):
        place[part] = folds_of(galaxies.ids[part], folds, seed)
    answers: dict[str, np.ndarray] = {}
    for fold in track(range(folds), "Cross-validating", folds):
        held_out = np.flatnonzero(place == fold)
        if not len(held_out):
            continue
        classifier = adapt(parent, galaxies.select((place != fold) & labelled), seed)
        for name, value in ask(classifier, galaxies.images[held_out]).items():
            answers.setdefault(name, np.empty((len(galaxies), *value.shape[1:]), value.dtype))[held_out] = value
    return answers


def _fine_tuned(parent: Classifier, galaxies: Galaxies, seed: int, recipe: Recipe) -> Classifier:
    classifier = adapted_to(parent, galaxies.survey)
    fit(classifier, [(galaxies, 1.0)], None, replace(recipe, seed=seed))
    return classifier
