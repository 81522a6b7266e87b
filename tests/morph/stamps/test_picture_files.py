"""Pictures as viewers show them, whatever their pixels are stored as; what cannot be is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from morph.errors import InputError
from morph.sizes import NETWORK_SIZE
from morph.stamps import composite, picture_files


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
    with pytest.raises(InputError, match="is transparent"):
        composite.read(tmp_path / "none.png")


@pytest.mark.parametrize("factor", [16, 257])
def test_deep_grey_is_scaled_by_the_bits_that_it_uses(tmp_path, rgb, factor):
    rgb[29, 39] = 255
    save(tmp_path / "deep.png", rgb[..., 0].astype("uint16") * factor)
    np.testing.assert_allclose(composite.read(tmp_path / "deep.png").astype(int), rgb.astype(int), atol=1)


def tiff(path, values, compression=1, order="<"):
    """A TIFF file of one strip, without any alpha channel but a fourth one; compression 8 is zlib's."""
    height, width, bands = values.shape
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    extra = [(338, 3, [2])] if bands == 4 else []
    head = 8 + len(data)
    tags = [
        *((256, 4, [width]), (257, 4, [height]), (258, 3, [16] * bands), (259, 3, [compression]), (262, 3, [2])),
        *((273, 4, [8]), (277, 3, [bands]), (278, 4, [height]), (279, 4, [len(data)]), *extra),
    ]
    more, entries, place = b"", b"", head + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            packed, more = struct.pack(f"{order}I", place + len(more)), more + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", head)
    path.write_bytes(start + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + more)
    return path


def deep_png(path, values):
    kind = {2: 4, 3: 2, 4: 6}[values.shape[-1]]
    return png(path, values.shape, 16, kind, [row.astype(">u2").tobytes() for row in values])


DEEP = {
    "png": deep_png,
    "plain-tif": tiff,
    "big-endian-tif": lambda path, values: tiff(path, values, order=">"),
    "packed-tif": lambda path, values: tiff(path, values, compression=8),
    "packed-big-endian-tif": lambda path, values: tiff(path, values, compression=8, order=">"),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("factor", [1.0, 16.0])
def test_deep_colour_is_read_to_its_last_bit_and_rounded(tmp_path, kind, alpha, factor):
    """All 65,536 values of a channel, or the 4,096 of a camera of 12 bits, each as near to its share as 8 bits go."""
    count = int(65536 / factor)
    values = np.stack([np.arange(count), np.arange(count)[::-1], np.full(count, 7)], axis=-1).reshape(-1, 64, 3)
    layers = np.dstack([values, np.full(values.shape[:2], 65535)]) if alpha else values
    path = DEEP[kind](tmp_path / f"deep.{kind[-3:]}", layers)
    np.testing.assert_array_equal(composite.read(path), np.rint(values * (255 / (count - 1))))


def test_deep_pixels_that_are_hidden_are_sky(tmp_path, rgb):
    alpha = np.where(np.arange(80) < 20, 0, 65535) * np.ones((60, 1), int)
    grey = np.dstack([rgb[..., 0].astype(int) * 257, alpha])
    colour = np.dstack([rgb.astype(int) * 257, alpha])
    for name, layers in (("la.png", grey), ("rgba.png", colour)):
        found = composite.read(deep_png(tmp_path / name, layers))
        np.testing.assert_array_equal(found[:, 20:], rgb[:, 20:])
        assert abs(np.median(found[:, :20].astype(int)) - 13) <= 4
    assert composite.read(deep_png(tmp_path / "turned.png", colour)).shape == (60, 80, 3)


def test_large_jpeg_pictures_are_read_at_a_fraction_of_their_size(tmp_path, monkeypatch):
    y, x = np.mgrid[:1200, :1600]
    light = 200 * np.exp(-np.hypot(x - 820, (y - 590) * 1.5) / 90) + 12
    light = np.clip(light + np.random.default_rng(0).normal(0, 3, light.shape), 0, 255).astype("uint8")
    Image.fromarray(np.repeat(light[..., None], 3, axis=-1)).save(tmp_path / "large.jpg", quality=95)
    with Image.open(tmp_path / "large.jpg") as picture:
        expected, shape, scale = composite.crop(np.asarray(picture.reduce(4)))
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 200_000)
    found, in_file, scale_in_file, _ = composite.stamp_from_file(tmp_path / "large.jpg", NETWORK_SIZE)
    assert picture_files.read_reduced(tmp_path / "large.jpg")[0].shape == (300, 400, 3)
    assert (in_file.x, in_file.y) == pytest.approx((4 * shape.x + 1.5, 4 * shape.y + 1.5), abs=0.5)
    assert (in_file.radius, scale_in_file) == pytest.approx((4 * shape.radius, 4 * scale), rel=0.02)
    assert np.abs(found.astype(int) - expected).mean() < 2
    with pytest.raises(InputError, match="1600 x 1200 px"):
        composite.read(tmp_path / "large.jpg")


def test_what_a_large_picture_would_lose_is_not_lost_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "MOST_PIXELS", 200_000)
    y, x = np.mgrid[:1200, :1600]
    light = np.clip(200 * np.exp(-np.hypot(x - 800, y - 600) / 4) + 12, 0, 255).astype("uint8")
    noisy = Image.fromarray(light + np.random.default_rng(0).integers(0, 6, light.shape, dtype="uint8"))
    noisy.save(tmp_path / "small-galaxy.jpg")
    with pytest.raises(InputError, match=r"read 4 times smaller, .*; cut the galaxy out"):
        composite.stamp_from_file(tmp_path / "small-galaxy.jpg")
    noisy.save(tmp_path / "progressive.jpg", progressive=True)
    with pytest.raises(InputError, match="1600 x 1200 px"):
        composite.stamp_from_file(tmp_path / "progressive.jpg")


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
    with pytest.raises(InputError, match="holds 2 pictures"):
        composite.read(tmp_path / "moving.gif")
    path = png(tmp_path / "huge.png", (13000, 13000), 8, 0, [])
    with pytest.raises(InputError, match="13000 x 13000 px"):
        composite.read(path)


def test_a_truncated_picture_is_one_sentence(tmp_path, rgb):
    save(tmp_path / "cut.jpg", rgb)
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match="cannot be read as a picture"):
        composite.read(tmp_path / "cut.jpg")


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".webp"])
def test_tiff_and_webp_are_found_in_folders(tmp_path, rgb, suffix):
    from serving.client.pictures import find_pictures

    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(rgb).save(tmp_path / f"galaxy{suffix}", **options)
    assert find_pictures([str(tmp_path)]) == ([[tmp_path / f"galaxy{suffix}"]], [])
    np.testing.assert_array_equal(composite.read(tmp_path / f"galaxy{suffix}"), rgb)
