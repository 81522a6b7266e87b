"""Rows of compressed images are those that astropy reads, whatever way they were stored in."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.fits.fpack import packed_rows
from morph.fits.images import Plane

SHAPE = (40, 300)


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    noise = rng.normal(5, 2, SHAPE).astype("float32")
    holes, mixed, around = noise.copy(), noise.copy(), noise - 5
    holes[3:9, 20:50] = np.nan
    # fpack keeps rows without noise as they are, and pixels that are exactly zero.
    mixed[5:20] = 0.25
    mixed[12, 7] = 0
    mixed[30, :200] = 0
    mask = np.zeros(SHAPE, dtype="int32")
    mask[4:30, 17], mask[8, 100:200], mask[39, 299] = 2, 32 + 1024, 2**23
    return {
        "noise": noise,
        "holes": holes,
        "mixed": mixed,
        "around": around,
        "whole": (10 * noise).astype("int32"),
        "mask": mask,
        "narrow mask": (mask % 2**15).astype("int16"),
        "byte mask": (mask % 2**8).astype("uint8"),
    }


def packed(path, name, method=2, tile=None):
    image = images()[name]
    if image.dtype == "float32":
        options = {"compression_type": "RICE_1", "quantize_level": 16.0, "quantize_method": method, "dither_seed": 7}
    else:
        options = {"compression_type": "PLIO_1" if "mask" in name else "RICE_1"}
    hdu = fits.CompImageHDU(image, tile_shape=tile, **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with fits.open(path) as hdus:
        return hdus[1].data.copy()


@pytest.mark.parametrize("name", images())
@pytest.mark.parametrize("method", [-1, 1, 2])
@pytest.mark.parametrize("tile", [None, (10, 100)])
def test_rows_are_those_that_astropy_reads(tmp_path, name, method, tile):
    path = tmp_path / "image.fits.fz"
    expected = packed(path, name, method, tile)[4:33]
    with Plane(path, 1, SHAPE).opened() as rows:
        found = rows(4, 33)
        assert found.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(rows.not_positive(4, 33), np.flatnonzero(~(expected > 0)))
        if expected.dtype.kind in "iu":
            places, values = rows.marked(4, 33)
            np.testing.assert_array_equal(places, np.flatnonzero(expected))
            np.testing.assert_array_equal(values, expected[expected != 0])


@pytest.mark.parametrize("name", ["mixed", "holes", "mask", "narrow mask", "byte mask"])
def test_the_usual_layouts_are_not_left_to_astropy(tmp_path, name):
    packed(tmp_path / "image.fits.fz", name)
    assert packed_rows(tmp_path / "image.fits.fz", 1) is not None


@pytest.mark.parametrize("name", ["mixed", "mask"])
def test_codes_that_the_file_no_longer_holds_are_a_damaged_file(tmp_path, name):
    path = tmp_path / "image.fits.fz"
    packed(path, name)
    with fits.open(path, disable_image_compression=True) as hdus:
        begin = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * SHAPE[0]
    path.write_bytes(path.read_bytes()[: begin + 8])
    with pytest.raises(InputError, match="cut short or damaged"):
        Plane(path, 1, SHAPE).rows(0, 40)


def test_a_list_of_pixels_that_claims_to_be_longer_than_it_is_is_refused(tmp_path):
    path = tmp_path / "image.fits.fz"
    packed(path, "mask")
    with fits.open(path, disable_image_compression=True) as hdus:
        row = hdus[1].data["COMPRESSED_DATA"][8]
    longer = row.copy()
    longer[3] = 30000
    was, now = (words.astype(">i2").tobytes() for words in (row, longer))
    path.write_bytes(path.read_bytes().replace(was, now))
    with pytest.raises(InputError, match="longer than its row"):
        Plane(path, 1, SHAPE).rows(0, 40)
