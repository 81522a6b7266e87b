from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from morph.simulation.observe import add_noise, correlate, observe
from morph.simulation.scenes import Colours, Scene
from morph.stamps.photometry import measure
from morph.surveys import SIMULATED, get_survey

NOTHING = Scene("elliptical", 0.0, 3.0, 0.0, 0.1, Colours(0.8, 0.4), Colours(0.4, 0.2), seed=0)


@pytest.mark.parametrize("name", SIMULATED)
def test_empty_sky_has_the_noise_of_the_surveys_depth(name):
    survey = get_survey(name)
    image = np.zeros((300, 300, 3), dtype="float32")
    add_noise(image, survey, np.random.default_rng(0))
    np.testing.assert_allclose(image.std(axis=(0, 1)), survey.noise(), rtol=0.05)


def test_the_light_of_a_source_adds_noise_of_its_own(sdss):
    bright = np.full((200, 200, 3), 50.0, dtype="float32")
    add_noise(bright, sdss, np.random.default_rng(0))
    assert (bright.std(axis=(0, 1)) > 3 * sdss.noise()).all()


def test_correlated_noise_keeps_its_variance():
    noise = correlate(np.random.default_rng(0).standard_normal((400, 400, 1)), 0.6)
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert (noise[:, 1:] * noise[:, :-1]).mean() > 0.3


def test_two_surveys_see_one_galaxy_differently(spiral, sdss, des):
    small = spiral.scaled(flux=0.1, radius=0.4)
    first, second = observe(small, sdss, 1), observe(small, des, 1)
    assert first.magnitudes == pytest.approx(second.magnitudes, abs=1e-3)
    sizes = [measure(o.image.sum(axis=-1)).radius * o.survey.pixel_scale for o in (first, second)]
    assert sizes[1] < sizes[0]
    assert des.noise()[1] / des.pixel_scale < sdss.noise()[1] / sdss.pixel_scale


def test_an_observation_is_repeatable(spiral, des):
    np.testing.assert_array_equal(observe(spiral, des, 4).image, observe(spiral, des, 4).image)
    assert np.abs(observe(spiral, des, 4).image - observe(spiral, des, 5).image).max() > 0


def test_a_galaxy_stands_in_the_middle_of_its_field(elliptical, sdss):
    image = observe(elliptical, sdss, 2).image.sum(axis=-1)
    shape = measure(image)
    middle = (image.shape[0] - 1) / 2
    assert np.hypot(shape.x - middle, shape.y - middle) < 0.5


@pytest.mark.parametrize("kind", ["star", "trail", "bleed", "edge", "cosmic-ray"])
def test_an_artifact_changes_what_is_seen(kind, sdss):
    """The same field with and without it: noise alone never differs by ten sigma."""
    spoiled = observe(replace(NOTHING, kind="artifact", artifact=kind, radius=6.0), sdss, 3).image
    clean = observe(replace(NOTHING, radius=6.0), sdss, 3).image
    assert np.isfinite(spoiled).all()
    assert (np.abs(spoiled - clean) > 10 * sdss.noise()).any(axis=-1).sum() > 20


def test_beyond_the_edge_of_a_chip_there_is_nothing(sdss):
    image = observe(replace(NOTHING, kind="artifact", artifact="edge", radius=6.0), sdss, 3).image
    assert 0.2 < (image == 0).all(axis=-1).mean() < 0.8


@pytest.mark.real
def test_noise_is_that_of_a_real_coadd(real_data, des):
    """Standard deviation and correlation of neighbouring pixels, against the darker half of a real DES field."""
    with fits.open(real_data / "des-coadd-cutout" / "DESJ035621.6-524840.0_r.fits") as hdus:
        real = hdus["SCI"].data.astype("float64") * 1e-3
    made = observe(replace(NOTHING, radius=4.0), des, 8).image[..., 1]

    def statistics(image):
        centred = image - np.median(image)
        sigma = 1.4826 * np.median(np.abs(centred))
        empty = np.where(np.abs(centred) < 2.5 * sigma, centred, np.nan)
        return sigma, np.nanmean(empty[:, 1:] * empty[:, :-1]) / np.nanvar(empty)

    (real_sigma, real_correlation), (sigma, correlation) = statistics(real), statistics(made)
    assert sigma == pytest.approx(real_sigma, rel=0.35)
    assert correlation == pytest.approx(real_correlation, abs=0.12)
