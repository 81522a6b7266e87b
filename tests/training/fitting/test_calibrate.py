"""Fitting the calibration on votes whose distortion is known."""

import numpy as np
import pytest
from keras import ops

from morph.dataset import Galaxies
from morph.dataset_writer import KINDS
from morph.decision_tree import ANSWERS, TREE, VOTE_COLUMNS
from morph.model.calibration import Calibration
from training.fitting import calibrate
from training.fitting.calibrate import FEWEST_ASKED, Correction, fit_question
from training.metrics.dirichlet import dirichlet_multinomial

BAR = TREE.slices["bar"]
CONCENTRATION = np.random.default_rng(0).gamma(1.5, 6.0, (3000, 3)) + 0.3
#: What is to be found: over-confident probabilities that lean to one answer, and too many pseudo-votes.
TRUTH = Correction(1.6, 0.8, -0.3, np.array([0.5, -0.2, -0.3]))


def votes_of(concentration: np.ndarray, volunteers: int, seed: int = 0) -> np.ndarray:
    """Votes on "bar", [n, vote columns], drawn from Dirichlet-multinomials [n, 3]."""
    random = np.random.default_rng(seed)
    gamma = random.gamma(concentration)
    votes = np.zeros((len(concentration), len(VOTE_COLUMNS)))
    votes[:, BAR] = random.multinomial(volunteers, gamma / gamma.sum(axis=1, keepdims=True))
    return votes


def as_union(votes: np.ndarray) -> np.ndarray:
    """The same votes, as a tree asked that knows bars and no bars only."""
    votes = votes.copy()
    strong, weak, either = (VOTE_COLUMNS.index(f"bar_{name}") for name in ("strong", "weak", "strong-or-weak"))
    votes[:, either] = votes[:, strong] + votes[:, weak]
    votes[:, [strong, weak]] = 0
    return votes


def held_out_gain(found: Correction, votes: np.ndarray, concentration: np.ndarray) -> float:
    """Mean log-likelihood gained over no correction."""
    counts = votes[:, BAR]
    return float(
        (
            dirichlet_multinomial(counts, found.apply(concentration)) - dirichlet_multinomial(counts, concentration)
        ).mean()
    )


def test_a_known_distortion_is_recovered():
    found = fit_question(CONCENTRATION, votes_of(TRUTH.apply(CONCENTRATION), 40), "bar")
    assert found.temperature == pytest.approx(TRUTH.temperature, rel=0.1)
    # Only differences of offsets mean anything.
    assert found.offset - found.offset.mean() == pytest.approx(TRUTH.offset, abs=0.1)
    totals = (found.apply(CONCENTRATION).sum(axis=1), TRUTH.apply(CONCENTRATION).sum(axis=1))
    assert np.median(totals[0] / totals[1]) == pytest.approx(1, abs=0.1)


def test_one_vote_constrains_fractions_and_not_their_total():
    found = fit_question(CONCENTRATION, votes_of(TRUTH.apply(CONCENTRATION), 1), "bar")
    assert (found.slope, found.shift) == pytest.approx((1, 0), abs=1e-3)
    assert found.temperature > 1.15
    assert found.offset[0] > found.offset[1]


def test_votes_on_unions_constrain_what_they_can():
    votes = as_union(votes_of(TRUTH.apply(CONCENTRATION), 40))
    found = fit_question(CONCENTRATION, votes, "bar").apply(CONCENTRATION)
    share, truth = (c[:, 2] / c.sum(axis=1) for c in (found, TRUTH.apply(CONCENTRATION)))
    assert np.abs(share - truth).mean() < 0.02


@pytest.mark.parametrize("direct", [False, True])
def test_few_galaxies_do_little_harm_to_a_model_that_is_right(direct):
    few, votes = CONCENTRATION[:FEWEST_ASKED], votes_of(CONCENTRATION, 40, 99)
    gains = [
        held_out_gain(fit_question(few, votes_of(few, 40, seed), "bar", direct), votes, CONCENTRATION)
        for seed in range(6)
    ]
    assert np.mean(gains) > -0.05


def test_priors_let_go_where_votes_are_direct():
    few, votes = CONCENTRATION[:100], votes_of(TRUTH.apply(CONCENTRATION), 40)
    held, free = (fit_question(few, votes[:100], "bar", direct) for direct in (False, True))
    assert held_out_gain(free, votes, CONCENTRATION) > held_out_gain(held, votes, CONCENTRATION) + 0.02


def test_direct_votes_that_scatter_as_no_dirichlet_does_leave_the_mean_right():
    random = np.random.default_rng(3)
    says_no = CONCENTRATION[:, 2] / CONCENTRATION.sum(axis=1)
    # Nearly everybody sees no bar, or nearly everybody one, but never quite all.
    votes = np.zeros((len(CONCENTRATION), len(VOTE_COLUMNS)))
    votes[:, BAR.stop - 1] = random.binomial(40, np.where(random.random(len(says_no)) < says_no**0.5, 0.94, 0.06))
    votes[:, BAR.start] = 40 - votes[:, BAR.stop - 1]
    shares = votes[:, BAR.stop - 1].mean() / 40

    def missed(direct: bool) -> float:
        found = fit_question(CONCENTRATION, votes, "bar", direct).apply(CONCENTRATION)
        return abs((found[:, 2] / found.sum(axis=1)).mean() - shares)

    assert missed(True) < 0.015 < missed(False)


def test_the_layer_does_what_was_fitted():
    layer = Calibration()
    place = list(TREE.slices).index("bar")
    for name in ("temperature", "slope", "shift"):
        value = ops.convert_to_numpy(getattr(layer, name)).copy()
        value[place] = getattr(TRUTH, name)
        getattr(layer, name).assign(value)
    offset = np.zeros(len(ANSWERS))
    offset[BAR] = TRUTH.offset
    layer.offset.assign(offset)
    every = np.ones((len(CONCENTRATION), len(ANSWERS)), "float32")
    every[:, BAR] = CONCENTRATION
    np.testing.assert_allclose(ops.convert_to_numpy(layer(every))[:, BAR], TRUTH.apply(CONCENTRATION), rtol=1e-4)


class Heads:
    """The part of a classifier that is calibrated, whose heads say `CONCENTRATION` on every question alike."""

    def __init__(self):
        self.calibrations = {kind: Calibration() for kind in KINDS}

    def answer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        every = np.ones((len(images), len(ANSWERS)), "float32")
        every[:, BAR] = CONCENTRATION[: len(images)]
        layer = self.calibrations["composite" if images.dtype == np.uint8 else "flux"]
        return {"concentration": ops.convert_to_numpy(layer(every))}


def voted(votes: np.ndarray, kind: str = "flux") -> Galaxies:
    """Galaxies with these votes; their images are not looked at."""
    columns = {"id": np.arange(len(votes)).astype(str), "votes": votes}
    return Galaxies({"kind": kind, "size": 1}, {**columns, "image": np.zeros((len(votes), 1, 1, 3), KINDS[kind])})


def offsets(heads: Heads, kind: str = "flux") -> np.ndarray:
    return ops.convert_to_numpy(heads.calibrations[kind].offset)


def test_a_question_that_few_or_none_were_asked_stays_as_it_was():
    heads = Heads()
    votes = np.full((300, len(VOTE_COLUMNS)), np.nan)
    assert calibrate.calibrate(heads, voted(votes)) == {}
    votes[:, BAR] = votes_of(CONCENTRATION[:300], 40)[:, BAR]
    merging = TREE.slices["merging"]
    votes[: FEWEST_ASKED - 1, merging] = [9, 1, 0, 0]
    assert calibrate.calibrate(heads, voted(votes)) == {"bar": 300}
    others = np.delete(offsets(heads), np.arange(BAR.start, BAR.stop))
    assert (others == 0).all()


def test_fitting_again_gives_the_same():
    heads, galaxies = Heads(), voted(votes_of(TRUTH.apply(CONCENTRATION), 40))
    calibrate.calibrate(heads, galaxies)
    once = [ops.convert_to_numpy(weight) for weight in heads.calibrations["flux"].weights]
    calibrate.calibrate(heads, galaxies)
    for before, after in zip(once, heads.calibrations["flux"].weights, strict=True):
        np.testing.assert_allclose(before, np.array(after), atol=1e-3)


def test_one_class_only_is_believed_no_further_than_the_prior_allows():
    votes = np.zeros((200, len(VOTE_COLUMNS)))
    votes[:, VOTE_COLUMNS.index("bar_no")] = 1
    heads = Heads()
    assert calibrate.calibrate(heads, voted(votes)) == {"bar": 200}
    p = heads.answer(np.zeros((200, 1), "float32"))["concentration"][:, BAR]
    p = p / p.sum(axis=1, keepdims=True)
    assert np.isfinite(p).all()
    assert p[:, 2].mean() < 0.99


def test_hard_classes_are_not_listened_to_where_enough_galaxies_have_many_votes():
    polls = votes_of(CONCENTRATION[:200], 40)
    hard = np.zeros((2000, len(VOTE_COLUMNS)))
    hard[np.arange(2000), BAR.start + CONCENTRATION[200:2200].argmax(axis=1)] = 1
    heads = Heads()
    assert calibrate.calibrate(heads, voted(np.concatenate([polls, hard]))) == {"bar": 200}
    alone = Heads()
    calibrate.calibrate(alone, voted(polls))
    np.testing.assert_array_equal(offsets(heads), offsets(alone))


def test_those_who_came_to_a_question_against_most_of_their_fellows_are_not_listened_to():
    most = votes_of(CONCENTRATION[:200], 40)
    few = votes_of(TRUTH.apply(CONCENTRATION[200:2200]), 10)
    most[:, VOTE_COLUMNS.index("smooth-or-featured_featured-or-disk")] = 40
    few[:, VOTE_COLUMNS.index("smooth-or-featured_smooth")] = 40
    heads, alone = Heads(), Heads()
    assert calibrate.calibrate(heads, voted(np.concatenate([most, few])))["bar"] == 200
    calibrate.calibrate(alone, voted(most))
    np.testing.assert_array_equal(offsets(heads)[BAR], offsets(alone)[BAR])


def test_each_kind_of_image_has_its_own_correction_and_lends_it_only_where_there_was_none():
    true, wrong = (votes_of(c[:500], 40) for c in (CONCENTRATION, TRUTH.apply(CONCENTRATION)))
    heads = Heads()
    calibrate.calibrate(heads, voted(wrong, "composite"))
    lent = offsets(heads, "flux").copy()
    np.testing.assert_array_equal(lent, offsets(heads, "composite"))
    assert np.abs(lent[BAR]).max() > 0.2
    calibrate.calibrate(heads, voted(true, "flux"))
    assert np.abs(offsets(heads, "flux")[BAR]).max() < 0.1
    np.testing.assert_array_equal(lent, offsets(heads, "composite"))
    both = Heads()
    assert calibrate.calibrate(both, [voted(true, "flux"), voted(wrong, "composite")]) == {"bar": 1000}
    for kind in KINDS:
        np.testing.assert_allclose(offsets(both, kind), offsets(heads, kind), atol=1e-3)
