"""Graded gravitational lenses against look-alikes: real anomalies with labels, of which a few may be learned from."""

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from morph.dataset import Galaxies
from training.importers.annotating import read_columns
from training.metrics.estimates import Estimate

#: Grades of lens candidates at and above which they count as lenses, and below which as look-alikes.
LENS, LOOK_ALIKE = 2.0, 0.7
#: Labels of a regression on lenses, and how often it is fitted to others.
LABELS, REPEATS = 50, 20


def lens_labels(galaxies: Galaxies, table: Path) -> np.ndarray:
    """Of each candidate: 1 a lens, 0 a look-alike, -1 neither, [n].

    `table` has the columns "kind" (candidate, artifact, or a text that begins with "known" or "nonlens") and "grade"
    (0 to 3, of candidates). InputError when it cannot be read or describes none of the galaxies.
    """
    found = read_columns(table, galaxies, ("kind", "grade"))
    kind = found["kind"].astype(str)
    grade = np.array(
        [float(text) if name == "candidate" else np.nan for name, text in zip(kind, found["grade"], strict=True)]
    )
    lens = np.char.startswith(kind, "known") | (grade >= LENS)
    return np.where(lens, 1, np.where(np.char.startswith(kind, "nonlens") | (grade < LOOK_ALIKE), 0, -1))


def few_labels(vectors: np.ndarray, truth: np.ndarray, number: int, repeats: int = REPEATS) -> Estimate:
    """Area under the ROC curve of a logistic regression on few labels, measured on all others.

    Parameters
    ----------
    vectors : [n, d].
    truth : 0 or 1, [n].
    number : labels of each fit, of either value as they come.
    repeats : fits on other labels; the estimate is their mean, its interval holds 95 % of them.
    """
    areas = []
    for train, test in StratifiedShuffleSplit(repeats, train_size=number, random_state=0).split(vectors, truth):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500))
        model.fit(vectors[train], truth[train])
        areas.append(roc_auc_score(truth[test], model.decision_function(vectors[test])))
    return Estimate.of(float(np.mean(areas)), np.array(areas), len(truth))
