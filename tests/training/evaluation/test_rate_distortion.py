"""Rate and distortion: measures of pictures and shapes whose values are known, and a whole measurement."""

import numpy as np
import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.store import load_model
from morph.registry import SHIPPED_NAME
from morph.simulation.sample import noiseless, simulate_galaxies
from training.evaluation import rate_distortion
from training.evaluation.decoded import RADIUS, measure_decoded, shapes
from training.evaluation.rate_distortion import measure_rate_distortion, psnr, ssim


def disk(axis_ratio: float = 0.6, scale: float = 6.0, angle: float = 0.0, flux: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 31.5
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = flux * np.exp(-0.5 * (along**2 + (across / axis_ratio) ** 2) / scale**2)
    return np.repeat(light[..., None], 3, axis=-1).astype("float32")


def test_ssim_is_one_for_the_same_and_falls_with_noise_and_blur():
    random = np.random.default_rng(0)
    picture = np.clip(disk()[None] * 200 + random.normal(20, 4, (1, 64, 64, 3)), 0, 255).astype("uint8")
    assert ssim(picture, picture) == pytest.approx([1.0])
    noisy = np.clip(picture + random.normal(0, 20, picture.shape), 0, 255).astype("uint8")
    assert ssim(picture, noisy)[0] < 0.5
    # A change of brightness alone hardly matters, but for PSNR.
    brighter = np.clip(picture.astype(int) + 10, 0, 255).astype("uint8")
    assert ssim(picture, brighter)[0] > 0.9
    assert psnr(picture, brighter)[0] == pytest.approx(20 * np.log10(255 / 10), abs=0.05)


def test_shapes_of_gaussians_are_those_that_they_were_made_with():
    light, radius, ellipticity = shapes(np.stack([disk(1.0), disk(1.0, flux=3.0), disk(1.0, 4.0), disk(0.5)]))
    assert light[1] / light[0] == pytest.approx(3, rel=1e-4)
    # Half of a circular Gaussian's light lies within 1.1774 sigma.
    np.testing.assert_allclose(radius[:3], 1.1774 * np.array([6, 6, 4]), rtol=0.01)
    # Weighted by a Gaussian of the stamps' own radius, whose variances add as precisions.
    variances = 1 / (1 / np.array([6.0, 3.0]) ** 2 + 1 / RADIUS**2)
    expected = (variances[0] - variances[1]) / variances.sum()
    np.testing.assert_allclose(ellipticity, [[0, 0], [0, 0], [0, 0], [expected, 0]], atol=2e-3)
    turned = shapes(disk(0.5, angle=np.pi / 4)[None])[2][0]
    np.testing.assert_allclose(turned, [0, expected], atol=2e-3)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Galaxies:
    folder = tmp_path_factory.mktemp("simulated")
    return simulate_galaxies(folder / "set", 44, "sdss", seed=5, processes=1, progress=False, mix="balanced")


def test_the_truth_is_the_same_galaxy_without_noise(simulated):
    some = simulated.select(np.arange(3, 9))
    truth = noiseless(some)
    noise = some.images - truth
    assert np.isfinite(truth).all()
    # What is left has no structure: it is as large at the centre as at the border, up to the galaxy's own photons.
    inner, border = noise[:, 32:64, 32:64].std(axis=(1, 2)), noise[:, :16].std(axis=(1, 2))
    assert np.median(inner / border) < 2
    assert np.abs(np.median(noise, axis=(1, 2)) / border).max() < 1.5
    assert truth.std() > 0.9 * some.images.std()
    with pytest.raises(InputError, match="another version"):
        noiseless(some.with_columns(image=2 * some.images))
    with pytest.raises(InputError, match="not made by `morph simulate"):
        noiseless(Galaxies({**some.about, "mix": "none of these", "population": "mars"}, some._columns))


@pytest.fixture(scope="module")
def shipped():
    return load_model(SHIPPED_NAME)


def test_decoded_images_are_compared_with_their_originals(shipped, simulated):
    original = shipped.central(simulated.images)
    same = measure_decoded(shipped, simulated, original)
    assert same["magnitude"].value == same["radius"].value == same["ellipticity"].value == 0
    assert same["accuracy/decoded"] == same["accuracy/original"]
    sky = np.median(original, axis=(1, 2), keepdims=True)
    fainter = measure_decoded(shipped, simulated, (sky + 0.9 * (original - sky)).astype("float32"))
    assert fainter["magnitude"].value == pytest.approx(-2.5 * np.log10(0.9), abs=1e-3)
    assert fainter["radius"].value == pytest.approx(0, abs=1e-3)


def test_a_whole_measurement(shipped, simulated, monkeypatch):
    monkeypatch.setattr(rate_distortion, "LENGTHS", (8, 50))
    monkeypatch.setattr(rate_distortion, "DEPTHS", (4, 8))
    rows = np.arange(44)
    measured = measure_rate_distortion(shipped, simulated.select(rows < 22), simulated.select(rows >= 22))
    points = {point.name: point for point in measured.points}
    assert [*points][:5] == ["8 x 4", "8 x 8", "50 x 4", "50 x 8", "200 x 2"]
    assert points["50 x 8"].bytes == points["200 x 2"].bytes == 64
    assert points["8 x 4"].psnr.value < points["50 x 8"].psnr.value < points["200 x 2"].psnr.value
    # A code leaves out the noise: it is closer to the truth than to the image.
    assert points["200 x 2"].truth.value > points["200 x 2"].psnr.value + 1
    webp = points["WebP, quality 0"]
    assert webp.bytes > 40
    assert webp.psnr.value > 20
    assert "PCA, 8" in points
    assert "PCA, 25" not in points, "no more components than pictures"
    assert measured.document()["points"][0]["bytes"] == 18
    with pytest.raises(InputError, match="20 galaxies or more"):
        measure_rate_distortion(shipped, simulated.select(rows < 9), simulated)


def test_the_verb_logs_table_and_curve(morph, tracked, simulated, monkeypatch):
    monkeypatch.setattr(rate_distortion, "LENGTHS", (8,))
    monkeypatch.setattr(rate_distortion, "DEPTHS", (4,))
    monkeypatch.setattr(rate_distortion, "QUALITIES", (0,))
    simulated.write("set")
    status, output, _ = morph("evaluate", SHIPPED_NAME, "set", "--split", "all", "--rate-distortion")
    assert status == 0
    for row in ("200 x 2", "WebP, quality 0", "difference of the ellipticities"):
        assert row in output
    (plot,) = tracked.rglob("rate-distortion.png")
    assert Image.open(plot).size[0] > 400
    for more in ("--retrieval", "--folds=3"):
        assert morph("evaluate", SHIPPED_NAME, "set", "--rate-distortion", more)[0] == 2
