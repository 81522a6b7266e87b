"""Files and headers that are wrong: one sentence that names the file, and never anything else."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import write_band
from tests.morph.tiles.survey_files import frame_sky, write_frame


def damaged(path, old: bytes, new: bytes):
    """The file with one card replaced as only another program could write it."""
    content = path.read_bytes()
    assert old in content
    start = content.index(old)
    path.write_bytes(content[:start] + new.ljust(80) + content[start + 80 :])
    return path


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"MAGZERO =", b"MAGZERO =                  NaN", "MAGZERO in the header .* is not a magnitude"),
        (b"MAGZERO =", b"MAGZERO = 'thirty  '", r"MAGZERO .* is not a magnitude \('thirty  '\)"),
        (b"MAGZERO =", b"MAGZERO =                    T", "MAGZERO in the header .* is not a magnitude"),
        (b"MAGZERO =", b"MAGZERO =                -99.0", "MAGZERO in the header .* is not a magnitude"),
        (b"CRVAL1  =", b"", "make no sense .*CRVAL1 missing"),
        (b"CRVAL1  =", b"CRVAL1  =                  NaN", "make no sense .*CRVAL1 missing, or no number"),
        (b"CRVAL2  =", b"CRVAL2  =                123.0", "make no sense .*declination 123"),
        (b"CTYPE1  =", b"CTYPE1  = 'ELON-TAN'", "make no sense"),
        (b"CDELT1  =", b"CDELT1  =                  0.0", "make no sense"),
        (b"CDELT1  =", b"CDELT1  =                  5.0", "make no sense .*a pixel is"),
        (b"NAXIS1  =", b"NAXIS1  =                  170", "is damaged|cut short|not a FITS"),
        (b"NAXIS1  =", b"NAXIS1  =                 9999", "cut short|damaged"),
        (b"NAXIS   =", b"NAXIS   =                    0", "damaged|holds no image|not a FITS"),
        (b"BITPIX  =", b"BITPIX  =                   77", "not a FITS|damaged|holds no image"),
    ],
)
def test_a_header_that_makes_no_sense_is_one_sentence_with_the_files_name(tmp_path, old, new, reason):
    with fits.open(write_band(tmp_path, "g", name="whole", packed=False)) as hdus:
        hdus[0].header["CDELT1"], hdus[0].header["CDELT2"] = -0.263 / 3600, 0.263 / 3600
        for key in ("PC1_1", "PC2_2"):
            hdus[0].header.remove(key, ignore_missing=True)
        hdus.writeto(tmp_path / "tile_g.fits")
    Tile.open(tmp_path / "tile_g.fits")
    path = damaged(tmp_path / "tile_g.fits", old, new)
    with pytest.raises(InputError, match=reason) as error:
        Tile.open(path)
    assert "tile_g.fits" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_whatever_bytes_are_wrong_only_sentences_come_back(tmp_path, packed):
    """Bytes changed in headers, bytes changed or lost anywhere: a tile, or one sentence."""
    path = write_band(tmp_path, "g", packed=packed)
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    refused = 0
    for round_ in range(90):
        content = bytearray(whole)
        if round_ % 3 == 0:
            for place in rng.integers(0, 2400 + 5600 * packed, 3):
                content[place] = rng.integers(32, 127)
        elif round_ % 3 == 1:
            for place in rng.integers(0, len(whole), 30):
                content[place] = rng.integers(0, 256)
        else:
            start = rng.integers(0, len(whole))
            del content[start : start + rng.integers(1, 5000)]
        path.write_bytes(content)
        try:
            tile = Tile.open(path)
            tile.plane("g")
        except InputError:
            refused += 1
    assert 30 < refused < 90


@pytest.mark.parametrize("content", [b"", b"BZh9 not really", b"<html>404</html>"])
def test_a_packed_frame_that_is_not_one_is_refused(tmp_path, content):
    path = tmp_path / "frame-r-000756-1-0044.fits.bz2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"frame-r-000756-1-0044\.fits\.bz2' is not a FITS file"):
        Tile.open(path, survey="sdss")


def test_a_packed_frame_that_is_cut_short_is_refused(tmp_path):
    path = write_frame(tmp_path, "r", frame_sky(), [])
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"bz2' is (not a FITS file, or is damaged|cut short)"):
        Tile.open(path, survey="sdss").plane("r")


def test_regions_without_data_are_masked(tmp_path):
    path = write_band(tmp_path, "g")
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[:50] = np.nan
    tile = Tile.open(path)
    assert tile.mask("g")[:50].all()
    assert not tile.mask("g")[50:].any()
