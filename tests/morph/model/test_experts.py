import keras
import numpy as np
import pytest

from morph.decision_tree import VOTE_COLUMNS
from morph.model.experts import Experts, log_density, product, restore, transform
from morph.votes import empty_votes, set_votes

MEASURED = np.array([[17.6, 16.9, 16.5, 3.0, 0.1], [19.0, 18.1, 17.7, 1.2, 0.25]])


@pytest.fixture(scope="module")
def experts() -> Experts:
    keras.utils.set_random_seed(2)
    return Experts(latent=4, width=8)


def test_measurements_come_back_from_how_the_experts_read_them():
    np.testing.assert_allclose(restore(transform(MEASURED)), MEASURED, rtol=1e-5)


def test_what_is_unknown_or_has_no_logarithm_stays_unknown():
    values = transform([[17.0, np.nan, 16.0, -1.0, 0.0]])
    assert np.isnan(values).all()


def test_a_product_of_gaussians_is_the_gaussian_of_summed_precisions():
    """By hand: precisions 1 (prior), 4 and 5 make 10; means 0, 1 and 2 weigh 0, 4 and 10."""
    means = [np.full((1, 1), 1.0, "float32"), np.full((1, 1), 2.0, "float32")]
    log_variances = [np.full((1, 1), -np.log(4.0), "float32"), np.full((1, 1), -np.log(5.0), "float32")]
    mean, log_variance = product(means, log_variances, np.ones((1, 2), "float32"))
    assert float(mean[0, 0]) == pytest.approx(1.4)
    assert float(np.exp(log_variance[0, 0])) == pytest.approx(0.1)


def test_an_absent_expert_has_no_say():
    means = [np.full((2, 3), 1.0, "float32"), np.full((2, 3), 50.0, "float32")]
    log_variances = [np.zeros((2, 3), "float32"), np.full((2, 3), -8.0, "float32")]
    present = np.array([[1, 0], [0, 0]], "float32")
    mean, log_variance = (np.array(x) for x in product(means, log_variances, present))
    np.testing.assert_allclose(mean, [[0.5] * 3, [0] * 3], err_msg="with no expert at all the prior is left")
    np.testing.assert_allclose(np.exp(log_variance), [[0.5] * 3, [1] * 3], rtol=1e-6)


def test_modalities_are_present_where_all_their_columns_are_known(experts):
    votes = np.nan_to_num(np.stack([set_votes(empty_votes(), {"bar_no": 3.0}), empty_votes()]))
    measured = transform(MEASURED)
    measured[1, [2, 4]] = np.nan
    _, _, present = experts(votes, measured)
    assert np.array(present).tolist() == [[1, 1, 1, 1], [0, 0, 1, 0]]


def test_every_expert_answers_with_finite_numbers_to_extreme_input(experts):
    votes = np.full((2, len(VOTE_COLUMNS)), 1e4, "float32")
    means, log_variances, _ = experts(votes, np.array([[np.nan] * 5, [1e6, -1e6, 1e6, -1e6, 1e6]], "float32"))
    assert len(means) == len(log_variances) == 4
    assert np.isfinite(means).all()
    assert np.isfinite(log_variances).all()


def test_the_density_of_a_mixture_integrates_to_one(experts):
    mixture = experts.measurements_from(np.zeros((1, 4), "float32"))["redshift"]
    grid = np.linspace(-12, 12, 4001, dtype="float32")
    repeated = [np.repeat(np.array(part), len(grid), axis=0) for part in mixture]
    density = np.exp(np.array(log_density(tuple(repeated), grid[:, None])))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)


def test_experts_come_back_from_their_config(experts):
    assert Experts.from_config(experts.get_config()).get_config() == experts.get_config()
