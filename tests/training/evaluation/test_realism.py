"""Realism: distances that are small between halves of one set, and large where samples differ."""

import numpy as np
import pytest

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.sizes import FIELD, NETWORK_SIZE
from training.evaluation.realism import measure_realism
from training.evaluation.realism_distances import (
    between_halves,
    kernel_distance,
    separability,
    standardised,
    wasserstein,
)
from training.evaluation.realism_statistics import POWER, STATISTICS, power_spectra, sersic_indices, statistics


def stamps(n: int, seed: int, size: float = 6.3, noise: float = 0.01) -> np.ndarray:
    """Exponential disks of 10.7 pixels half-light radius, of many shapes: float32 [n, 64, 64, 3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    angle, ratio = random.uniform(0, np.pi, (n, 1, 1)), random.uniform(0.4, 1, (n, 1, 1))
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    light = np.exp(-np.hypot(along, across) / size)[..., None] * [0.6, 1.0, 1.3]
    return (light + random.normal(0, noise, light.shape)).astype("float32")


def galaxies_of(images: np.ndarray) -> Galaxies:
    n = len(images)
    random = np.random.default_rng(n)
    columns = {
        "id": np.array([f"g{k}" for k in range(n)]),
        "survey": np.full(n, "des"),
        "ra": np.full(n, np.nan),
        "dec": np.full(n, np.nan),
        "image": images,
        "votes": np.full((n, 48), np.nan, "f4"),
        "mag_g": np.full(n, 18.7, "f4"),
        "mag_r": random.uniform(17, 19, n).astype("f4"),
        "mag_i": np.full(n, 17.6, "f4"),
        "radius": np.full(n, 2.0, "f4"),
        "redshift": np.full(n, 0.1, "f4"),
        "pixel_scale": np.full(n, 2.0 * 6 / 64, "f4"),
    }
    return Galaxies({"kind": "flux", "size": 64}, columns)


def test_the_statistics_measure_what_they_are_named_for():
    smooth, knotty = stamps(20, 0), stamps(20, 0)
    random = np.random.default_rng(1)
    for image in knotty:
        for row, column in random.integers(24, 40, (12, 2)):
            image[row : row + 2, column : column + 2] += 0.4
    before, after = (
        dict(zip(STATISTICS, np.nanmedian(statistics(galaxies_of(s)), axis=0), strict=True)) for s in (smooth, knotty)
    )
    assert after["smoothness"] > before["smoothness"] + 0.02
    assert after["asymmetry"] > before["asymmetry"]
    assert after["power 1/6"] > before["power 1/6"] + 0.2
    assert after["m20"] > before["m20"]
    # An exponential disk: g - r as drawn; Gini of its light within 1.5 half-light radii.
    assert before["g-r"] == pytest.approx(2.5 * np.log10(1 / 0.6), abs=0.02)
    assert before["concentration"] == pytest.approx(2.6, abs=0.2)
    assert 0.3 < before["gini"] < 0.7
    # An exponential disk without seeing, whose pixels are averaged two by two.
    assert 10 ** before["sersic"] == pytest.approx(1.0, abs=0.12)
    flat = galaxies_of(np.ones((1, 64, 64, 3), "float32"))
    assert np.isnan(statistics(flat)[0, STATISTICS.index("concentration")])


def test_a_sersic_profile_has_its_index_and_an_empty_stamp_none():
    from astropy.modeling.models import Sersic2D

    y, x = np.mgrid[:64, :64] - 31.5
    light = [Sersic2D(1, NETWORK_SIZE / FIELD, n, ellip=0.4, theta=1)(x, y) for n in (0.6, 1.5, 3.0)]
    found = sersic_indices(np.array([*light, np.zeros((64, 64))]))
    # Pixels as wide as these smooth the cusp of the last one.
    np.testing.assert_allclose(found[:3], [0.6, 1.5, 3.0], rtol=0.12)
    assert np.isnan(found[3])


def test_a_wave_has_its_power_at_its_frequency():
    image = np.tile(1 + np.sin(2 * np.pi * np.arange(64) / 8), (64, 1))[None, ..., None].repeat(3, -1)
    spectrum = power_spectra(image.astype("float32"))[0]
    assert POWER[spectrum.argmax()] <= 1 / 8 < POWER[spectrum.argmax() + 1]


def test_distances_are_those_of_the_definitions():
    assert wasserstein(np.array([[0.0], [2.0]]), np.array([[1.0], [np.nan], [3.0]])).tolist() == [1.0]
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 400, 5))
    assert kernel_distance(one, other) == pytest.approx(0, abs=0.05)
    assert kernel_distance(one, other + 1) > 1


def test_a_feature_that_one_galaxy_has_does_not_decide_the_distance():
    random = np.random.default_rng(0)
    real, drawn = random.standard_normal((2, 200, 40))
    real[:, :2], drawn[:, :2] = 0.0, 0.0
    real[0, 0], drawn[0, :2] = 1.0, 1.0
    scaled = standardised(10 * real + 3, 10 * drawn + 3)
    assert scaled[0].shape[1] == 39
    values, floors = between_halves(kernel_distance, *scaled, random)
    assert max(np.abs(values).max(), np.abs(floors).max()) < 1


def test_intervals_of_halves_are_those_of_the_whole():
    random = np.random.default_rng(0)
    real, drawn = random.standard_normal((2, 400))
    values, floors = between_halves(lambda a, b: np.array([b.mean() - a.mean()]), real, drawn, random)
    assert values.mean() == pytest.approx(drawn.mean() - real.mean(), abs=0.03)
    assert values.std() == pytest.approx(np.sqrt(2 / 400), rel=0.25)
    # Halves of one set have half the galaxies each, and nothing in common.
    assert floors.std() == pytest.approx(np.sqrt(4 / 400), rel=0.25)


def test_a_fresh_network_separates_blurred_galaxies_from_others_and_halves_by_chance_alone():
    real = stamps(120, 1, noise=0.05)
    random = np.random.default_rng(0)
    assert separability(real, stamps(120, 2, noise=0.002), random).value > 0.9
    assert separability(real, stamps(120, 3, noise=0.05), random).value == pytest.approx(0.5, abs=0.2)


def test_every_figure_stands_beside_its_floor(classifier, monkeypatch):
    real, same, other = (galaxies_of(stamps(64, *each)) for each in ((1,), (2,), (3, 4.5)))
    monkeypatch.setattr("training.evaluation.realism_distances.EPOCHS", 1)
    monkeypatch.setattr("training.evaluation.realism_distances.HALVES", 10)
    unlike = measure_realism(classifier, real, other, judge=classifier)
    assert {"wasserstein", "kernel distance", "auc", "power", "share/bars", "asked/radius"} <= set(unlike.figures)
    assert unlike.figures["wasserstein"].estimate.low > 2 * unlike.figures["wasserstein"].floor
    values, floors = between_halves(wasserstein, statistics(real), statistics(same), np.random.default_rng(0))
    assert np.nanmean(values) < 2 * np.nanmean(floors)
    radius = unlike.figures["asked/radius"]
    assert radius.estimate.high < radius.floor - 0.05
    assert all(each.estimate.low <= each.value <= each.estimate.high for each in unlike.figures.values())
    assert any("floor" in line and "wasserstein" in line for line in unlike.lines())
    with pytest.raises(InputError, match="60 fluxes or more"):
        measure_realism(classifier, real, same.select(np.arange(10)))
