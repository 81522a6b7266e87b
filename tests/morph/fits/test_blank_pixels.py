"""Pixels that hold a number and no measurement are distinguished from sky."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from morph.catalogs.detection import detect
from morph.fits.blank_pixels import find_blank, mask_blank
from morph.fits.planes import Planes
from morph.stamps.composite import crop, flags_of
from morph.stamps.cutout_files import read_cutouts
from morph.stamps.cutting import cut
from morph.stamps.flags import Flag
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import GALAXIES, HALF_LIGHT, SIZE, counts_of, sky_of, write_band, write_tile

NOISE = np.random.default_rng(5).normal(0, 1, (300, 400))


def missing(rows: np.ndarray) -> np.ndarray:
    """Which pixels have no data: bool, of the same shape."""
    found = np.zeros(rows.shape, dtype=bool)
    found.flat[find_blank(rows)[0]] = True
    return found


@pytest.mark.parametrize("value", [0, -999, 1e30, -12.5])
@pytest.mark.parametrize("part", [np.s_[:, 300:], np.s_[:, :150], np.s_[:100], np.s_[50:90, 200:260], np.s_[:]])
def test_a_region_of_one_value_has_no_data(value, part):
    image = NOISE.astype("float32")
    image[part] = value
    expected = np.zeros(image.shape, dtype=bool)
    expected[part] = True
    np.testing.assert_array_equal(missing(image), expected)


def test_a_slanted_edge_is_followed():
    y, x = np.mgrid[:300, :400]
    off = x > 250 + 0.4 * y
    np.testing.assert_array_equal(missing(np.where(off, 0, NOISE)), off)


@pytest.mark.parametrize("level", [0, 100])
@pytest.mark.parametrize("sigma", [0.5, 1, 3, 30])
def test_whole_numbers_repeat_and_are_sky(level, sigma):
    image = np.rint(level + sigma * NOISE)
    assert missing(image).mean() < 0.02
    image[:, 100:300] = 0
    found = missing(image)
    assert found[:, 100:300].all()
    # A neighbour may be 0 by chance.
    assert found[:, :95].mean() + found[:, 305:].mean() < 0.04


def test_noise_of_counted_photons_is_sky():
    assert missing(np.random.default_rng(1).poisson(0.08, (200, 2000))).mean() < 0.02


def test_a_flat_top_of_a_saturated_star_is_saturated_and_not_missing():
    image = NOISE + 900 * np.exp(-((np.mgrid[:300, :400][1] - 200) ** 2) / 200)
    blank, tops = find_blank(np.minimum(image, 500))
    assert not len(blank)
    assert set(tops) == set(np.flatnonzero(image >= 500))


def test_few_pixels_and_missing_ones_are_no_trouble():
    for shape in ((0, 0), (3, 1), (1, 3), (5, 0)):
        assert not missing(np.zeros(shape)).any()
    image = NOISE.astype("float32")
    image[:, 10:50] = np.nan
    assert not missing(image).any()
    image[:, 50:60] = 0
    assert missing(image)[:, 50:60].all()


def test_every_band_of_an_image_is_judged_by_itself():
    image = np.stack([NOISE, NOISE + 1, NOISE + 2], axis=-1).astype("float32")
    image[:, :100, 1] = -999
    found = mask_blank(image)
    assert found.shape == image.shape
    assert np.isnan(found).sum(axis=(0, 1)).tolist() == [0, 30000, 0]
    np.testing.assert_array_equal(found[:, 100:], image[:, 100:])


@pytest.mark.parametrize("rows", [1, 7, SIZE])
@pytest.mark.parametrize("packed", [False, True])
def test_the_answer_does_not_depend_on_how_many_rows_are_read(tmp_path, monkeypatch, rows, packed):
    counts = counts_of("r")
    counts[100:200, 150:] = 0
    monkeypatch.setattr("tests.morph.drawn_tiles.counts_of", lambda *_: counts)
    planes = Planes.open(write_band(tmp_path, "r", packed=packed))
    pieces = [planes.read_rows(i, min(i + rows, SIZE), planes.zero_point())[0] for i in range(0, SIZE, rows)]
    found = np.concatenate(pieces)
    expected = np.zeros((SIZE, SIZE), dtype=bool)
    expected[100:200, 150:] = True
    # Of pixels as coarse as packing makes them, one in a hundred is as its neighbour by chance.
    assert np.isnan(found)[expected].all()
    assert np.isnan(found)[~expected].sum() < 10


@pytest.fixture
def half(tmp_path, monkeypatch) -> Tile:
    """A tile whose right half was never observed, and that holds 0 there, above a sky of 50 counts."""

    def counts(band, galaxies):
        image = counts_of(band, galaxies) + 50
        image[:, 150:] = 0
        return image

    monkeypatch.setattr("tests.morph.drawn_tiles.counts_of", counts)
    write_tile(tmp_path)
    return Tile.open(tmp_path)


def test_a_galaxy_on_nothing_has_no_data_and_one_beside_it_is_masked(half):
    sizes = [HALF_LIGHT * sigma for _, _, sigma, _ in GALAXIES]
    stamps, flags = cut(half, *np.array(GALAXIES).T[:2], sizes)
    assert flags.tolist() == [0, 0, Flag.NO_DATA, Flag.EDGE]
    assert np.isnan(stamps[2]).all()
    x, y, sigma, _ = GALAXIES[0]
    stamps, flags = cut(half, [x + 20], [y], [HALF_LIGHT * sigma])
    assert flags.tolist() == [Flag.MASKED]
    assert np.isnan(stamps[0, :, -12:]).all()


def test_no_source_is_found_where_data_end(half):
    found = detect(half, smallest=0.0)
    places = sorted(zip(found["x"].tolist(), found["y"].tolist(), strict=True))
    assert np.array(places) == pytest.approx(np.array(sorted(g[:2] for g in GALAXIES if g[0] < 150)), abs=1.2)


def test_an_image_of_one_galaxy_and_its_cube_lack_the_same(tmp_path):
    counts = counts_of("r")[60:180, 60:180]
    counts[:, 80:] = -999
    header = fits.Header({"FILTER": "r", "MAGZERO": 30.0})
    fits.PrimaryHDU(counts, header + sky_of()).writeto(tmp_path / "one_r.fits")
    fits.PrimaryHDU(np.stack([counts] * 3), fits.Header({"BANDS": "gri", "MAGZERO": 30.0})).writeto(
        tmp_path / "cube.fits"
    )
    for name in ("one_r.fits", "cube.fits"):
        (cutout,) = read_cutouts(tmp_path / name, "des")
        assert np.isnan(cutout.image[..., 1])[:, 80:].all()
        assert np.isfinite(cutout.image[..., 1])[:, :80].all()
        assert cutout.stamp().flags & Flag.MASKED


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A colour picture of a galaxy on a noisy sky: uint8 [200, 200, 3]."""
    y, x = np.mgrid[:200, :200]
    light = np.random.default_rng(2).normal(30, 6, (200, 200, 3))
    light += 150 * np.exp(-np.hypot(x - 100, y - 100) / 10)[..., None]
    return light.clip(0, 255).astype("uint8")


def turned(picture: np.ndarray) -> np.ndarray:
    """The picture turned by 20 degrees, with black corners."""
    return np.asarray(Image.fromarray(picture).rotate(20, Image.Resampling.BILINEAR))


def test_a_picture_with_a_black_part_is_flagged_and_its_galaxy_measured_as_without(picture):
    whole = crop(picture)
    partial = picture.copy()
    partial[:, 130:] = 0
    for pixels, size, expected in (
        (picture, 64, Flag(0)),
        (partial, 64, Flag.MASKED),
        (turned(picture), 64, Flag(0)),
        (turned(picture), 200, Flag.EDGE | Flag.MASKED),
    ):
        _, shape, scale = crop(pixels, size)
        assert (shape.x, shape.y) == pytest.approx((whole[1].x, whole[1].y), abs=0.5)
        assert shape.radius == pytest.approx(whole[1].radius, rel=0.05)
        assert flags_of(pixels, shape, scale, size) == expected


def test_a_black_border_survives_compression(picture, tmp_path):
    partial = picture.copy()
    partial[:, 120:] = 0
    Image.fromarray(partial).save(tmp_path / "partial.jpg", quality=90)
    pixels = np.asarray(Image.open(tmp_path / "partial.jpg"))
    _, shape, scale = crop(pixels)
    assert flags_of(pixels, shape, scale, 64) == Flag.MASKED


def test_a_picture_of_one_colour_has_no_data():
    pixels = np.full((80, 100, 3), 7, "uint8")
    _, shape, scale = crop(pixels)
    assert flags_of(pixels, shape, scale, 64) == Flag.NO_DATA


def test_a_galaxy_on_a_black_sky_is_measured_as_it_was(picture):
    pixels = np.where(picture.max(axis=-1, keepdims=True) > 60, picture, 0).astype("uint8")
    _, shape, _ = crop(pixels)
    assert shape.found
    assert (shape.x, shape.y) == pytest.approx((100, 100), abs=1)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
def test_noise_of_few_values_loses_hardly_a_pixel_and_gaps_in_it_are_found(sigma):
    rows = np.rint(np.random.default_rng(3).normal(0, sigma, (200, 2000))).astype("float32")
    assert len(find_blank(rows)[0]) < 1e-4 * rows.size
    rows[:, 700:] = 0
    blank = np.zeros(rows.shape, dtype=bool)
    blank.flat[find_blank(rows)[0]] = True
    assert blank[:, 700:].mean() > 0.9
    assert blank[:, :600].mean() < 1e-3
