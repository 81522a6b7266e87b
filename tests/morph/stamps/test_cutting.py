"""Stamps cut from a tile: the galaxy's flux, at the galaxy's size, with the right flags."""

import numpy as np
import pytest

from morph.sizes import FIELD, NETWORK_SIZE, STAMP_SIZE
from morph.stamps.cutting import Flag, cut
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import COLOUR, GALAXIES, HALF_LIGHT, SIZE, write_tile

X, Y, SIGMA, FLUX = GALAXIES[0]


def with_mask(folder, box, value, **options) -> Tile:
    """The tile with its pixels in `box` masked in every band."""
    mask = np.zeros((SIZE, SIZE))
    mask[box] = value
    write_tile(folder, mask=mask, **options)
    return Tile.open(folder)


def test_a_stamp_holds_the_flux_of_its_galaxy(tile):
    stamps, flags = cut(tile, *np.array(GALAXIES[:3]).T[:2], [HALF_LIGHT * g[2] for g in GALAXIES[:3]])
    assert stamps.shape == (3, NETWORK_SIZE, NETWORK_SIZE, 3)
    assert flags.tolist() == [0, 0, 0]
    expected = [[g[3] * COLOUR[band] for band in "gri"] for g in GALAXIES[:3]]
    # Three half-light radii hold 99.8 % of a Gaussian; the rest is noise.
    np.testing.assert_allclose(stamps.sum(axis=(1, 2)), expected, rtol=0.03)


def test_all_galaxies_look_equally_large(tile):
    """The second moment of every stamp is the same part of its side, whatever the galaxy's size."""
    stamps, _ = cut(tile, *np.array(GALAXIES[:3]).T[:2], [HALF_LIGHT * g[2] for g in GALAXIES[:3]])
    offset = np.arange(NETWORK_SIZE) - (NETWORK_SIZE - 1) / 2
    light = np.clip(stamps[..., 1], stamps[..., 1].max(axis=(1, 2), keepdims=True) / 20, None)
    light -= light.min(axis=(1, 2), keepdims=True)
    profile = light.sum(axis=1)
    spread = np.sqrt((profile * offset**2).sum(axis=1) / profile.sum(axis=1))
    # Clipped at a twentieth of the peak, a Gaussian's spread is 0.85 of its sigma.
    assert spread * HALF_LIGHT * FIELD / NETWORK_SIZE == pytest.approx(np.full(3, 0.85), abs=0.05)
    centre = (profile * offset).sum(axis=1) / profile.sum(axis=1)
    assert np.abs(centre).max() < 0.5


def test_a_margin_keeps_the_scale(tile):
    narrow = cut(tile, [X], [Y], [SIGMA * HALF_LIGHT])[0][0]
    wide = cut(tile, [X], [Y], [SIGMA * HALF_LIGHT], size=STAMP_SIZE)[0][0]
    margin = (STAMP_SIZE - NETWORK_SIZE) // 2
    np.testing.assert_allclose(wide[margin:-margin, margin:-margin], narrow, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "radius"),
    [(-20, 100, 6), (100, SIZE + 3, 6), (1e9, 5, 6), (np.nan, 100, 6), (100, 100, np.nan), (100, 100, -1), (5, 5, 0)],
)
def test_a_galaxy_without_place_or_size_has_no_data_and_raises_nothing(tile, x, y, radius):
    stamps, flags = cut(tile, [x, X], [y, Y], [radius, 6])
    assert flags.tolist() == [Flag.NO_DATA, 0]
    assert np.isnan(stamps[0]).all()
    assert np.isfinite(stamps[1]).all()


def test_a_stamp_over_the_edge_is_flagged_and_nan_outside(tile):
    x, y, sigma, _ = GALAXIES[3]
    stamps, flags = cut(tile, [x], [y], [sigma * HALF_LIGHT])
    assert flags[0] == Flag.EDGE
    assert np.isnan(stamps[0, :, 0]).all()
    assert np.isfinite(stamps[0, :, NETWORK_SIZE // 2 :]).all()


def test_a_small_galaxy_is_flagged_and_still_cut(tile):
    stamps, flags = cut(tile, [X], [Y], [0.8])
    assert flags[0] == Flag.TOO_SMALL
    assert np.isfinite(stamps).all()


def test_masked_pixels_are_flagged_above_a_twentieth(tmp_path):
    across = FIELD * SIGMA * HALF_LIGHT
    few = with_mask(tmp_path / "few", np.s_[100:104, 100:104], 1)
    many = with_mask(tmp_path / "many", np.s_[100:110, 100:112], 1)
    assert 16 < 0.05 * across**2 < 120
    assert cut(few, [X], [Y], [SIGMA * HALF_LIGHT])[1][0] == 0
    assert cut(many, [X], [Y], [SIGMA * HALF_LIGHT])[1][0] == Flag.MASKED


def test_a_galaxy_that_is_masked_away_has_no_data(tmp_path):
    tile = with_mask(tmp_path, np.s_[80:160, 80:160], 1)
    stamps, flags = cut(tile, [X], [Y], [SIGMA * HALF_LIGHT])
    assert flags[0] & Flag.NO_DATA
    assert np.isnan(stamps).all()


def test_saturation_counts_in_the_galaxy_and_not_beside_it(tmp_path):
    marked = with_mask(tmp_path / "marked", np.s_[122:124, 120:122], 2)
    beside = with_mask(tmp_path / "beside", np.s_[122:124, 133:135], 2)
    bright = [(X, Y, SIGMA, 10_000.0)]
    write_tile(tmp_path / "bright", galaxies=bright)
    for tile, expected in ((marked, True), (beside, False), (Tile.open(tmp_path / "bright"), True)):
        flags = cut(tile, [X], [Y], [SIGMA * HALF_LIGHT])[1]
        assert bool(flags[0] & Flag.SATURATED) == expected


def test_a_missing_band_is_nan_and_flagged(tmp_path):
    write_tile(tmp_path, "gr")
    stamps, flags = cut(Tile.open(tmp_path), [X], [Y], [SIGMA * HALF_LIGHT])
    assert flags[0] == Flag.MISSING_BAND
    assert np.isnan(stamps[..., 2]).all()
    assert np.isfinite(stamps[..., :2]).all()


def test_no_galaxies_are_no_stamps(tile):
    stamps, flags = cut(tile, [], [], [])
    assert stamps.shape == (0, NETWORK_SIZE, NETWORK_SIZE, 3)
    assert flags.shape == (0,)
