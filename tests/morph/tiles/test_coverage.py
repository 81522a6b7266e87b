"""How much sky a tile answers for."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morph.tiles.overlaps import area
from morph.tiles.tile import Tile


@pytest.mark.parametrize("size", [60, 300])
def test_the_area_is_that_of_the_pixels_with_data(tmp_path, size):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 60], [size / 2, size / 2]
    wcs.wcs.cdelt = [-0.001, 0.001]
    for band, empty in (("g", size // 2), ("r", size // 3)):
        plane = np.random.default_rng(0).normal(size=(size, 2 * size)).astype("float32")
        plane[:empty] = np.nan
        header = wcs.to_header()
        header.update({"FILTER": band, "MAGZERO": 30.0})
        fits.PrimaryHDU(plane, header).writeto(tmp_path / f"field_{band}.fits")
    with Tile.open(tmp_path, "des") as tile:
        assert area(tile) == pytest.approx(2 * size * size * 2 / 3 * 1e-6, rel=0.01)
