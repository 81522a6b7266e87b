"""The noise of sums on tiles whose weights are right, wrong by a factor, uneven, or not there."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from morph.stamps.noise import SkyNoise
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import COUNTS, NOISE, SIZE, write_tile

X = np.array([40.0, 200.0])
Y = np.array([120.0, 120.0])


def noise_of(folder, monkeypatch, smooth: float = 0.0, uneven: float = 1.0, **options) -> tuple[SkyNoise, np.ndarray]:
    """The noise of a tile, of which the right half is `uneven` times noisier; and the image in r, nanomaggies."""

    def counts(band, *_):
        image = np.random.default_rng([1, ord(band)]).normal(0, 1, (SIZE, SIZE))
        if smooth:
            image = gaussian_filter(image, smooth)
            image /= image.std()
        image *= NOISE[band]
        image[:, SIZE // 2 :] *= uneven
        return image.astype("float32")

    monkeypatch.setattr("tests.morph.drawn_tiles.counts_of", counts)
    write_tile(folder, **options)
    with Tile.open(folder, "des") as tile:
        noise = SkyNoise(tile)
        noise.look(Strip.whole(tile))
        return noise, tile.plane("r").copy()


@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize("smooth", [0.0, 0.6])
def test_weights_are_scaled_to_the_scatter_of_sums(tmp_path, monkeypatch, factor, smooth):
    weight = np.full((SIZE, SIZE), factor * NOISE["r"] ** -2, "float32")
    noise, image = noise_of(tmp_path, monkeypatch, smooth, weight=weight)
    sums = image.reshape(SIZE // 12, 12, SIZE // 12, 12).sum(axis=(1, 3))
    np.testing.assert_allclose(noise.of_pixels("r", X, Y), sums.std() / 12, rtol=0.15)
    assert noise.correlation("r") == pytest.approx(1 if not smooth else sums.std() / 12 / image.std(), rel=0.15)


def test_noise_is_that_of_the_place(tmp_path, monkeypatch):
    weight = np.full((SIZE, SIZE), NOISE["r"] ** -2, "float32")
    weight[:, SIZE // 2 :] /= 9
    weight[100:120, :30] = 0
    noise, _ = noise_of(tmp_path, monkeypatch, uneven=3.0, weight=weight)
    found = noise.of_pixels("r", X, Y)
    assert found[1] / found[0] == pytest.approx(3, rel=0.01)
    assert found[0] * COUNTS == pytest.approx(NOISE["r"], rel=0.3)


def test_without_weights_there_is_only_the_correlation(tmp_path, monkeypatch):
    noise, _ = noise_of(tmp_path, monkeypatch, 0.6)
    noise._weights.clear()
    assert np.isnan(noise.of_pixels("r", X, Y)).all()
    assert noise.correlation("r") > 1.2
