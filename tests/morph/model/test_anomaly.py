import numpy as np
import pytest
from keras import ops

from morph.model.anomaly import Anomaly

LATENT = 6


def toy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated Gaussian embeddings and log-normal errors."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(LATENT, LATENT))
    embedding = random.normal(size=(count, LATENT)) @ mixing + 3
    return embedding.astype("float32"), np.exp(random.normal(0, 0.3, count)).astype("float32")


def p_values(layer: Anomaly, embedding, error) -> np.ndarray:
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(embedding), ops.convert_to_tensor(error)))


@pytest.fixture(scope="module")
def taught() -> Anomaly:
    layer = Anomaly(LATENT)
    layer.fit(*toy(4000, seed=0))
    return layer


@pytest.mark.parametrize(("threshold", "spread"), [(0.01, 0.005), (0.05, 0.012)])
def test_a_flag_at_some_percent_flags_so_many_normal_galaxies(taught, threshold, spread):
    p = p_values(taught, *toy(20_000, seed=1))
    assert np.mean(p < threshold) == pytest.approx(threshold, abs=spread)


def test_a_strange_embedding_or_a_failed_reconstruction_has_a_small_p(taught):
    embedding, error = toy(500, seed=2)
    embedding[0] += 40
    error[1] *= 20
    p = p_values(taught, embedding, error)
    assert set(np.argsort(p, kind="stable")[:2]) == {0, 1}
    assert (p[:2] < 0.01).all()


def test_stranger_is_never_less_anomalous(taught):
    embedding, error = toy(1, seed=3)
    further = 3 + (embedding - 3) * np.linspace(0, 12, 30)[:, None].astype("float32")
    assert (np.diff(p_values(taught, further, np.repeat(error, 30))) <= 1e-6).all()
    worse = error * np.linspace(0.2, 12, 30).astype("float32")
    assert (np.diff(p_values(taught, np.repeat(embedding, 30, axis=0), worse)) <= 1e-6).all()


def test_p_values_are_never_zero(taught):
    embedding, error = toy(1, seed=4)
    p = p_values(taught, embedding + 1e4, error * 1e4)
    assert 0 < p[0] < 0.002


def test_before_it_was_taught_nothing_is_strange():
    np.testing.assert_array_equal(p_values(Anomaly(LATENT), *toy(5, seed=5)), 1)


def test_too_few_galaxies_to_say_what_is_normal():
    with pytest.raises(ValueError, match="39 galaxies are too few"):
        Anomaly(LATENT).fit(*toy(39, seed=0))
