from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.decision_tree import ANSWERS, TREE
from morph.simulation.population import MIXES, draw_scene
from morph.simulation.scenes import Companion
from morph.simulation.votes import answer_probabilities, draw_votes, ordinal, visibility
from morph.surveys import SIMULATED, get_survey
from training.importers.galaxy_zoo import GALAXY_ZOO_2


def chance(scene, survey, answer):
    return answer_probabilities(scene, survey)[ANSWERS.index(answer)]


def simulated_votes(survey, number=1200):
    """Counts per answer of a "survey" mix, without images: [number, answers]."""
    rows = []
    for index in range(number):
        scene = draw_scene(np.random.default_rng([7, index]), survey, MIXES["survey"])
        rows.append(draw_votes(answer_probabilities(scene, survey), np.random.default_rng([8, index]))[: len(ANSWERS)])
    return np.array(rows)


@pytest.mark.parametrize("name", SIMULATED)
def test_every_question_sums_to_one(name):
    for index in range(200):
        scene = draw_scene(np.random.default_rng([1, index]), get_survey(name), MIXES["balanced"])
        probabilities = answer_probabilities(scene, get_survey(name))
        assert (probabilities >= 0).all()
        for question in TREE:
            assert probabilities[TREE.slices[question.name]].sum() == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(shrink=st.floats(0.05, 1.0), dim=st.floats(0.01, 1.0), seed=st.integers(0, 500))
def test_no_feature_is_clearer_on_a_smaller_or_fainter_galaxy(shrink, dim, seed):
    sdss = get_survey("sdss")
    scene = draw_scene(np.random.default_rng(seed), sdss, MIXES["balanced"])
    near = visibility(scene, sdss)
    # Smaller at the same surface brightness, or fainter at the same size.
    for other in (scene.scaled(shrink**2, shrink), scene.scaled(flux=dim)):
        far = visibility(other, sdss)
        assert all(getattr(far, name) <= getattr(near, name) + 1e-9 for name in vars(near))


def test_a_deeper_sharper_survey_shows_more_arms(spiral, sdss, des):
    small = spiral.scaled(flux=0.02, radius=0.35)
    assert visibility(small, des).arms > visibility(small, sdss).arms
    assert chance(small, des, "has-spiral-arms_yes") > chance(small, sdss, "has-spiral-arms_yes")


def test_a_strong_bar_in_a_well_resolved_galaxy_gets_the_bar_votes(spiral, sdss):
    votes = draw_votes(answer_probabilities(spiral, sdss), np.random.default_rng(0), 400, agreement=np.inf)
    strong, weak, none = votes[TREE.slices["bar"]]
    assert strong + weak > 3 * none
    assert chance(replace(spiral, bar=None), sdss, "bar_no") > 0.8


def test_what_stands_out_gets_the_votes(spiral, elliptical, edge_on, sdss):
    assert chance(spiral, sdss, "smooth-or-featured_featured-or-disk") > 0.7
    assert chance(spiral, sdss, "has-spiral-arms_yes") > 0.8
    assert chance(spiral, sdss, "spiral-arm-count_2") > 0.5
    assert chance(elliptical, sdss, "smooth-or-featured_smooth") > 0.75
    assert chance(elliptical, sdss, "how-rounded_round") > 0.7
    assert chance(edge_on, sdss, "disk-edge-on_yes") > 0.7
    pair = replace(elliptical, companions=(Companion(elliptical, 1.5, 0.0),))
    assert chance(pair, sdss, "merging_merger") > 0.5 > chance(elliptical, sdss, "merging_merger")
    broken = replace(elliptical, kind="artifact", artifact="trail")
    assert chance(broken, sdss, "smooth-or-featured_artifact") > 0.7


def test_pitch_decides_the_winding(spiral, sdss):
    for pitch, answer in ((9.0, "tight"), (22.0, "medium"), (38.0, "loose")):
        wound = replace(spiral, arms=replace(spiral.arms, pitch=pitch))
        part = answer_probabilities(wound, sdss)[TREE.slices["spiral-winding"]]
        assert TREE["spiral-winding"].answers[part.argmax()] == answer


def test_a_question_is_asked_of_those_whose_answer_leads_to_it(spiral, sdss):
    for seed in range(50):
        votes = draw_votes(answer_probabilities(spiral, sdss), np.random.default_rng(seed))
        for question in TREE:
            asked = votes[TREE.slices[question.name]]
            parents = TREE.leading_to(question)
            if parents:
                assert np.nansum(asked) == np.nansum(votes[parents])
                assert np.isnan(asked).all() == (np.nansum(votes[parents]) == 0)
        assert np.isnan(votes[len(ANSWERS) :]).all()


def test_ordered_answers_follow_their_value():
    assert ordinal(0.0, (1.0, 2.0), 0.1).argmax() == 0
    assert ordinal(1.5, (1.0, 2.0), 0.1).argmax() == 1
    assert ordinal(9.0, (1.0, 2.0), 0.1).argmax() == 2
    assert ordinal(1.3, (1.0, 2.0), 0.4).sum() == pytest.approx(1.0)


#: Mean share of votes of the real Galaxy Zoo 2 (all votes on Stripe 82, Willett et al. 2013) that the simulated
#: "survey" mix should come near, and of Galaxy Zoo DECaLS (Walmsley et al. 2022) for the first question.
TARGETS = {
    "sdss": {
        "smooth-or-featured_smooth": 0.65,
        "smooth-or-featured_featured-or-disk": 0.28,
        "smooth-or-featured_artifact": 0.07,
        "disk-edge-on_yes": 0.19,
        "has-spiral-arms_yes": 0.55,
        "bar_no": 0.73,
        "how-rounded_round": 0.37,
        "how-rounded_in-between": 0.50,
        "how-rounded_cigar-shaped": 0.13,
        "edge-on-bulge_rounded": 0.66,
        "edge-on-bulge_none": 0.25,
        "odd-feature_none": 0.79,
        "spiral-arm-count_2": 0.49,
    },
    "decals": {
        "smooth-or-featured_smooth": 0.52,
        "smooth-or-featured_featured-or-disk": 0.35,
        "smooth-or-featured_artifact": 0.12,
    },
}


@pytest.mark.parametrize("name", TARGETS)
def test_shares_of_votes_are_near_the_real_ones(name):
    votes = simulated_votes(get_survey(name))
    for answer, target in TARGETS[name].items():
        part = TREE.slices[answer.rsplit("_", 1)[0]]
        share = np.nansum(votes[:, ANSWERS.index(answer)]) / np.nansum(votes[:, part])
        assert share == pytest.approx(target, abs=0.09), answer


@pytest.mark.real
def test_fractions_spread_over_galaxies_as_the_real_ones_do(real_data, sdss):
    """Distribution over galaxies of "featured" and "cigar-shaped", and how many volunteers get to the arms."""
    real = pd.read_parquet(real_data / "gz2-stripe82-votes.parquet")
    counts = np.zeros((len(real), len(ANSWERS)))
    for column in real.columns:
        number = next((part for part in column.split("_") if part in GALAXY_ZOO_2), None)
        if number and column.endswith("_count") and GALAXY_ZOO_2[number] in ANSWERS:
            counts[:, ANSWERS.index(GALAXY_ZOO_2[number])] = real[column]
    made = np.nan_to_num(simulated_votes(sdss))

    def quantiles(votes, answer):
        part = TREE.slices[answer.rsplit("_", 1)[0]]
        asked = votes[:, part].sum(axis=1)
        enough = asked >= 0.5 * votes[:, :3].sum(axis=1)
        return np.percentile(votes[enough, ANSWERS.index(answer)] / asked[enough], [25, 50, 75, 90])

    for answer in ("smooth-or-featured_featured-or-disk", "how-rounded_cigar-shaped", "how-rounded_round"):
        np.testing.assert_allclose(quantiles(made, answer), quantiles(counts, answer), atol=0.17)
    reach = [v[:, TREE.slices["has-spiral-arms"]].sum() / v[:, :3].sum() for v in (made, counts)]
    assert reach[0] == pytest.approx(reach[1], abs=0.07)
