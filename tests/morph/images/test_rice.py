"""Rows of compressed images are those that astropy reads, whatever way they were stored in."""

import numpy as np
import pytest
from astropy.io import fits

from morph.images.pixels import Plane
from morph.images.rice import rice_rows

SHAPE = (40, 300)


def images() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(3).normal(5, 2, SHAPE).astype("float32")
    holes, mixed = noise.copy(), noise.copy()
    holes[3:9, 20:50] = np.nan
    # fpack keeps rows without noise as they are, and pixels that are exactly zero.
    mixed[5:20] = 0.25
    mixed[30, :200] = 0
    return {"noise": noise, "holes": holes, "mixed": mixed, "whole": (10 * noise).astype("int32")}


@pytest.mark.parametrize("name", images())
@pytest.mark.parametrize("method", [-1, 1, 2])
@pytest.mark.parametrize("tile", [None, (10, 100)])
def test_rows_are_those_that_astropy_reads(tmp_path, name, method, tile):
    path = tmp_path / "image.fits.fz"
    options = {} if name == "whole" else {"quantize_level": 16.0, "quantize_method": method, "dither_seed": 7}
    image = fits.CompImageHDU(images()[name], compression_type="RICE_1", tile_shape=tile, **options)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    with fits.open(path) as hdus:
        expected = hdus[1].data
        section = hdus[1].section
        found = rice_rows(path, 1, lambda start, stop: section[start:stop])(4, 33)
    np.testing.assert_array_equal(found, expected[4:33])
    np.testing.assert_array_equal(Plane(path, 1, SHAPE).rows(4, 33), expected[4:33])


def test_the_usual_layout_is_not_left_to_astropy(tmp_path):
    path = tmp_path / "image.fits.fz"
    image = fits.CompImageHDU(images()["mixed"], compression_type="RICE_1", quantize_level=16.0, quantize_method=2)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    rows = rice_rows(path, 1, lambda start, stop: pytest.fail("astropy was asked"))
    assert rows(0, SHAPE[0]).shape == SHAPE
