"""Figures of merit, against cases worked out by hand."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.decision_tree import ANSWERS, COARSE, TREE, VOTE_COLUMNS
from morph.votes import empty_votes, set_votes, vote_counts
from training.importers.galaxy_zoo import GALAXY_ZOO_2
from training.metrics import votes as metrics
from training.metrics.categories import (
    FOUR_CLASSES,
    Categories,
    chained_probabilities,
    chained_votes,
    expressed,
    four_classes,
    four_classes_of_votes,
    left_out,
)


def votes_of(*galaxies: Mapping[str, float]) -> np.ndarray:
    return np.stack([set_votes(empty_votes(), dict(counts)) for counts in galaxies])


SMOOTH, FEATURED = "smooth-or-featured_smooth", "smooth-or-featured_featured-or-disk"


def test_accuracy_completeness_and_purity_by_hand(probabilities_of):
    votes = votes_of({SMOOTH: 9, FEATURED: 1}, {SMOOTH: 6, FEATURED: 4}, {FEATURED: 10}, {FEATURED: 10})
    p = probabilities_of({SMOOTH: 1.0}, {FEATURED: 1.0}, {FEATURED: 1.0}, {SMOOTH: 1.0})
    found = metrics.measure(votes, p, resamples=50)
    assert found["smooth-or-featured/accuracy"].value == 0.5
    assert found["smooth-or-featured/accuracy"].n == 4
    # The second galaxy has no confident majority.
    assert found["smooth-or-featured/accuracy-confident"].value == pytest.approx(2 / 3)
    assert found["smooth-or-featured/accuracy-confident"].n == 3
    assert found["smooth-or-featured/completeness/smooth"].value == 0.5
    assert found["smooth-or-featured/purity/featured-or-disk"].value == 0.5
    assert "smooth-or-featured/completeness/artifact" not in found
    assert found["smooth-or-featured/balanced-accuracy"].value == 0.5


def test_balanced_accuracy_does_not_reward_naming_the_common_answer(probabilities_of):
    votes = votes_of(*[{SMOOTH: 1}] * 9, {FEATURED: 1})
    p = probabilities_of(*[{SMOOTH: 1.0}] * 10)
    found = metrics.measure(votes, p, resamples=50)
    assert found["smooth-or-featured/accuracy"].value == 0.9
    assert found["smooth-or-featured/balanced-accuracy"].value == 0.5


def test_a_coarse_answer_is_judged_by_the_sum_of_its_members(probabilities_of):
    votes = votes_of({"bar_strong-or-weak": 8, "bar_no": 2}, {"bar_no": 10})
    p = probabilities_of(
        {"bar_strong": 0.3, "bar_weak": 0.3, "bar_no": 0.4}, {"bar_strong": 0.3, "bar_weak": 0.3, "bar_no": 0.4}
    )
    found = metrics.measure(votes, p, resamples=50)
    assert found["bar/accuracy"].value == 0.5
    assert found["bar/completeness/strong-or-weak"].value == 1.0
    assert found["bar/completeness/no"].value == 0.0


def test_fine_votes_are_judged_finely(probabilities_of):
    votes = votes_of({"bar_strong": 8, "bar_no": 2})
    p = probabilities_of({"bar_strong": 0.3, "bar_weak": 0.3, "bar_no": 0.4})
    assert metrics.measure(votes, p, resamples=50)["bar/accuracy"].value == 0.0


def test_a_galaxy_whose_votes_straddle_cells_is_not_judged_on_that_question(probabilities_of):
    ring, odd = "odd-feature_ring", "odd-feature_any"
    votes = votes_of(*[{ring: 5, "odd-feature_none": 5}] * 5, {odd: 1, "odd-feature_none": 9})
    found = metrics.measure(votes, probabilities_of(*[{ring: 1.0}] * 6), resamples=50)
    assert found["odd-feature/accuracy"].n == 5


def test_a_question_that_few_volunteers_reached_does_not_count(random_probabilities):
    few = {SMOOTH: 38, FEATURED: 2, "disk-edge-on_yes": 2}
    most = {SMOOTH: 2, FEATURED: 38, "disk-edge-on_yes": 38}
    found = metrics.measure(votes_of(few, most), random_probabilities(2), resamples=50)
    assert found["disk-edge-on/accuracy"].n == 1


def test_galaxies_without_votes_have_no_figures(random_probabilities):
    assert metrics.measure(np.full((3, len(VOTE_COLUMNS)), np.nan), random_probabilities(3)) == {}
    assert metrics.measure(np.full((0, len(VOTE_COLUMNS)), np.nan), random_probabilities(0)) == {}


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.lists(st.floats(0.05, 20), min_size=2, max_size=4))
def test_likelihood_of_all_possible_votes_is_one(n, concentration):
    k = len(concentration)
    every = np.array([counts for counts in product(range(n + 1), repeat=k) if sum(counts) == n], dtype=float)
    likelihood = metrics.dirichlet_multinomial(every, np.tile(concentration, (len(every), 1)))
    assert np.exp(likelihood).sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "bar",
    [{"bar_strong-or-weak": 3, "bar_no": 2}, {"bar_strong": 1, "bar_weak": 1, "bar_no": 3}],
    ids=["coarse", "fine"],
)
def test_likelihood_is_the_one_that_training_maximises(bar, random_probabilities):
    from keras import ops

    from morph.model.heads import log_likelihood

    votes = votes_of(bar)
    concentration = 5 * random_probabilities(1).astype("float32")
    question = [question.name for question in TREE].index("bar")
    in_training = ops.convert_to_numpy(log_likelihood(concentration, vote_counts(votes)))[0, question]
    figure = metrics.measure(votes, concentration / 5, concentration, resamples=10)["bar/log-likelihood"]
    assert figure.value == pytest.approx(in_training, rel=1e-4)


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_probabilities(probabilities_of):
    votes = votes_of(*[{SMOOTH: 7, FEATURED: 3}] * 20)
    honest = metrics.measure(votes, probabilities_of(*[{SMOOTH: 0.7, FEATURED: 0.3}] * 20), resamples=50)
    boastful = metrics.measure(votes, probabilities_of(*[{SMOOTH: 1.0}] * 20), resamples=50)
    assert honest["smooth-or-featured/calibration-error"].value == pytest.approx(0, abs=1e-9)
    assert boastful["smooth-or-featured/calibration-error"].value == pytest.approx(0.3)


def test_reliability_of_probabilities_that_are_the_vote_shares_lies_on_the_diagonal(random_probabilities):
    p = random_probabilities(500)
    votes = np.full((500, len(VOTE_COLUMNS)), np.nan)
    votes[:, : len(ANSWERS)] = 100 * p
    curve = metrics.reliability(votes, p, "smooth-or-featured")
    assert np.allclose(curve[:, 0], curve[:, 1])
    assert (curve[:, 2] <= curve[:, 1]).all()
    assert (curve[:, 1] <= curve[:, 3]).all()
    assert curve[:, 4].sum() == 1500


def test_rms_follows_the_tree_as_the_challenge_did(probabilities_of):
    votes = votes_of({SMOOTH: 20, FEATURED: 80, "disk-edge-on_yes": 40, "disk-edge-on_no": 40})
    categories = Categories.of(votes)
    truth, names = chained_votes(votes, categories)
    edge_on = names.index("disk-edge-on_yes")
    assert truth[0, edge_on] == pytest.approx(0.4)
    p = probabilities_of({SMOOTH: 0.2, FEATURED: 0.8, "disk-edge-on_yes": 1.0})
    guess = chained_probabilities(p, categories, names)
    assert guess[0, edge_on] == pytest.approx(0.8)
    # Of five known answers, two are off by 0.4.
    found = metrics.measure(votes, p, resamples=50)["all/rms"]
    assert found.value == pytest.approx(np.sqrt(2 * 0.4**2 / 5))


def test_galaxy_zoo_2_is_judged_on_its_37_answers():
    # Those who say that something is odd, a14, say what it is.
    counts = {column: 5.0 for answer, column in GALAXY_ZOO_2.items() if answer != "a14"}
    _, names = chained_votes(votes_of(counts), Categories.of(votes_of(counts)))
    assert len(names) == 37


def test_interval_has_the_width_of_the_binomial(probabilities_of):
    random = np.random.default_rng(3)
    n = 800
    votes = votes_of(*[{SMOOTH: 1}] * n)
    right = random.random(n) < 0.8
    p = probabilities_of(*[{SMOOTH: 1.0} if r else {FEATURED: 1.0} for r in right])
    found = metrics.measure(votes, p, resamples=2000)["smooth-or-featured/accuracy"]
    width = 2 * 1.96 * np.sqrt(0.8 * 0.2 / n)
    assert found.high - found.low == pytest.approx(width, rel=0.15)
    assert found.low < found.value < found.high


def test_paired_differences_are_narrower_than_those_of_unpaired_intervals(probabilities_of):
    random = np.random.default_rng(4)
    n = 400
    votes = votes_of(*[{SMOOTH: 1}] * n)
    easy = random.random(n) < 0.7
    slightly_better = easy | (random.random(n) < 0.15)
    first, second = (
        probabilities_of(*[{SMOOTH: 1.0} if r else {FEATURED: 1.0} for r in right])
        for right in (easy, slightly_better)
    )
    paired = metrics.differences(votes, (first, None), (second, None))["smooth-or-featured/accuracy"]
    alone = [metrics.measure(votes, p)["smooth-or-featured/accuracy"] for p in (first, second)]
    assert paired.value == pytest.approx(alone[1].value - alone[0].value)
    assert paired.high - paired.low < 0.7 * max(f.high - f.low for f in alone)
    assert paired.significant


def test_a_model_does_not_differ_from_itself(random_probabilities):
    p = random_probabilities(50)
    votes = votes_of(*[{SMOOTH: 3, FEATURED: 2}] * 50)
    for figure in metrics.differences(votes, (p, 5 * p), (p, 5 * p), resamples=100).values():
        assert (figure.value, figure.low, figure.high) == (0, 0, 0)
        assert not figure.significant


def test_the_same_seed_gives_the_same_intervals(random_probabilities):
    votes, p = votes_of(*[{SMOOTH: 3, FEATURED: 2}] * 30), random_probabilities(30)
    assert metrics.measure(votes, p, seed=5) == metrics.measure(votes, p, seed=5)


def test_a_smooth_cigar_counts_as_edge_on_in_votes_and_predictions(probabilities_of):
    answers = {"smooth-or-featured_smooth": 1.0, "how-rounded_cigar-shaped": 0.75, "how-rounded_round": 0.25}
    np.testing.assert_allclose(four_classes(probabilities_of({**answers, "merging_none": 1.0}))[0], [0.25, 0, 0.75, 0])
    votes = {"smooth-or-featured_smooth": 8.0, "how-rounded_cigar-shaped": 6.0, "how-rounded_not-cigar": 2.0}
    np.testing.assert_allclose(four_classes_of_votes(votes_of(votes))[0], [0.25, 0, 0.75, 0])


def test_pairs_are_not_wrong_where_no_label_could_call_them_mergers(probabilities_of):
    """Spirals that interact, labelled by a question on arms alone, and a model that sees both."""
    pair = {FEATURED: 1.0, "disk-edge-on_no": 1.0, "merging_merger": 0.9, "merging_none": 0.1}
    round_one = {SMOOTH: 1.0, "how-rounded_round": 1.0, "merging_none": 1.0}
    p = probabilities_of(pair, pair, round_one)
    labels = [{FEATURED: 1, "disk-edge-on_no": 1}, {FEATURED: 1, "disk-edge-on_no": 1}, {SMOOTH: 1}]
    votes = votes_of(*labels)
    assert expressed(votes) == ("elliptical", "spiral", "edge-on")
    assert "mergers are left out" in left_out(votes)
    measured = metrics.measure(votes, p)
    assert measured["four-class/accuracy"].value == 1.0
    assert measured["four-class/completeness/spiral"].n == 2
    assert "four-class/purity/merger" not in measured
    matrix, classes = metrics.confusion(votes, p, "four-class")
    assert (matrix.tolist(), classes) == ([[1, 0, 0], [0, 2, 0], [0, 0, 0]], ("elliptical", "spiral", "edge-on"))
    merging = votes_of(*({**label, "merging_none": 1} for label in labels))
    assert (expressed(merging), left_out(merging)) == (FOUR_CLASSES, "")
    assert metrics.measure(merging, p)["four-class/accuracy"].value == pytest.approx(1 / 3)


def test_rings_or_none_are_not_labels_of_mergers():
    ring = {FEATURED: 1, "disk-edge-on_no": 1, "odd-feature_ring": 1}
    assert "merger" not in expressed(votes_of(ring, {**ring, "odd-feature_ring": 0, "odd-feature_none": 1}))
    assert "merger" in expressed(votes_of(ring, {SMOOTH: 20, "odd-feature_merger": 1, "odd-feature_none": 19}))


def test_smooth_or_featured_alone_is_not_a_label_of_four_classes(probabilities_of):
    """A smooth cigar counts as edge-on, which the label "smooth" does not deny."""
    needle = {SMOOTH: 1.0, "how-rounded_cigar-shaped": 1.0, "merging_none": 1.0}
    votes = votes_of({SMOOTH: 30, FEATURED: 10}, {SMOOTH: 10, FEATURED: 30})
    assert not any(name.startswith("four-class") for name in metrics.measure(votes, probabilities_of(needle, needle)))
    assert "There are no votes on edge-on disks" in left_out(votes)


def test_four_classes_of_probabilities_sum_to_one(random_probabilities):
    classes = four_classes(random_probabilities(100))
    assert np.allclose(classes.sum(axis=1), 1)
    assert (classes >= 0).all()


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({SMOOTH: 1, "merging_none": 1}, "elliptical"),
        ({FEATURED: 1, "disk-edge-on_no": 1, "merging_none": 1}, "spiral"),
        ({FEATURED: 1, "disk-edge-on_yes": 1}, "edge-on"),
        ({"disk-edge-on_yes": 1, "merging_none": 1}, "edge-on"),
        ({"disk-edge-on_yes": 1, "merging_merger": 1}, "merger"),
        ({"merging_merger": 1, "odd-feature_merger": 1}, "merger"),
        ({SMOOTH: 20, "odd-feature_merger": 15, "odd-feature_none": 5}, "merger"),
        ({"smooth-or-featured_artifact": 1}, None),
        ({FEATURED: 1}, None),
        ({"merging_disturbance": 1}, None),
    ],
)
def test_four_classes_of_votes(votes, expected):
    shares = four_classes_of_votes(votes_of(votes))[0]
    if expected is None:
        assert np.isnan(shares).any()
    else:
        assert FOUR_CLASSES[int(shares.argmax())] == expected


def test_every_column_of_the_cells_is_whole_or_left_out():
    votes = votes_of({"bar_strong-or-weak": 1, "merging_any": 1, "merging_none": 1})
    categories = Categories.of(votes)
    assert categories.of_answers.sum(axis=1).tolist() == [1] * len(ANSWERS)
    assert "bar_strong" not in categories.names
    assert "merging_any" in categories.names
    assert not set(COARSE["merging_any"]) & set(categories.names)
