"""Checksums tell of damage that unpacks."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.fits.images import verify
from morph.fits.planes import Planes
from morph.fits.zero_points import ZeroPoint
from tests.morph.drawn_tiles import write_band

#: The zero point of drawn tiles.
AB30 = ZeroPoint(30.0, "test")


@pytest.fixture(params=["fits", "fits.gz", "fits.fz"])
def path(request, tmp_path):
    """A band's file with the checksums of its planes; plain, compressed as a whole, or plane by plane."""
    packed = request.param == "fits.fz"
    written = write_band(tmp_path, "r", name="without", packed=packed)
    with fits.open(written, disable_image_compression=True) as hdus:
        hdus.writeto(tmp_path / f"with_r.{request.param}", checksum=True)
    return tmp_path / f"with_r.{request.param}"


def flip(path, hdu: int, part: float):
    """The file with one bit of an HDU's data another."""
    content = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        place, size = hdus[hdu].fileinfo()["datLoc"], hdus[hdu].size
    content[place + int(part * size)] ^= 1
    path.write_bytes(content)


def test_what_was_written_is_right(path):
    verify(path)


@pytest.mark.parametrize("path", ["fits.fz"], indirect=True)
def test_a_flipped_bit_that_unpacks_is_reported(path):
    before, _ = Planes.open(path).read(AB30)
    flip(path, 1, 0.7)
    after, _ = Planes.open(path).read(AB30)
    assert np.sum(after != before) > 0
    with pytest.raises(
        InputError, match=r"with_r.fits.fz' is damaged: 'SCI' does not have its checksum; get it again\.$"
    ):
        verify(path)


@pytest.mark.parametrize("path", ["fits", "fits.fz"], indirect=True)
def test_a_flipped_bit_of_the_mask_is_reported(path):
    flip(path, 1 if path.suffix == ".fits" else 2, 0.1)
    with pytest.raises(InputError, match="'MSK' does not have its checksum"):
        verify(path)


def test_a_file_without_checksums_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"without_r.fits' has no checksums .* leave out --verify"):
        verify(write_band(tmp_path, "r", name="without"))
