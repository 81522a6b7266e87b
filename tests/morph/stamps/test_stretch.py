"""Between flux and a colour picture."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.stamps.stretch import COMPOSITE_SOFTENING, from_composite, to_composite, white_level


def galaxy(colour=(0.6, 1.0, 1.3)) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 31.5
    return (np.exp(-np.hypot(x, y) / 6)[..., None] * np.array(colour)).astype("float32")


def test_flux_survives_the_way_there_and_back():
    """Up to the 256 levels of a picture, where no band is saturated."""
    flux = galaxy()
    picture = to_composite(flux, white=2.0, softening=np.sinh(COMPOSITE_SOFTENING))
    back = 2.0 * from_composite(picture)
    bright = flux.mean(axis=-1) > 0.1
    assert picture.max() < 255
    np.testing.assert_allclose(back[bright], flux[bright], rtol=0.08)


def test_the_reddest_band_is_red():
    red = to_composite(galaxy((0.1, 0.3, 1.0)), white=1.0)[32, 32]
    blue = to_composite(galaxy((1.0, 0.3, 0.1)), white=1.0)[32, 32]
    assert red[0] > red[1] > red[2]
    assert blue[0] < blue[1] < blue[2]
    assert np.argmax(from_composite(red)) == 2


def test_saturation_keeps_the_colour():
    faint, bright = (to_composite(galaxy() * factor, white=1.0)[32, 32].astype(float) for factor in (0.3, 30.0))
    np.testing.assert_allclose(bright / bright.max(), faint / faint.max(), atol=0.02)


def test_more_flux_is_never_darker():
    steps = np.linspace(0, 3, 200)[:, None] * np.array([0.6, 1.0, 1.3])
    picture = to_composite(steps[None].astype("float32"), white=1.0)[0].astype(int)
    assert (np.diff(picture.max(axis=-1)) >= 0).all()


def test_missing_and_negative_flux_is_black():
    flux = np.zeros((4, 4, 3), "f4")
    flux[0], flux[1] = np.nan, -5.0
    assert not to_composite(flux, white=1.0).any()


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-30, 1e30), st.floats(-1e30, 1e30))
def test_any_flux_gives_a_picture(white, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow in float32 is clipped below
        picture = to_composite(np.full((2, 2, 3), value, "f4"), white=white)
    assert picture.dtype == np.uint8
    assert picture.shape == (2, 2, 3)


def test_the_inverse_in_the_model_is_the_inverse_here():
    from keras import ops

    picture = to_composite(galaxy(), white=1.0)
    inside = ops.convert_to_numpy(from_composite(ops.convert_to_tensor(picture.astype("float32")), xp=ops))
    np.testing.assert_allclose(inside, from_composite(picture.astype("float32")), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0])
def test_a_white_level_is_positive_whatever_the_image(value):
    assert white_level(np.full((8, 8, 3), value, "f4")) == 1.0
