"""Bands of one tile on grids of different pixel scale, size or direction: resampled to the finest."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.stamps.cutout_files import read_cutouts
from morph.stamps.cutting import cut
from morph.stamps.photometry import magnitudes
from morph.stamps.stamp_stream import measure_radii, stream_stamps
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import sky_of

#: Arcsec: sigma of a round galaxy, the width of the field, and the finest pixel scale.
SIGMA, FIELD, FINE = 1.2, 48.0, 0.2
FLUX = 60.0
#: Where the galaxy is, arcsec east and north of the middle.
EAST, NORTH = 3.0, -5.0


def draw(folder, band, scale=FINE, turned=0.0, width=FIELD, shift=0.0, unit="nmgy", **planes):
    """A galaxy in a field, a count of which is one `unit`; `turned` is in degrees, `shift` in arcsec."""
    size = round(width / scale)
    angle = np.radians(turned)
    matrix = scale * np.array([[-1, 0], [0, 1]]) @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    east, north = np.einsum("ij,jkl->ikl", matrix, np.stack([x, y]))
    profile = np.exp(-((east + shift - EAST) ** 2 + (north - NORTH) ** 2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    noise = np.random.default_rng(ord(band)).normal(0, 0.004 * scale, x.shape)
    image = FLUX * scale**2 * profile + noise
    if unit == "MJy/sr":
        image *= 3.630780547701e-6 / (1e6 * scale**2 * np.radians(1 / 3600) ** 2)
    header = sky_of("")
    for card in ("PC1_1", "PC2_2", "CDELT1", "CDELT2", "TILENAME"):
        header.remove(card, ignore_missing=True)
    header["CRVAL1"] += shift / 3600 / np.cos(np.radians(header["CRVAL2"]))
    header.update({"BUNIT": unit, "FILTER": band, "CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2, "SATURATE": 1e9})
    header.update({f"CD{i + 1}_{j + 1}": matrix[i, j] / 3600 for i in range(2) for j in range(2)})
    hdus = [fits.PrimaryHDU(image.astype("f4"), header)]
    hdus[0].name = "SCI"
    hdus += [fits.ImageHDU(pixels, name=name) for name, pixels in planes.items()]
    fits.HDUList(hdus).writeto(folder / f"field_{band}.fits")
    return size


def measured(tile):
    """Magnitudes and half-light radii (arcsec) of the galaxy in each band."""
    x, y = (np.atleast_1d(place) for place in tile.pixels(*_place(tile)))
    radius = measure_radii(tile, x, y)
    return {b: float(magnitudes(tile.plane(b), *tile.places(b, x, y), radius)[0]) for b in tile.bands}, radius


def _place(tile):
    ra, dec = sky_of("")["CRVAL1"], sky_of("")["CRVAL2"]
    return ra + EAST / 3600 / np.cos(np.radians(dec)), dec + NORTH / 3600


OTHERS = {
    "coarser": {"scale": 0.3},
    "much-coarser": {"scale": 0.6},
    "turned": {"scale": 0.3, "turned": 140.0},
    "larger": {"width": 60.0},
    "smaller": {"width": 40.0},
    "shifted": {"scale": 0.3, "shift": 6.0},
    "by-surface": {"scale": 0.3, "unit": "MJy/sr"},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_band_on_another_grid_keeps_places_and_fluxes(tmp_path, kind):
    draw(tmp_path, "r")
    draw(tmp_path, "i", **OTHERS[kind])
    with Tile.open(tmp_path) as tile:
        assert (tile.pixel_scale, tile.shape) == (pytest.approx(FINE, rel=1e-6), (240, 240))
        assert set(tile.resampled_bands) == {"i"}
        assert tile.resampled
        found, radius = measured(tile)
        expected = 22.5 - 2.5 * np.log10(FLUX)
        assert found["r"] == pytest.approx(expected, abs=0.03)
        assert found["i"] == pytest.approx(found["r"], abs=0.03)
        (stamp,), _ = cut(tile, *(np.atleast_1d(p) for p in tile.pixels(*_place(tile))), radius)
        assert np.nanmax(np.abs(stamp[..., 2] - stamp[..., 1])) < 0.05 * stamp[..., 1].max()
        (part,) = stream_stamps(tile, *(np.atleast_1d(p) for p in tile.pixels(*_place(tile))), radius, 64)
        np.testing.assert_allclose(part.stamps[0], stamp, atol=1e-4 * np.nanmax(stamp))
    if kind != "by-surface":
        light, area = fits.getdata(tmp_path / "field_i.fits").sum(), tile.plane("i")
        if kind not in ("larger", "shifted", "turned"):
            assert np.nansum(area) == pytest.approx(light, rel=0.01)


def test_rows_do_not_depend_on_how_many_are_read(tmp_path):
    size = round(FIELD / 0.3)
    bad, weight = np.zeros((size, size), "i2"), np.full((size, size), 4.0, "f4")
    bad[60:64, 50:53], bad[10, 10] = 1, 2
    weight[:, 100:110] = 0
    draw(tmp_path, "r")
    draw(tmp_path, "g", scale=0.3, MSK=bad, WGT=weight)
    with Tile.open(tmp_path) as tile:
        whole = tile.plane("g")
        x, y = (
            ((np.array([51, 105]) + 0.5) * 1.5 - 0.5).astype(int),
            ((np.array([62, 20]) + 0.5) * 1.5 - 0.5).astype(int),
        )
        assert np.isnan(whole[y, x]).all()
        assert np.isnan(whole).sum() == pytest.approx((12 + 1 + size * 10) * 2.25, rel=0.1)
        assert tile.saturated()[15, 15]
        assert tile.weight("g")[200, 20] == pytest.approx(4.0 / (0.2 / 0.3) ** 2)
        for start, stop in ((0, 30), (100, 101), (205, 240)):
            part, _ = tile.stored("g").read_rows(start, stop, tile.zero_points["g"])
            np.testing.assert_allclose(part, whole[start:stop], atol=2e-6)


def test_the_finest_band_gives_the_grid_wherever_it_stands(tmp_path):
    draw(tmp_path, "g", scale=0.4)
    draw(tmp_path, "r", scale=0.3)
    draw(tmp_path, "i")
    with Tile.open(tmp_path) as tile:
        assert tile.resampled_bands == {"g": "0.4 to 0.2 arcsec", "r": "0.3 to 0.2 arcsec"}
        assert len({tile.plane(band).shape for band in "gri"}) == 1
        np.testing.assert_allclose(tile.from_stored_pixels([3.0], [4.0]), [[3.0], [4.0]])


def test_saturation_comes_along(tmp_path):
    draw(tmp_path, "r")
    draw(tmp_path, "g", scale=0.4)
    peak = fits.getdata(tmp_path / "field_g.fits").max()
    fits.setval(tmp_path / "field_g.fits", "SATURATE", value=0.8 * float(peak))
    with Tile.open(tmp_path) as tile:
        saturated = tile.saturated()
    y, x = np.nonzero(saturated)
    assert 8 < saturated.sum() < 150
    assert np.hypot(x.mean() - (119.5 - EAST / FINE), y.mean() - (119.5 + NORTH / FINE)) < 1.5


def test_cutouts_of_other_scales_are_brought_together_too(tmp_path):
    draw(tmp_path, "r")
    draw(tmp_path, "g", scale=0.3)
    (cutout,) = read_cutouts(tmp_path / "field_r.fits")
    assert cutout.image.shape == (240, 240, 3)
    assert cutout.notes == ("Band g was resampled to the grid of the finest band, from 0.3 to 0.2 arcsec.",)
    sums = np.nansum(cutout.image[..., :2], axis=(0, 1))
    assert sums == pytest.approx([FLUX, FLUX], rel=0.03)


def test_other_sky_is_refused(tmp_path):
    draw(tmp_path, "r")
    draw(tmp_path, "g", scale=0.3, shift=40.0)
    with pytest.raises(InputError, match="cover different sky"):
        Tile.open(tmp_path)


def test_tiles_say_what_was_resampled_and_which_masks_are_not_read(tmp_path):
    size = draw(tmp_path, "r", DQ=np.zeros((round(FIELD / FINE),) * 2, "i2"))
    draw(tmp_path, "g", scale=0.3)
    fits.PrimaryHDU(np.zeros((size, size), "i2")).writeto(tmp_path / "field_g_mask.fits")
    with Tile.open(tmp_path) as tile:
        assert tile.notes == (
            "Band g was resampled to the grid of the finest band, from 0.3 to 0.2 arcsec.",
            "Masks whose bits nothing describes are not read (files *mask*): bad pixels count as good.",
            "Masks whose bits nothing describes are not read (extension DQ): bad pixels count as good.",
        )


def test_masks_that_are_read_need_no_word(tmp_path):
    draw(tmp_path, "r", MSK=np.zeros((round(FIELD / FINE),) * 2, "i2"))
    with Tile.open(tmp_path) as tile:
        assert tile.notes == ()
        assert tile.stored("r").mask is not None
