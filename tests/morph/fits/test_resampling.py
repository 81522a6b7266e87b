import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from morph.fits.resampling import resample

IMAGE = np.random.default_rng(0).normal(1.0, 0.3, (120, 130, 3)).astype("float32")


def gaussian(middle, edges, sigma=6.0):
    """A Gaussian of unit flux, integrated between edges."""
    return np.diff(0.5 * erf((edges - middle) / (np.sqrt(2) * sigma)))


def smooth(x, y):
    blob = gaussian(y, np.arange(121) - 0.5)[:, None] * gaussian(x, np.arange(131) - 0.5)[None, :]
    return np.repeat(blob[..., None], 3, axis=-1)


@settings(max_examples=80, deadline=None)
@given(left=st.integers(0, 40), top=st.integers(0, 40), side=st.integers(8, 70), size=st.integers(4, 128))
def test_the_stamp_holds_exactly_the_flux_of_its_square(left, top, side, size):
    stamp = resample(IMAGE, left + (side - 1) / 2, top + (side - 1) / 2, side, size)
    inside = IMAGE[top : top + side, left : left + side].sum(axis=(0, 1))
    np.testing.assert_allclose(stamp.sum(axis=(0, 1)), inside, rtol=1e-4)


def test_pixels_that_match_are_copied():
    np.testing.assert_allclose(resample(IMAGE, 50.5, 40.5, 20, 20), IMAGE[31:51, 41:61], atol=1e-5)


def test_whole_numbers_of_pixels_are_added():
    expected = IMAGE[30:70, 30:70].reshape(20, 2, 20, 2, 3).sum(axis=(1, 3))
    np.testing.assert_allclose(resample(IMAGE, 49.5, 49.5, 40, 20), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [16, 40, 160])
def test_a_source_stays_at_the_centre_of_its_stamp(size):
    stamp = resample(smooth(60.3, 55.8), 60.3, 55.8, 40.0, size)[..., 0]
    rows, columns = np.mgrid[:size, :size]
    middle = (size - 1) / 2
    assert (stamp * columns).sum() / stamp.sum() == pytest.approx(middle, abs=0.02 * size / 40)
    assert (stamp * rows).sum() / stamp.sum() == pytest.approx(middle, abs=0.02 * size / 40)


def test_finer_pixels_are_smooth_and_true():
    """A blob enlarged four times differs from the blob drawn that fine by less than half a percent of its peak."""
    stamp = resample(smooth(60.0, 55.0), 60.0, 55.0, 30.0, 120)[..., 0]
    line = gaussian(0.0, np.linspace(-15, 15, 121))
    expected = line[:, None] * line[None, :]
    np.testing.assert_allclose(stamp, expected, atol=5e-3 * expected.max())


def test_outside_the_image_there_is_not_a_data():
    stamp = resample(IMAGE, 0.0, 60.0, 40.0, 40)
    assert np.isnan(stamp[:, :19]).all()
    assert np.isfinite(stamp[:, 20:]).all()
    assert np.isnan(resample(IMAGE, 500.0, 60.0, 40.0, 40)).all()


def test_a_missing_pixel_is_made_up_for_or_missing_in_its_own_band_only():
    holes = IMAGE.copy()
    holes[50, 50, 1] = np.nan
    coarse = resample(holes, 49.5, 49.5, 40.0, 10)
    assert np.isfinite(coarse).all()
    np.testing.assert_array_equal(coarse[..., 0], resample(IMAGE, 49.5, 49.5, 40.0, 10)[..., 0])
    fine = resample(holes, 50.0, 50.0, 21.0, 21)
    assert np.isnan(fine).sum() == 1
    assert np.isnan(fine[10, 10, 1])
