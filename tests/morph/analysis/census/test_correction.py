"""The correction recovers mixes that it has not seen, says how well, and what is no longer seen."""

import numpy as np
import pytest

from morph.analysis.census.classes import classes_of_answers, index_of, shares
from morph.analysis.census.correction import Correction
from morph.analysis.census.visibility import CELLS, cell_of
from morph.decision_tree import tree_probabilities
from tests.morph.analysis.census.invented import labelled, model_answers, population, visible

FEATURED = index_of("smooth-or-featured_featured-or-disk")


@pytest.fixture(scope="module")
def correction() -> Correction:
    return Correction(labelled())


def sample(featured: float, seed: int, size: float = 4.0, snr: float = 300.0, count: int = 2000):
    """Mean answers of a sample, its cells, and what volunteers say of it."""
    truth = population(count, featured, seed)
    answers = model_answers(truth, visible(np.full(count, size), np.full(count, snr)), seed + 1)
    cells = np.bincount(cell_of(np.full(count, size), np.full(count, snr)), minlength=CELLS + 1).astype(float)
    mean = [classes_of_answers(tree_probabilities(each)).mean(axis=0).astype(float) for each in (answers, truth)]
    return mean[0], cells, mean[1]


@pytest.mark.parametrize("featured", [0.1, 0.25, 0.5, 0.75])
def test_mixes_that_the_labelled_galaxies_do_not_have_are_recovered(correction, featured):
    mean, cells, truth = sample(featured, seed=5)
    found = correction.correct(mean, 2000, cells)
    naive = abs(mean[FEATURED] - truth[FEATURED])
    off = abs(found.mean[FEATURED] - truth[FEATURED])
    assert off < 0.015
    assert naive > 0.02 or featured == 0.25  # this is the mix that the model expects
    # Fractions lie within 0 and 1 and add up.
    fraction = shares(found.mean)[0]
    assert fraction[:3].sum() == pytest.approx(1, abs=1e-6)
    assert (found.resampled >= 0).all()


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held, pulls = [], []
    for seed in range(20):
        correction = Correction(labelled(300, copies=0, seed=100 + seed))
        mean, cells, truth = sample([0.15, 0.35, 0.6][seed % 3], seed=seed, count=600)
        found = correction.correct(mean, 600, cells, seed)
        low, high = np.quantile(found.resampled[:, FEATURED], [0.16, 0.84])
        held.append(low <= truth[FEATURED] <= high)
        pulls.append((truth[FEATURED] - found.mean[FEATURED]) / ((high - low) / 2))
    assert 0.5 <= np.mean(held) <= 0.9  # 68 % of 20, with room for chance
    assert 0.6 < np.std(pulls) < 1.5


def test_the_same_galaxies_keep_their_fraction_as_they_fade_until_too_little_is_seen(correction):
    found, seen = [], []
    for snr in (300.0, 100.0, 40.0):
        mean, cells, truth = sample(0.5, seed=9, size=3.0, snr=snr, count=3000)
        found.append(correction.correct(mean, 3000, cells).mean[FEATURED] - truth[FEATURED])
        seen.append(correction.completeness(cells)[FEATURED])
    assert np.abs(found).max() < 0.03
    assert seen[0] > 0.85
    assert np.all(np.diff(seen) < 0)
    _, cells, _ = sample(0.5, seed=9, size=0.8, snr=15.0)
    assert correction.completeness(cells)[FEATURED] < 0.25


def test_galaxies_as_they_are_stand_for_a_sample_seen_like_them_and_copies_for_any_other():
    made = labelled(400)
    # Half of the labelled galaxies are small and faint: volunteers, too, missed what they have.
    badly = (made.copy == 0) & (made.galaxy % 2 == 0)
    made.size[badly], made.snr[badly] = 1.0, 60.0
    correction, originals = Correction(made), made.copy == 0
    alike = np.bincount(cell_of(made.size[originals], made.snr[originals]), minlength=CELLS + 1).astype(float)
    assert correction.base(alike).sum() == pytest.approx(1)
    assert correction.base(alike)[originals].sum() > 0.9
    faint = np.bincount(cell_of(np.array([1.0]), np.array([60.0])), minlength=CELLS + 1).astype(float)
    assert correction.base(faint).sum() == pytest.approx(1)
    assert correction.base(faint)[originals].sum() < 0.4
    # Of what is seen best there are no copies.
    best = np.bincount(cell_of(np.array([4.9]), np.array([400.0])), minlength=CELLS + 1).astype(float)
    assert correction.base(best)[originals].sum() > 0.6


def test_galaxies_of_which_it_is_not_known_how_well_they_are_seen_count_as_seen_well(correction):
    mean, _, truth = sample(0.5, seed=3)
    cells = np.eye(CELLS + 1)[CELLS]
    assert correction.correct(mean, 2000, cells).mean[FEATURED] == pytest.approx(truth[FEATURED], abs=0.03)
    assert np.isnan(correction.completeness(cells)).all()


def test_what_the_labels_do_not_say_is_not_corrected():
    made = labelled(200, copies=0)
    bar = index_of("bar_no")
    made.truth[:, bar] = np.nan
    mean, cells, _ = sample(0.3, seed=4)
    found = Correction(made).correct(mean, 1000, cells)
    assert np.isnan(found.mean[bar])
    assert np.isfinite(found.mean[FEATURED])


def test_a_correction_repeats_itself(correction):
    mean, cells, _ = sample(0.4, seed=2)
    first, second = (correction.correct(mean, 500, cells, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.resampled, second.resampled)
