"""Several images in one file: told apart by names, headers or the caller, or refused."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.stamps.cutout_files import read_cutouts
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import counts_of, sky_of


def extension(band: str, name: str | None = None, version: int = 1, **cards) -> fits.ImageHDU:
    header = sky_of()
    header.update({"MAGZERO": 30.0, **cards})
    return fits.ImageHDU(counts_of(band), header, name=name, ver=version)


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("hdus", "bands"),
    [
        ([extension(b, b.upper(), FILTER=b) for b in "gri"], ""),
        ([extension(b, b.upper()) for b in "gri"], ""),
        ([extension(b, b) for b in "gri"], ""),
        ([extension(b, "SCI", k, FILTER=b) for k, b in enumerate("gri", 1)], ""),
        ([extension(b) for b in "gri"], "gri"),
        ([extension(b, "SCI", k) for k, b in enumerate("gri", 1)], "gri"),
    ],
)
def test_an_image_a_band(tmp_path, hdus, bands):
    path = write(tmp_path / "field.fits", *hdus)
    (cutout,) = read_cutouts(path, bands=bands)
    with Tile.open(path, bands=bands) as tile:
        assert tile.bands == ("g", "r", "i")
        for channel, band in enumerate("gri"):
            np.testing.assert_allclose(tile.plane(band), counts_of(band) / 1000, rtol=1e-4)
            np.testing.assert_array_equal(cutout.image[..., channel], tile.plane(band))


def test_each_band_has_its_own_mask(tmp_path):
    hdus = []
    for version, band in enumerate("gr", 1):
        mask = np.zeros((240, 240), "i2")
        mask[10 * version, 20] = 1
        hdus += [extension(band, "SCI", version, FILTER=band), fits.ImageHDU(mask, name="MSK", ver=version)]
    with Tile.open(write(tmp_path / "field.fits", *hdus)) as tile:
        assert [np.argwhere(tile.mask(band)).tolist() for band in "gr"] == [[[10, 20]], [[20, 20]]]


@pytest.mark.parametrize(
    "hdus",
    [
        [extension("r", "SCI", 1), extension("i", "SCI", 2)],
        [extension("r"), extension("i")],
        [extension("r", "FIRST"), extension("i", "SECOND")],
        [extension("r", FILTER="r"), extension("i", FILTER="r")],
    ],
)
def test_images_that_cannot_be_distinguished_are_refused(tmp_path, hdus):
    path = write(tmp_path / "field_r.fits", *hdus)
    for read in (Tile.open, read_cutouts):
        with pytest.raises(InputError, match=r"holds 2 images .*--bands"):
            read(path)


def test_a_cube_of_bands_is_a_tile(tmp_path):
    header = sky_of()
    header.update({"BANDS": "gri", "MAGZERO": 30.0})
    cube = np.stack([counts_of(band) for band in "gri"])
    fits.PrimaryHDU(cube, header).writeto(tmp_path / "cube.fits")
    with Tile.open(tmp_path / "cube.fits") as tile:
        assert (tile.bands, tile.shape) == (("g", "r", "i"), (240, 240))
        np.testing.assert_allclose(tile.plane("i"), counts_of("i") / 1000, rtol=1e-4)


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_what_a_file_is_shows_in_its_bytes(tmp_path, packing):
    import bz2

    plain = write(tmp_path / "plain_r.fits", extension("r", "SCI"))
    pack = gzip.compress if packing == "gzip" else bz2.compress
    (tmp_path / "packed_r.fits").write_bytes(pack(plain.read_bytes()))
    with Tile.open(plain) as one, Tile.open(tmp_path / "packed_r.fits") as other:
        np.testing.assert_array_equal(one.plane("r"), other.plane("r"))


@pytest.mark.parametrize("cards", [{}, {"BZERO": 32768, "BSCALE": 1.0}, {"BSCALE": 0.5, "BZERO": 100.0}, {"BLANK": 7}])
@pytest.mark.parametrize("packed", [False, True])
def test_whole_numbers_scaled_or_with_a_blank(tmp_path, cards, packed):
    stored = np.arange(3600, dtype="i2").reshape(60, 60) - 1000
    header = sky_of()
    header.update({"MAGZERO": 22.5})
    path = tmp_path / f"numbers_r.fits{'.fz' if packed else ''}"
    hdu = fits.CompImageHDU(stored, header) if packed else fits.ImageHDU(stored, header)
    write(path, hdu)
    with fits.open(path, mode="update", disable_image_compression=True, do_not_scale_image_data=True) as hdus:
        hdus[1].header.update(cards)
    expected = stored * cards.get("BSCALE", 1.0) + cards.get("BZERO", 0.0)
    expected[stored == cards.get("BLANK")] = np.nan
    with Tile.open(path) as tile:
        np.testing.assert_allclose(tile.plane("r"), expected, rtol=1e-6)
