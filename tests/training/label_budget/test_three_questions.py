"""The three questions of Dominguez Sanchez et al. (2019), from votes of any tree."""

import numpy as np

from morph.decision_tree import VOTE_COLUMNS
from morph.votes import empty_votes, set_votes
from training.label_budget.plan import three_questions
from training.metrics import votes as metrics

FEATURED = {"smooth-or-featured_featured-or-disk": 30, "smooth-or-featured_smooth": 10, "disk-edge-on_no": 30}


def test_strong_and_weak_bars_are_bars(probabilities_of):
    barred = set_votes(empty_votes(), FEATURED | {"bar_strong": 8, "bar_weak": 10, "bar_no": 12})
    plain = set_votes(empty_votes(), FEATURED | {"bar_weak": 5, "bar_no": 25, "odd-feature_ring": 20})
    votes = three_questions(np.stack([barred, plain]))
    assert votes[:, VOTE_COLUMNS.index("bar_strong-or-weak")].tolist() == [18, 5]
    p = probabilities_of({"bar_strong": 0.3, "bar_weak": 0.3, "bar_no": 0.4}, {"bar_no": 1.0})
    assert metrics.measure(votes, p, resamples=10)["bar/accuracy"].value == 1
    assert "odd-feature/accuracy" not in metrics.measure(votes, p, resamples=10)


def test_an_artefact_is_asked_nothing_about_its_shape():
    artefact = set_votes(empty_votes(), {"smooth-or-featured_artifact": 35, "smooth-or-featured_smooth": 5})
    galaxy = set_votes(empty_votes(), {"smooth-or-featured_artifact": 5, "smooth-or-featured_smooth": 35})
    votes = three_questions(np.stack([artefact, galaxy]))
    assert np.isnan(votes[0]).all()
    assert np.nansum(votes[1]) == 35
