"""Images from people who are not trusted: the same stamp as from a file here, and one sentence for anything else."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from morph.errors import InputError
from serving.client.pictures import FitsLayout, read_pictures
from serving.similarity.uploads import read_galaxy


def disk(size: int = 80) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    noise = np.random.default_rng(0).normal(0, 2, (size, size))
    return 200 * np.exp(-np.hypot(x, y / 0.7) / 7) + 20 + noise


def picture(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.repeat(disk()[..., None], 3, -1).clip(0, 255).astype("uint8")).save(file, kind)
    return file.getvalue()


def flux(band: str = "r", shape: tuple[int, ...] = (80, 80), **cards: object) -> bytes:
    header = fits.Header({"BAND": band, "MAGZERO": 30.0, **cards})
    file = io.BytesIO()
    fits.PrimaryHDU(np.broadcast_to(disk(shape[-1]), shape).astype("float32"), header).writeto(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "name"), [("PNG", "a.png"), ("JPEG", "a.jpg"), ("PNG", "image"), ("PNG", "/tmp/../etc/passwd")]
)
def test_a_picture_is_cut_as_a_file_here_is(tmp_path, kind, name):
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(picture(kind))
    (expected,) = read_pictures([[path]], 64, FitsLayout())
    found = read_galaxy([(name, picture(kind))], 64)
    np.testing.assert_array_equal(found.image, expected.image)


def test_fits_files_of_several_bands_are_one_galaxy():
    files = [(f"galaxy_{band}.fits", flux(band)) for band in "gri"]
    found = read_galaxy(files, 64, FitsLayout("des"))
    assert found.image.shape == (64, 64, 3)
    assert np.isfinite(found.image).all()
    packed = [(f"{name}.gz", gzip.compress(content)) for name, content in files]
    np.testing.assert_array_equal(read_galaxy(packed, 64, FitsLayout("des")).image, found.image)


def bomb(side: int) -> bytes:
    """A PNG of so many pixels a side in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")


def announced(*shape: int) -> bytes:
    """A FITS header that announces an image of this shape, and some of its pixels."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", f"NAXIS   = {len(shape):20d}"]
    cards += [f"NAXIS{k + 1}  = {length:20d}" for k, length in enumerate(shape)]
    text = "".join(f"{card:80}" for card in [*cards, "END"])
    return f"{text:2880}".encode() + bytes(2880)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("a.png", bomb(60_000))], "decompression bomb"),
        ([("b.png", bomb(6_000))], "may have 25 million"),
        ([("a.fits", announced(60_000, 60_000))], "cut short|damaged|25 million"),
        ([("a.fits.gz", gzip.compress(bytes(200 << 20)))], "unpacks into more than 128 MB"),
        ([("a.fits.gz", gzip.compress(picture())[:-20])], "cut short"),
        ([("a.fits.gz", b"\x1f\x8b" + bytes(30))], "not whole"),
        ([("a.fits.bz2", b"BZh91AY")], "unpack it first"),
        ([("a.png", b"")], "'a.png' is empty"),
        ([("a.png", b"GIF89a" + bytes(30))], "cannot be read as a picture"),
        ([("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")], "cannot be read as a picture"),
        ([("a.png", picture()[:300])], "cannot be read as a picture"),
        ([("a.fits", flux()[:3000])], "cut short|damaged"),
        ([("a.fits", flux("r", (8, 80, 80)))], "shows 8 galaxies|8 planes"),
        ([("a.png", picture()), ("b.png", picture())], "show 2 galaxies"),
        ([("a.png", picture()), ("a.png", picture())], "Two files are called 'a.png'"),
        ([(f"{k}.png", picture()) for k in range(13)], "between 1 and 12 files"),
        ([], "between 1 and 12 files"),
    ],
)
def test_what_is_not_an_image_of_one_galaxy_is_one_sentence(files, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_galaxy(files, 64)
    assert "/tmp" not in str(caught.value)


def test_a_large_image_is_refused_by_its_header():
    large = io.BytesIO()
    fits.PrimaryHDU(np.zeros((5100, 5100), "uint8")).writeto(large)
    with pytest.raises(
        InputError, match=r"'field.fits' has 5100 x 5100 px; an image of one galaxy may have 25 million"
    ):
        read_galaxy([("field.fits", large.getvalue())], 64)


def test_a_name_cannot_leave_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    for name in ("../../outside.png", "..\\outside.png", "/outside.png", "..", "", "a" * 400, "\x00.png", "ä/ö.png"):
        read_galaxy([(name, picture())], 64)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    assert not list((tmp_path / "own").iterdir())
