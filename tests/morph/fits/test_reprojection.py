"""Pixels that are not square, or skewed: a galaxy looks the same, and has the same flux and size."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.stamps.cutout_files import read_cutouts
from morph.stamps.cutting import cut
from morph.stamps.photometry import magnitudes
from morph.stamps.stamp_stream import measure_radii
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import sky_of

#: Arcsec: sigma of a round galaxy, and the width of the field.
SIGMA, FIELD = 1.4, 40.0
FLUX = 60.0

GRIDS = {
    "square": np.array([[-0.263, 0], [0, 0.263]]),
    "tall": np.array([[-0.263, 0], [0, 0.526]]),
    "wide": np.array([[-0.6, 0], [0, 0.263]]),
    "skewed": np.array([[-0.263, 0.1], [0.0, 0.263]]),
    "turned": np.array([[-0.2, 0.3], [0.25, 0.3]]),
}


def draw(path, matrix, axis_ratio=1.0, mask=False):
    """A galaxy in the middle of a field; `matrix` is arcsec per pixel, nanomaggies are counts."""
    width, height = (round(FIELD / np.linalg.norm(column)) for column in matrix.T)
    y, x = np.mgrid[:height, :width]
    east, north = np.einsum("ij,jkl->ikl", matrix, np.stack([x - (width - 1) / 2, y - (height - 1) / 2]))
    area = abs(np.linalg.det(matrix))
    profile = np.exp(-(east**2 * axis_ratio + north**2 / axis_ratio) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    image = FLUX * area * profile + np.random.default_rng(1).normal(0, 2e-3 * np.sqrt(area / 0.07), x.shape)
    header = sky_of("")
    for card in ("PC1_1", "PC2_2", "CDELT1", "CDELT2", "TILENAME"):
        header.remove(card, ignore_missing=True)
    header.update({"BUNIT": "nmgy", "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2})
    header.update({f"CD{i + 1}_{j + 1}": matrix[i, j] / 3600 for i in range(2) for j in range(2)})
    hdus = [fits.PrimaryHDU(image.astype("f4"), header)]
    hdus[0].name = "SCI"
    if mask:
        bad = np.zeros(image.shape, "i2")
        bad[height // 4, width // 4] = 1
        hdus.append(fits.ImageHDU(bad, name="MSK"))
    fits.HDUList(hdus).writeto(path)
    return path


def measured(path):
    """Magnitude, half-light radius (arcsec) and stamp of the galaxy in the middle."""
    with Tile.open(path) as tile:
        x, y = (np.atleast_1d(place) for place in tile.pixels(59.09, -52.811))
        radius = measure_radii(tile, x, y)
        (stamp,), (flags,) = cut(tile, x, y, radius)
        assert not flags & ~4  # but for the missing bands
        return magnitudes(tile.plane("r"), x, y, radius)[0], radius[0] * tile.pixel_scale, stamp[..., 1]


@pytest.mark.parametrize("kind", ["tall", "wide", "skewed", "turned"])
def test_a_round_galaxy_stays_round(tmp_path, kind):
    magnitude, radius, stamp = measured(draw(tmp_path / "square_r.fits", GRIDS["square"]))
    other = measured(draw(tmp_path / f"{kind}_r.fits", GRIDS[kind]))
    assert other[0] == pytest.approx(magnitude, abs=0.02)
    assert other[1] == pytest.approx(radius, rel=0.04)
    assert np.abs(other[2] - stamp).max() < 0.06 * stamp.max()
    (cutout,) = read_cutouts(tmp_path / f"{kind}_r.fits")
    assert np.abs(cutout.stamp(64).image[..., 1] - stamp).max() < 0.06 * stamp.max()


def test_an_inclined_galaxy_keeps_its_shape_and_direction(tmp_path):
    stamp = measured(draw(tmp_path / "square_r.fits", GRIDS["square"], axis_ratio=0.5))[2]
    other = measured(draw(tmp_path / "tall_r.fits", GRIDS["tall"], axis_ratio=0.5))[2]
    assert np.abs(other - stamp).max() < 0.08 * stamp.max()


@pytest.mark.parametrize("kind", ["tall", "turned"])
def test_places_flux_and_masks_come_along(tmp_path, kind):
    path = draw(tmp_path / "field_r.fits", GRIDS[kind], mask=True)
    with Tile.open(path) as tile:
        assert tile.resampled
        height, width = fits.getdata(path).shape
        x, y = tile.from_stored_pixels([0, width - 1, width // 4], [0, height - 1, height // 4])
        ra, dec = tile.sky(x, y)
        expected = WCS(fits.getheader(path)).all_pix2world([0, width - 1, width // 4], [0, height - 1, height // 4], 0)
        np.testing.assert_allclose([ra, dec], expected, atol=1e-8)
        assert np.isnan(tile.plane("r")[round(y[2]), round(x[2])])
        assert np.nansum(tile.plane("r")) == pytest.approx(fits.getdata(path).sum(), rel=0.02)
        middle = slice(40, 60)
        rows = tile.plane("r")[middle]
        again, saturated = tile.stored("r").read_rows(40, 60, tile.zero_points["r"])
        np.testing.assert_allclose(again, rows, atol=1e-6)
        assert not saturated.any()


def test_distorted_pixels_that_are_not_square_are_refused(tmp_path):
    path = draw(tmp_path / "field_r.fits", GRIDS["tall"])
    distortion = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2}
    for card, value in {**distortion, "B_1_1": 1e-6}.items():
        fits.setval(path, card, value=value)
    with pytest.raises(InputError, match="not square, and a distortion"):
        Tile.open(path)
