"""Pictures as viewers show them, whatever their pixels are stored as; what cannot be is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from morph.errors import BadInput
from morph.images import composite


@pytest.fixture
def rgb() -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    light = 200 * np.exp(-np.hypot(x - 39, (y - 29) * 2) / 9) + np.random.default_rng(0).normal(12, 3, (60, 80))
    return np.clip(light, 0, 255).astype("uint8")[..., None].repeat(3, -1)


def png(path, shape, depth, kind, rows):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", shape[1], shape[0], depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_what_is_hidden_is_sky_whatever_its_colour(tmp_path, rgb):
    y, x = np.mgrid[:60, :80]
    alpha = np.where(np.hypot(x - 39, y - 29) < 25, 255, 0).astype("uint8")
    read = []
    for colour in (0, 255):
        hidden = np.where(alpha[..., None] > 0, rgb, colour).astype("uint8")
        read.append(composite.read(save(tmp_path / f"{colour}.png", np.dstack([hidden, alpha]))))
    np.testing.assert_array_equal(read[0], read[1])
    np.testing.assert_array_equal(read[0][alpha > 0], rgb[alpha > 0])
    assert abs(np.median(read[0][alpha == 0].astype(int)) - 13) <= 4


def test_transparent_palettes_and_grey_with_alpha(tmp_path, rgb):
    alpha = np.full(rgb.shape[:2], 255, "uint8")
    alpha[:20] = 0
    Image.fromarray(np.dstack([rgb[..., 0], alpha])).save(tmp_path / "la.png")
    palette = rgb[..., 0].copy()
    palette[:20] = 255
    picture = Image.fromarray(palette).convert("P")
    picture.save(tmp_path / "p.png", transparency=255)
    for name in ("la.png", "p.png"):
        assert composite.read(tmp_path / name)[:20].max() < 30


def test_all_transparent_is_refused(tmp_path, rgb):
    save(tmp_path / "none.png", np.dstack([rgb, np.zeros(rgb.shape[:2], "uint8")]))
    with pytest.raises(BadInput, match="is transparent"):
        composite.read(tmp_path / "none.png")


@pytest.mark.parametrize("factor", [16, 257])
def test_deep_grey_is_scaled_by_the_bits_that_it_uses(tmp_path, rgb, factor):
    rgb[29, 39] = 255
    save(tmp_path / "deep.png", rgb[..., 0].astype("uint16") * factor)
    np.testing.assert_allclose(composite.read(tmp_path / "deep.png").astype(int), rgb.astype(int), atol=1)


def test_deep_colour_is_refused_before_it_is_cut_to_eight_bits(tmp_path, rgb):
    path = png(tmp_path / "deep.png", rgb.shape, 16, 2, [(row.astype(">u2") * 16).tobytes() for row in rgb])
    with pytest.raises(BadInput, match="16 bits a channel in colour"):
        composite.read(path)


def test_one_bit_and_cmyk(tmp_path, rgb):
    Image.fromarray(rgb[..., 0] > 100).save(tmp_path / "one.png")
    assert set(np.unique(composite.read(tmp_path / "one.png"))) == {0, 255}
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.tif")
    np.testing.assert_allclose(composite.read(tmp_path / "cmyk.tif").astype(int), rgb.astype(int), atol=2)


def test_a_picture_stands_as_its_exif_says(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(composite.read(tmp_path / "turned.png"), np.rot90(rgb, -1))


def test_animations_and_huge_pictures_are_refused(tmp_path, rgb):
    frames = [Image.fromarray(frame) for frame in (rgb, 255 - rgb)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(BadInput, match="holds 2 pictures"):
        composite.read(tmp_path / "moving.gif")
    path = png(tmp_path / "huge.png", (13000, 13000), 8, 0, [])
    with pytest.raises(BadInput, match="13000 x 13000 px"):
        composite.read(path)


def test_a_truncated_picture_is_one_sentence(tmp_path, rgb):
    save(tmp_path / "cut.jpg", rgb)
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BadInput, match="cannot be read as a picture"):
        composite.read(tmp_path / "cut.jpg")


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".webp"])
def test_tiff_and_webp_are_found_in_folders(tmp_path, rgb, suffix):
    from serving.pictures import find_pictures

    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(rgb).save(tmp_path / f"galaxy{suffix}", **options)
    assert find_pictures([str(tmp_path)]) == ([[tmp_path / f"galaxy{suffix}"]], [])
    np.testing.assert_array_equal(composite.read(tmp_path / f"galaxy{suffix}"), rgb)
