import galsim
import numpy as np
import pytest

from morph.simulation.canvas import Canvas

BLOB = galsim.Gaussian(sigma=1.0, flux=3.0).shear(q=0.6, beta=30 * galsim.degrees)


@pytest.mark.parametrize("finer", [1, 2, 3])
def test_a_profile_lands_where_galsim_puts_it(finer):
    canvas = Canvas(96, 0.2, finer)
    image = canvas.draw(canvas.response(BLOB) * canvas.place(2.0, -3.0))
    expected = BLOB.shift(2.0, -3.0).drawImage(nx=96, ny=96, scale=0.2, method="no_pixel").array
    np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("finer", [1, 2, 3])
def test_a_drawn_map_lands_where_a_profile_does(finer):
    canvas = Canvas(96, 0.2, finer)
    drawn = np.exp(-0.5 * ((canvas.x - 1.0) ** 2 + (canvas.y + 2.0) ** 2))
    drawn *= 3 / drawn.sum()
    profile = canvas.response(galsim.Gaussian(sigma=1.0, flux=3.0)) * canvas.place(1.0, -2.0)
    np.testing.assert_allclose(canvas.draw(canvas.transform(drawn)), canvas.draw(profile), atol=1e-6)


def test_scattered_points_keep_their_flux_and_those_outside_are_left_out():
    canvas = Canvas(32, 0.5)
    points = canvas.scatter(np.array([0.0, 3.0, 100.0]), np.array([0.0, -3.0, 0.0]), np.array([1.0, 2.0, 4.0]))
    assert points.sum() == 3.0


def test_an_odd_size_is_made_even():
    assert Canvas(33, 0.5).size == 34
