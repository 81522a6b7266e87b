"""Colour pictures of galaxies, as JPEG and PNG."""

import numpy as np
import pytest
from PIL import Image

from morph.errors import InputError
from morph.sizes import NETWORK_SIZE, STAMP_SIZE
from morph.stamps.composite import SMALLEST_CROP, crop, flags_of, read, stamp_from_file
from morph.stamps.flags import Flag
from morph.stamps.stretch import COMPOSITE_SOFTENING, centre_crop, to_composite


def picture(size: int = 200, scale: float = 10.0, x0: float = 100.0, y0: float = 100.0) -> np.ndarray:
    """A colour picture of an exponential disk."""
    y, x = np.mgrid[:size, :size]
    flux = np.exp(-np.hypot(x - x0, y - y0) / scale)[..., None] * np.array([0.6, 1.0, 1.3])
    flux += np.random.default_rng(0).normal(0, 0.004, flux.shape)
    return to_composite(flux, white=1.0, softening=np.sinh(COMPOSITE_SOFTENING))


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg"])
def test_a_picture_is_read_as_it_was_written(tmp_path, suffix):
    pixels = picture()
    Image.fromarray(pixels).save(tmp_path / f"galaxy.{suffix}", **({} if suffix == "png" else {"quality": 98}))
    back = read(tmp_path / f"galaxy.{suffix}")
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - pixels).mean() < (0.01 if suffix == "png" else 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_grey_transparent_and_indexed_pictures_become_rgb(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.fromarray(picture()).convert(mode).save(tmp_path / f"galaxy.{suffix}")
    assert read(tmp_path / f"galaxy.{suffix}").shape == (200, 200, 3)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match="No image exists"):
        read(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"SIMPLE  =                    T"])
def test_a_file_that_is_not_a_picture_is_refused(tmp_path, content):
    (tmp_path / "galaxy.jpg").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read(tmp_path / "galaxy.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    path = tmp_path / f"galaxy.{suffix}"
    Image.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read(path)


def test_a_picture_too_small_for_a_galaxy_is_refused(tmp_path):
    Image.fromarray(picture(size=SMALLEST_CROP - 1)).save(tmp_path / "dot.png")
    with pytest.raises(InputError, match="11 x 11 px"):
        read(tmp_path / "dot.png")


def test_the_crop_follows_the_galaxy_and_not_the_picture():
    """The same galaxy, in a larger picture and at twice the scale, fills the same part of its stamp."""
    stamps = [
        crop(pixels)[0].astype(float)
        for pixels in (picture(), picture(size=300, x0=150, y0=150), picture(400, 20, 200, 200))
    ]
    for other in stamps[1:]:
        assert np.abs(other - stamps[0]).mean() < 4


def test_a_galaxy_beside_the_middle_is_centred():
    stamp, shape, _ = crop(picture(x0=108, y0=93))
    assert (shape.x, shape.y) == pytest.approx((108, 93), abs=0.7)
    light = stamp.astype(float).sum(axis=-1)
    y, x = np.mgrid[:NETWORK_SIZE, :NETWORK_SIZE] - (NETWORK_SIZE - 1) / 2
    assert abs((light * x).sum() / light.sum()) < 1
    assert abs((light * y).sum() / light.sum()) < 1


def test_the_networks_view_never_leaves_the_picture():
    stamp, shape, scale = crop(pixels := picture(size=60, scale=14, x0=30, y0=30))
    assert scale * NETWORK_SIZE <= 60
    assert stamp.shape == (NETWORK_SIZE, NETWORK_SIZE, 3)
    assert stamp[0].any()
    assert stamp[-1].any()
    assert not flags_of(pixels, shape, scale, NETWORK_SIZE) & Flag.EDGE


@pytest.mark.parametrize(("size", "width", "edge"), [(STAMP_SIZE, 200, False), (160, 200, True), (256, 90, True)])
def test_a_wider_stamp_shows_the_same_in_its_middle_and_says_where_its_picture_ends(size, width, edge):
    pixels = picture(size=width, x0=width / 2 + 5, y0=width / 2 - 3)
    view, shape, scale = crop(pixels)
    wide, again, wide_scale = crop(pixels, size)
    assert (again, wide_scale) == (shape, scale)
    np.testing.assert_array_equal(centre_crop(wide[None], NETWORK_SIZE)[0], view)
    assert bool(flags_of(pixels, shape, scale, size) & Flag.EDGE) is edge


def test_outside_a_picture_is_its_sky_with_its_noise():
    pixels = picture(size=160, x0=80, y0=80)
    sky = pixels[:12].astype(float)
    stamp, _, scale = crop(pixels, 256)
    inside = int(80 / scale)
    outside = stamp[: 128 - inside - 15].astype(float)
    assert len(outside) > 15
    assert outside.mean(axis=(0, 1)) == pytest.approx(sky.mean(axis=(0, 1)), abs=2)
    seen = stamp[128 - inside + 1 : 128 - inside + 6, 100:156].astype(float)
    assert outside.std() == pytest.approx(seen.std(), rel=0.4)
    np.testing.assert_array_equal(crop(pixels, 256)[0], stamp)


def test_light_that_a_picture_cuts_fades_outside_it():
    """A galaxy that fills its frame ends neither at the frame nor in mirrored galaxies."""
    stamp, _, scale = crop(picture(size=60, scale=14, x0=30, y0=30), 160)
    light = stamp.astype(float).mean(axis=-1)[75:85].mean(axis=0)
    first = 80 - int(30 / scale)
    before, after = light[first + 1], light[first - 1]
    assert after == pytest.approx(before, rel=0.25)
    assert light[: first - 30].max() < 0.35 * before + light[:10].mean()


def test_a_star_near_the_edge_of_a_picture_is_not_doubled_outside():
    pixels = picture(size=100, x0=50, y0=50)
    y, x = np.mgrid[:100, :100]
    star = np.exp(-0.5 * np.hypot(x - 50, y - 94) ** 2 / 1.5**2)[..., None]
    stamp, shape, scale = crop(np.clip(pixels + 250 * star, 0, 255).astype("uint8"), 160)
    light = stamp.astype(float).mean(axis=-1)
    row = 80 + (94 - shape.y) / scale
    assert light[int(row) - 1 : int(row) + 2, 78:83].max() > 200
    assert light[int(row) + 5 :].max() < 40


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_cropped_by_a_guess(tmp_path, level):
    Image.fromarray(np.full((80, 100, 3), level, "uint8")).save(tmp_path / "flat.png")
    stamp, shape, _, _ = stamp_from_file(tmp_path / "flat.png")
    assert not shape.found
    assert (stamp == level).all()


@pytest.mark.real
@pytest.mark.parametrize("folder", ["sdss-galaxyzoo2", "decals-galaxy10", "decals-galaxyzoo-examples"])
def test_real_pictures_have_their_galaxy_found(real_data, folder):
    files = sorted((real_data / folder / "images").glob("*.jp*g"))[:12]
    assert files
    found = [stamp_from_file(file, NETWORK_SIZE)[1].found for file in files]
    assert np.mean(found) > 0.9
