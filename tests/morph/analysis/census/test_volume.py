"""Weights 1/Vmax against the volumes that they stand for."""

import numpy as np
import pytest
from astropy.cosmology import WMAP9, Planck18

from morph.analysis.census.volume import Volume, find_cosmology
from morph.errors import InputError


def test_a_sample_limited_in_magnitude_gives_back_the_density_of_a_volume():
    """Galaxies of two luminosities, one per volume, fill the universe evenly; the weights undo that the faint ones are
    seen nearby only."""
    random = np.random.default_rng(1)
    reach = Planck18.comoving_distance(0.3).value
    distance = reach * random.random(200_000) ** (1 / 3)
    z = np.interp(
        distance, Planck18.comoving_distance(np.linspace(1e-4, 0.31, 500)).value, np.linspace(1e-4, 0.31, 500)
    )
    bright = random.random(len(z)) < 0.3
    magnitude = np.where(bright, -22.0, -20.0) + Planck18.distmod(z).value
    seen = magnitude < 17.5
    weight = Volume(17.5).weights(magnitude, z, 0.0, 0.3)
    assert bright[seen].mean() > 0.8
    assert weight[bright].sum() / weight.sum() == pytest.approx(0.3, abs=0.02)
    assert (weight[~seen] == 0).all()


def test_a_galaxy_at_the_limit_counts_by_the_volume_up_to_its_own_distance():
    weight = Volume(17.0).weights(np.array([17.0]), np.array([0.1]), 0.05, 1.0)
    shell = (Planck18.comoving_volume(0.1) - Planck18.comoving_volume(0.05)).to_value("Gpc3")
    assert weight[0] == pytest.approx(1 / shell, rel=0.01)
    other = Volume(17.0, "WMAP9").weights(np.array([17.0]), np.array([0.1]), 0.05, 1.0)
    shell = (WMAP9.comoving_volume(0.1) - WMAP9.comoving_volume(0.05)).to_value("Gpc3")
    assert other[0] == pytest.approx(1 / shell, rel=0.01)


def test_galaxies_without_a_value_have_no_weight():
    weight = Volume(18.0).weights(np.array([np.nan, 17.0, 17.0]), np.array([0.1, np.nan, -0.1]), 0.0, 1.0)
    assert weight.tolist() == [0, 0, 0]


def test_a_cosmology_that_astropy_does_not_have_is_named():
    assert find_cosmology("planck18") is Planck18
    with pytest.raises(InputError, match="There is no cosmology 'Einstein'"):
        find_cosmology("Einstein")
