"""Reconstructions against the truth: what is compared is right about images whose answer is known."""

import numpy as np

from morph.simulation.sample import noiseless, simulate_galaxies
from training.evaluation.decoded import RADIUS
from training.evaluation.reconstruction import RINGS, measure_reconstruction, profiles


def exponentials(scales) -> np.ndarray:
    offset = np.arange(64) - 31.5
    radius = np.hypot(offset[:, None], offset)
    return np.repeat(np.stack([np.exp(-radius / scale) for scale in scales])[..., None], 3, axis=-1)


def test_a_profile_is_the_mean_of_its_rings():
    middle = (RINGS[1:] + RINGS[:-1]) / 2 * RADIUS
    np.testing.assert_allclose(profiles(exponentials([100.0]))[0], np.exp(-middle / 100), rtol=0.02)


def test_a_perfect_reconstruction_has_no_differences_whatever_the_sky(tmp_path):
    """And one that is brighter, or flatter, has those that it should have."""
    galaxies = simulate_galaxies(tmp_path / "set", 4, "des", seed=11, processes=1, progress=False)
    truth = noiseless(galaxies)[:, 16:80, 16:80]

    class Decoder:
        factor = 1.0

        def central(self, images):
            return images[:, 16:80, 16:80]

        def reconstruct(self, images):
            sky = np.mean(images - truth, axis=(1, 2), keepdims=True)
            return {"reconstruction": self.factor * truth + sky}

    decoder = Decoder()
    found = measure_reconstruction(decoder, galaxies)
    assert found["profile"].shape == (4, len(RINGS) - 1)
    for values in found.values():
        np.testing.assert_allclose(values, 0, atol=1e-3)
    decoder.factor = 1.1
    found = measure_reconstruction(decoder, galaxies)
    np.testing.assert_allclose(found["magnitude"], -2.5 * np.log10(1.1), atol=1e-3)
    np.testing.assert_allclose(found["radius"], 0, atol=1e-3)
    np.testing.assert_allclose(found["profile"], 0.1, atol=1e-3)
