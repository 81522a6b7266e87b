"""The latent prior is a density, its draws have that density, and its conditions say what they should."""

import keras
import numpy as np
import pytest
from keras import ops

from morph.decision_tree import VOTE_COLUMNS
from morph.model.conditions import CONDITIONS, FEATURES, MOST_SURVEYS, condition_features, encode_conditions
from morph.model.measurements import Measurements
from morph.model.prior import Prior
from morph.votes import empty_votes, set_votes

#: Trained on SDSS alone.
SDSS = np.eye(1, MOST_SURVEYS, dtype="float32")[0]
FREE = np.full((1, len(CONDITIONS)), np.nan, "float32")


@pytest.fixture(scope="module")
def prior() -> Prior:
    """Two dimensions, far from the identity."""
    keras.utils.set_random_seed(3)
    prior = Prior(latent=2, couplings=4, width=8)
    for weight in prior.weights[4 + 1 :]:
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape))
    prior.whiten(np.array([0.5, -0.2]), np.array([[0.5, 0.2], [0.2, 0.4]]), SDSS)
    return prior


@pytest.fixture(scope="module")
def z() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 2)).astype("float32")


def test_a_new_prior_is_a_standard_normal_distribution(z):
    new, free = Prior(latent=2, couplings=2, width=4), np.repeat(FREE, len(z), axis=0)
    assert not new.fitted
    np.testing.assert_allclose(new.sample(z, free), z, atol=1e-6)
    np.testing.assert_allclose(
        new.log_prob(z, free), -0.5 * np.square(z).sum(axis=1) - np.log(2 * np.pi), rtol=1e-5, atol=1e-5
    )


def test_its_density_integrates_to_one(prior):
    side = np.linspace(-6, 6, 241, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(prior.log_prob(grid, np.repeat(FREE, len(grid), axis=0)))
    assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=2e-3)
    assert density.max() > 5 * np.exp(-0.5 * 4) / (2 * np.pi), "and is not flat"


def test_samples_and_noise_are_inverse(prior, z):
    conditions = np.repeat(encode_conditions(1, surveys=["sdss"], kind="flux"), len(z), axis=0)
    drawn = prior.sample(z, conditions)
    assert np.abs(drawn - z).max() > 0.1
    np.testing.assert_allclose(prior.noise(drawn, conditions)[0], z, atol=1e-4)
    np.testing.assert_array_equal(prior.sample(z, conditions), drawn, err_msg="no random state")


def test_what_is_known_changes_the_draws_and_a_survey_without_training_counts_as_free(prior, z):
    def drawn(**known) -> np.ndarray:
        return np.array(prior.sample(z[:1], encode_conditions(1, **known)))

    free = drawn()
    assert np.abs(drawn(surveys=["sdss"]) - free).max() > 1e-3
    assert np.abs(drawn(measurements=np.array([[np.nan, 18.0, np.nan, np.nan, np.nan]])) - free).max() > 1e-3
    np.testing.assert_array_equal(drawn(surveys=["des"]), free)


def test_the_columns_of_the_conditions():
    votes = np.stack([set_votes(empty_votes(), {"bar_no": 3.0, "bar_weak": 1.0}), empty_votes()])
    measured = np.array([[17.6, 16.9, 16.5, 3.0, np.nan]] * 2)
    found = encode_conditions(2, votes, measured, ["des", "sdss"], "composite")
    known = [dict(zip(CONDITIONS, row, strict=True)) for row in found]
    assert (known[0]["bar_no"], known[0]["bar_weak"], known[0]["bar_strong"], known[0]["votes_bar"]) == (
        0.75,
        0.25,
        0,
        4,
    )
    assert (known[0]["mag_r"], known[0]["survey"], known[0]["composite"]) == (np.float32(16.9), 1, 1)
    assert np.isnan([known[0]["redshift"], known[0]["merging_none"], known[1]["bar_no"], known[1]["votes_bar"]]).all()
    assert known[1]["survey"] == 0
    assert found.shape == (2, len(CONDITIONS))


def test_features_are_zero_where_nothing_is_known_and_finite_for_impossible_values():
    assert not np.any(condition_features(FREE, SDSS))
    wild = np.array(condition_features(np.full_like(FREE, -1e9), SDSS))
    assert wild.shape == (1, FEATURES)
    assert np.isfinite(wild).all()


def test_a_colour_is_known_where_both_magnitudes_are():
    def known(*magnitudes: float) -> np.ndarray:
        given = np.array([[*magnitudes, np.nan, np.nan]])
        start = 2 * (len(VOTE_COLUMNS) + 11)
        return np.array(condition_features(encode_conditions(1, measurements=given), SDSS))[0, start : start + 14]

    values, has = np.split(known(17.6, 16.9, np.nan), 2)
    np.testing.assert_allclose(values, [0, 0, 0, 0, 0, 0, 0], atol=1e-5)
    assert has.tolist() == [1, 1, 0, 0, 0, 1, 0]


def test_decoders_of_measurements_read_the_other_modalities_and_not_their_own():
    keras.utils.set_random_seed(1)
    decoders, z = Measurements(latent=3, width=8), np.zeros((1, 3), "float32")

    def means(*values: float) -> dict[str, np.ndarray]:
        mixtures = decoders(z, np.array([values], "float32"), np.full(1, np.nan, "float32"))
        return {name: np.array(mixture[1]) for name, mixture in mixtures.items()}

    unknown = float("nan")
    one, other = means(0.0, 0.0, 0.0, 0.5, 1.0), means(0.0, 0.0, 0.0, 0.5, unknown)
    np.testing.assert_array_equal(one["redshift"], other["redshift"])
    assert (one["radius"] != other["radius"]).any()
    assert (one["photometry"] != other["photometry"]).any()
    partly, none = means(1.0, 0.0, unknown, 0.5, 1.0), means(unknown, unknown, unknown, 0.5, 1.0)
    np.testing.assert_array_equal(partly["redshift"], none["redshift"], err_msg="magnitudes count together")
    for log_weight, _, log_sigma in decoders(z, np.full((1, 5), 1e6, "float32"), np.zeros(1, "float32")).values():
        np.testing.assert_allclose(np.exp(log_weight).sum(), 1, rtol=1e-5)
        assert np.isfinite(log_sigma).all()


def test_a_file_without_the_parts_that_are_fitted_last_leaves_them_new(classifier):
    for part in (classifier.prior, classifier.measurements):
        before = [ops.convert_to_numpy(weight).copy() for weight in part.weights]
        part.load_own_variables({})
        assert not part.fitted
        for old, weight in zip(before, part.weights, strict=True):
            np.testing.assert_array_equal(old, weight)
