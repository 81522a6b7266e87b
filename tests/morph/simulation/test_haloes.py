"""Ellipticals with haloes, and the tiles that have them."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from morph.simulation.haloes import (
    AUREOLE,
    AureoleStar,
    HaloGalaxy,
    _stamp,
    halo_columns,
    sersic,
    share_within,
)
from morph.simulation.tile import draw_tile, simulate_tile


@pytest.fixture(scope="module")
def drawn(des):
    return draw_tile(des, 512, 12, 3, haloes=True)


def test_a_sersic_profile_has_unit_flux_and_half_of_it_within_its_radius():
    y, x = (np.mgrid[:801, :801] - 400) * 0.5
    light = sersic(x, y, 10.0, 1.0, 0.6) * 0.25
    assert light.sum() == pytest.approx(1, abs=0.01)
    inside = np.sqrt(0.6 * x**2 + y**2 / 0.6) < 10
    assert light[inside].sum() == pytest.approx(0.5, abs=0.01)
    assert share_within(2.0, 1.0) == pytest.approx(light[np.sqrt(0.6 * x**2 + y**2 / 0.6) < 20].sum(), abs=0.01)


def test_the_image_of_a_halo_has_its_brightness_and_the_aureole(drawn):
    conditions, sources = drawn
    galaxy = next(source for source in sources if isinstance(source, HaloGalaxy))
    light, left, low = _stamp(galaxy, conditions)
    scale = conditions.survey.pixel_scale
    dx = (np.arange(len(light))[None, :] - (galaxy.x - left)) * scale
    dy = (np.arange(len(light))[:, None] - (galaxy.y - low)) * scale
    turn = np.radians(galaxy.scene.angle)
    true = galaxy.brightness(dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn))
    distance = np.hypot(dx, dy) / galaxy.scene.radius
    ring = (distance > 5) & (distance < 7)
    ratio = light[ring].mean(axis=0) / (true[ring].mean(axis=0) * scale**2)
    # The aureole adds a little of the bright middle.
    assert ((ratio > 1.0) & (ratio < 1.2)).all()
    assert light.sum(axis=(0, 1)) == pytest.approx(sum(galaxy.fluxes()), rel=0.03)
    assert 0 < AUREOLE < 0.1


def test_ellipticals_alone_have_haloes_and_the_truth_says_which(drawn, tmp_path):
    _, sources = drawn
    galaxies = {source.index: source for source in sources if isinstance(source, HaloGalaxy)}
    assert 0 < len(galaxies) < 12
    assert any(isinstance(source, AureoleStar) for source in sources)
    columns = halo_columns(galaxies, 12)
    assert np.isfinite(columns["halo_radius"]).sum() == len(galaxies)
    made = simulate_tile(tmp_path, 512, "des", 12, 3, progress=False, haloes=True)
    truth = pq.read_table(made.truth).to_pandas()
    assert truth.halo_radius.notna().sum() == len(galaxies)
    assert set(truth.kind[truth.halo_radius.notna()]) == {"elliptical"}
    share = truth.halo_flux_r / (truth.halo_flux_r + truth.body_flux_r)
    assert share.dropna().between(0.1, 0.3).all()


def test_the_same_tile_without_haloes_has_no_columns_of_them(tmp_path):
    made = simulate_tile(tmp_path, 256, "des", 3, 3, progress=False)
    assert "halo_radius" not in pq.read_schema(made.truth).names
