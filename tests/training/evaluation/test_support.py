"""The birthday test: how many galaxies there are to draw, from pairs that show one twice."""

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.dataset_writer import Galaxy, galaxies_table
from morph.errors import InputError
from morph.stamps.signal_to_noise import border
from tests.training.evaluation.test_realism import galaxies_of, stamps
from training.evaluation.support import STRICT, Likeness, Support, measure_diversity, observed_again


def test_the_number_of_galaxies_follows_from_the_pairs_that_show_one_twice():
    random = np.random.default_rng(0)
    noise = np.linspace(0.05, 0.5, 8)
    galaxies = random.standard_normal((600, 8))
    once, again = (galaxies + noise * random.standard_normal(galaxies.shape) for _ in range(2))
    likeness = Likeness.fit(once, again, STRICT)
    assert likeness.found == pytest.approx(0.5, abs=0.1)
    pool = random.standard_normal((200, 8))
    drawn = pool[random.integers(200, size=1500)] + noise * random.standard_normal((1500, 8))
    found = likeness.support(drawn)
    assert found.pairs == 1500 * 1499 / 2
    assert found.value == pytest.approx(200, rel=0.25)
    assert 0.8 * found.value < found.low < found.value
    # Galaxies that are all different are hardly ever taken for one.
    assert likeness.support(random.standard_normal((1500, 8))).low > 20 * found.value
    assert Support(pairs=100, close=0, found=0.5).value == np.inf


def test_another_observation_has_noise_of_its_own_and_the_same_galaxy():
    galaxies = galaxies_of(stamps(6, 0, noise=0.05))
    first, second = (observed_again(galaxies, np.random.default_rng(seed)) for seed in (0, 1))
    before = border(galaxies.images)[1]
    np.testing.assert_allclose(np.median(border(first)[1] / before), np.sqrt(2), rtol=0.15)
    inner = slice(26, 38)
    np.testing.assert_allclose(
        first[:, inner, inner].mean(axis=(1, 2)), galaxies.images[:, inner, inner].mean(axis=(1, 2)), rtol=0.1
    )
    assert np.abs(first - second)[:, :8].mean() > 0.02


class Repeats:
    """Draws observations of a few galaxies, over and over."""

    def __init__(self, galaxies: Galaxies):
        self.galaxies = galaxies

    def batch(self, seed: int, number: int, n: int):
        random = np.random.default_rng([seed, number])
        images = observed_again(self.galaxies.select(random.integers(len(self.galaxies), size=n)), random)
        rows = [
            Galaxy(f"{k}", "des", image, np.full(48, np.nan, "f4"), properties={"pixel_scale": 0.2})
            for k, image in enumerate(images)
        ]
        return galaxies_table(rows, 64, "flux")


def test_a_model_that_repeats_its_training_galaxies_is_found_out(classifier, uncompiled):
    random = np.random.default_rng(3)
    held_out, trained_on = (
        galaxies_of(stamps(160, seed, noise=0.005) * random.uniform(0.3, 1, (160, 1, 1, 3)).astype("f4"))
        for seed in (1, 2)
    )
    few = trained_on.select(np.arange(8))
    found = measure_diversity(classifier, Repeats(few), held_out, trained_on, n=120, seeds=(0, 1))
    assert found.strict.support.value < 16
    assert found.strict.real.value > 3 * found.strict.support.value
    assert found.loose.support.close > found.strict.support.close
    assert found.copying.high < 0.9
    assert any("above" in line for line in found.lines())
    with pytest.raises(InputError, match="needs 100 fluxes"):
        measure_diversity(classifier, Repeats(few), few)
