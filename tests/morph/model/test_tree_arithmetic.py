"""Probabilities down the decision tree."""

import numpy as np
import pytest
from keras import ops

from morph.decision_tree import ANSWERS, TREE, tree_probabilities
from morph.model.tree_arithmetic import down_the_tree


def random_probabilities(n: int) -> np.ndarray:
    random = np.random.default_rng(n)
    return np.concatenate([random.dirichlet(np.ones(len(q.answers)), n) for q in TREE], axis=1).astype("float32")


def test_one_galaxy_by_hand():
    p = random_probabilities(1)
    given = {
        "smooth-or-featured_smooth": 0.3,
        "smooth-or-featured_featured-or-disk": 0.6,
        "smooth-or-featured_artifact": 0.1,
        "disk-edge-on_yes": 0.25,
        "disk-edge-on_no": 0.75,
        "has-spiral-arms_yes": 0.8,
        "has-spiral-arms_no": 0.2,
        "spiral-winding_tight": 0.5,
        "merging_none": 0.9,
        "how-rounded_round": 0.4,
    }
    for name, value in given.items():
        p[0, ANSWERS.index(name)] = value
    tree = dict(zip(ANSWERS, ops.convert_to_numpy(down_the_tree(p))[0], strict=True))
    assert tree["smooth-or-featured_artifact"] == pytest.approx(0.1)
    assert tree["disk-edge-on_no"] == pytest.approx(0.6 * 0.75)
    assert tree["spiral-winding_tight"] == pytest.approx(0.6 * 0.75 * 0.8 * 0.5)
    assert tree["how-rounded_round"] == pytest.approx(0.3 * 0.4)
    # Asked of all who saw a galaxy, smooth or not.
    assert tree["merging_none"] == pytest.approx((0.3 + 0.6) * 0.9)


def test_it_is_the_chain_of_the_kaggle_challenge_on_tensors():
    p = random_probabilities(50)
    p[0, TREE.slices["smooth-or-featured"]] = [0, 0, 1]
    np.testing.assert_allclose(ops.convert_to_numpy(down_the_tree(p)), tree_probabilities(p), atol=1e-6)
