from dataclasses import replace

import numpy as np
import pytest

from morph.simulation.canvas import Canvas
from morph.simulation.light import draw
from morph.simulation.scenes import Arms, Companion, Ring, Tail


def image_of(scene, size=192, scale=0.4):
    canvas = Canvas(size, scale)
    return canvas.draw(draw(scene, canvas) * canvas.blur(0.5))


def polar(image, radius, scale=0.4, points=360):
    """The image along a circle of `radius` arcsec around its middle."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    middle = (image.shape[0] - 1) / 2
    rows = np.rint(middle + radius / scale * np.sin(angle)).astype(int)
    return image[rows, np.rint(middle + radius / scale * np.cos(angle)).astype(int)]


def test_a_scene_without_dust_has_the_flux_it_says(spiral, elliptical, edge_on):
    ringed = replace(spiral, ring=Ring(0.1, 1.2, 0.1), tails=(Tail(0.05, 0, 90, 20, 0.1),), shells=0.05)
    for scene in (spiral, elliptical, edge_on, ringed):
        canvas = Canvas(256, 0.4)
        assert abs(draw(scene, canvas)[1, 0, 0]) == pytest.approx(scene.flux, rel=0.01)


def test_colours_of_a_smooth_galaxy_are_those_of_its_stars(elliptical):
    g, r, i = image_of(elliptical).sum(axis=(1, 2))
    assert -2.5 * np.log10(g / r) == pytest.approx(elliptical.old.g_r, abs=0.01)
    assert -2.5 * np.log10(r / i) == pytest.approx(elliptical.old.r_i, abs=0.01)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_arms_are_as_many_as_the_scene_says(spiral, number):
    face_on = replace(
        spiral, bar=None, disk=replace(spiral.disk, axis_ratio=1.0), arms=replace(spiral.arms, number=number)
    )
    waves = np.abs(np.fft.rfft(polar(image_of(face_on)[0], 8.0)))[1:7]
    assert waves.argmax() + 1 == number


def test_arms_are_bluer_than_what_lies_between(spiral):
    g, _, i = image_of(replace(spiral, bar=None))
    around = polar(g, 8.0), polar(i, 8.0)
    bright = around[0] > np.percentile(around[0], 80)
    faint = around[0] < np.percentile(around[0], 20)
    assert (around[0] / around[1])[bright].mean() > 1.1 * (around[0] / around[1])[faint].mean()


def test_tight_arms_wind_further_than_loose_ones(spiral):
    def turn(pitch):
        scene = replace(
            spiral,
            bar=None,
            disk=replace(spiral.disk, axis_ratio=1.0),
            arms=Arms(2, pitch, 6.0, 0.0, irregularity=0.0),
        )
        image = image_of(scene)[0]
        phases = [np.angle(np.fft.rfft(polar(image, r))[2]) for r in np.arange(6, 11, 0.5)]
        return abs(np.unwrap(phases)[-1] - np.unwrap(phases)[0])

    assert turn(10.0) > 1.8 * turn(25.0)


def test_a_bar_brightens_its_own_direction(spiral):
    round_disk = replace(spiral, arms=None, disk=replace(spiral.disk, axis_ratio=1.0))
    along = polar(image_of(round_disk)[1], 3.5)
    assert abs(np.angle(np.fft.rfft(along)[2]) / -2 - np.radians(spiral.angle + spiral.bar.angle)) < 0.1
    assert along.max() > 1.25 * along.min()


def test_a_dust_lane_reddens_and_dims_an_edge_on_disk(edge_on):
    clear, dusty = (image_of(scene).sum(axis=(1, 2)) for scene in (edge_on, replace(edge_on, dust=1.5)))
    assert dusty[1] < 0.95 * clear[1]
    assert dusty[0] / dusty[2] < 0.98 * clear[0] / clear[2]


def test_the_same_scene_always_looks_the_same_and_another_seed_does_not(spiral):
    lumpy = replace(spiral, knots=20)
    np.testing.assert_array_equal(image_of(lumpy), image_of(replace(lumpy)))
    assert np.abs(image_of(lumpy) - image_of(replace(lumpy, seed=99))).max() > 0


def test_a_companion_adds_its_light_at_its_place(elliptical):
    pair = replace(elliptical, companions=(Companion(elliptical, 4.0, 0.0),))
    image = image_of(pair)[1]
    middle, place = 95.5, round(95.5 + 4 * elliptical.radius / 0.4)
    assert image[round(middle), place] == pytest.approx(image[95, 95], rel=0.35)
    assert image.sum() == pytest.approx(2 * elliptical.flux, rel=0.01)
