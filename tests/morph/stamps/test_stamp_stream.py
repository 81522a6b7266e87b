"""A walk over a tile's rows: every galaxy once, and cut as from the whole tile, in memory that stays small."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.stamps.cutting import Flag, cut
from morph.stamps.stamp_stream import measure_radii, stream_stamps
from morph.tiles import strip_reader
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import GALAXIES, HALF_LIGHT, SIZE, sky_of, write_band, write_tile

N = 60


@pytest.fixture
def thin(monkeypatch):
    """Strips of few rows, so that a small tile has many."""
    monkeypatch.setattr(strip_reader, "STRIP", 16)


@pytest.fixture(scope="module")
def galaxies():
    """Places and radii all over the tile and off it, at its corners, without a size, too small and too large."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-10, SIZE + 10, (2, N))
    radius = np.exp(rng.uniform(0, 3, N))
    x[:6], y[:6] = [0, SIZE - 1, 0, SIZE - 1, np.nan, 120], [0, 0, SIZE - 1, SIZE - 1, 5, np.nan]
    radius[6:12] = [-1, 0, np.inf, 1e9, 200, 60]
    return x, y, radius


def together(tile, x, y, radius, size=64):
    """What `stream_stamps` yields, in the order of the galaxies, each of which must come once."""
    parts = list(stream_stamps(tile, x, y, radius, size))
    rows = np.concatenate([part.rows for part in parts])
    assert sorted(rows.tolist()) == list(range(len(x)))
    order = np.argsort(rows)
    return [np.concatenate([getattr(part, name) for part in parts])[order] for name in ("stamps", "flags", "radius")]


@pytest.mark.parametrize("options", [{}, {"packed": True}, {"bands": "gi"}, {"spoilt": True}])
def test_galaxies_cut_in_strips_are_those_cut_from_the_whole_tile(tmp_path, thin, galaxies, options):
    if options.pop("spoilt", False):
        marked = np.random.default_rng(1).random((SIZE, SIZE))
        options["mask"] = np.select([marked < 0.002, marked < 0.004], [1, 2], 0)
        options["mask"][100:130, 40:180] = 1
    write_tile(tmp_path, **options)
    with Tile.open(tmp_path) as tile, Tile.open(tmp_path) as other:
        images, flags, _ = together(tile, *galaxies)
        expected, expected_flags = cut(other, *galaxies)
    np.testing.assert_array_equal(flags, expected_flags)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_a_galaxy_cut_with_many_is_the_one_cut_alone(tile, galaxies):
    x, y, radius = (np.array(values)[12:] for values in galaxies)
    images, flags = cut(tile, x, y, radius)
    for k in range(len(x)):
        image, flag = cut(tile, x[k], y[k], radius[k])
        assert flag[0] == flags[k]
        np.testing.assert_allclose(image[0], images[k], atol=1e-5)


def test_a_size_that_is_not_known_is_measured_as_on_the_whole_tile(tmp_path, thin):
    # The last one is much larger than the first window, and its stamp than the last.
    write_tile(tmp_path, galaxies=[*GALAXIES[:2], (180.0, 60.0, 24.0, 4000.0)])
    x, y = np.array([*GALAXIES[:2], (180.0, 60.0, 0, 0)]).T[:2]
    with Tile.open(tmp_path) as tile, Tile.open(tmp_path) as other:
        images, flags, radius = together(tile, x, y, np.full(3, np.nan))
        np.testing.assert_array_equal(radius, measure_radii(other, x, y))
        expected, expected_flags = cut(other, x, y, radius)
    assert radius[2] > 20
    np.testing.assert_array_equal(flags, expected_flags)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_a_stamp_larger_than_the_window_that_measured_it_is_whole(tmp_path, thin, monkeypatch):
    """Its rows are read again, for the walk did not know how far it would reach."""
    monkeypatch.setattr("morph.stamps.stamp_stream.LARGEST_WINDOW", 64)
    monkeypatch.setattr("morph.stamps.stamp_stream.LARGEST_WINDOW", 64)
    write_tile(tmp_path)
    x, y = np.array(GALAXIES[:3]).T[:2]
    with Tile.open(tmp_path) as tile, Tile.open(tmp_path) as other:
        images, flags, radius = together(tile, x, y, np.full(3, np.nan), size=128)
        expected, _ = cut(other, x, y, radius, 128)
    assert flags.tolist() == [0, 0, 0]
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_rows_without_galaxies_are_not_read(tmp_path, thin, monkeypatch):
    read, filling = set(), Tile.filling

    @contextmanager
    def watched(self, band, weights=False):
        with filling(self, band, weights) as fill:
            yield lambda start, flux, *more: read.update(range(start, start + len(flux))) or fill(start, flux, *more)

    monkeypatch.setattr(Tile, "filling", watched)
    write_tile(tmp_path, packed=True)
    with Tile.open(tmp_path) as tile:
        together(tile, np.array([60.0, 60.0]), np.array([30.0, 200.0]), np.array([2.0, 2.0]))
    # Three half-light radii and what interpolation needs.
    assert read >= {*range(22, 39), *range(192, 209)}
    assert len(read) < 2 * 26


def test_bands_that_are_some_pixels_apart_are_brought_together(tmp_path):
    """The galaxies are at one place of the sky; one band's grid begins elsewhere."""
    dx, dy = 3.4, -2.2
    write_tile(tmp_path, "gr")
    moved = [(x + dx, y + dy, *rest) for x, y, *rest in GALAXIES]
    middle = (SIZE + 1) / 2
    mask = np.zeros((SIZE, SIZE))
    mask[round(GALAXIES[1][1]) + 6, round(GALAXIES[1][0])] = 1
    write_band(tmp_path, "i", galaxies=moved, mask=mask, CRPIX1=middle + dx, CRPIX2=middle + dy)
    x, y, sigma = np.array(GALAXIES[:3]).T[:3]
    with Tile.open(tmp_path) as tile:
        images, flags, radius = together(tile, x, y, np.full(3, np.nan))
    assert flags.tolist() == [0, 0, 0]
    np.testing.assert_allclose(radius, HALF_LIGHT * sigma, rtol=0.05)
    offset = np.arange(64) - 31.5
    light = np.where(images > np.nanmax(images, axis=(1, 2), keepdims=True) / 10, images, 0)
    for axis, weights in ((1, offset[:, None, None]), (2, offset[None, :, None])):
        centres = (light * weights).sum(axis=(1, 2)) / light.sum(axis=(1, 2))
        assert np.abs(centres).max() < 0.5, axis


def test_memory_is_that_of_few_rows(tmp_path, thin):
    """A tile twenty times as high as its galaxies' surroundings needs a fraction of its own size."""
    height, width = 4000, 300
    header = fits.Header({**sky_of(), "MAGZERO": 30.0, "CRPIX2": height / 2})
    for band in "gri":
        fits.PrimaryHDU(np.ones((height, width), "float32"), header).writeto(tmp_path / f"tile_{band}.fits")
    y = np.arange(20.0, height - 20, 40)
    with Tile.open(tmp_path) as tile:
        assert tile.shape == (height, width)
        tracemalloc.start()
        count = sum(
            len(part.rows) for part in stream_stamps(tile, np.full(len(y), 150.0), y, np.full(len(y), 4.0), 16)
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == len(y)
    assert peak < 3 * 4 * height * width / 5


def test_galaxies_off_the_tile_need_no_pixel(tmp_path):
    paths = write_tile(tmp_path, packed=True)
    with Tile.open(tmp_path) as tile:
        for path in paths:
            path.unlink()
        _, flags, _ = together(tile, np.array([-50.0, 9e9]), np.array([20.0, 20.0]), np.array([5.0, 5.0]))
    assert flags.tolist() == [Flag.NO_DATA, Flag.NO_DATA]


def test_a_file_damaged_in_its_middle_is_reported_by_name(tmp_path, thin, galaxies):
    path = write_tile(tmp_path, packed=True)[1]
    with Tile.open(tmp_path) as tile:
        content = bytearray(path.read_bytes())
        path.write_bytes(content[: len(content) // 4])
        with pytest.raises(InputError, match=path.name):
            together(tile, *galaxies)


def test_the_first_strip_is_short_so_that_work_can_begin(tmp_path, thin):
    write_tile(tmp_path)
    low = np.arange(0, SIZE, 4)
    with Tile.open(tmp_path) as tile:
        first, second, *_ = (strip for strip, _ in strip_reader.read_strips(tile, low, np.minimum(low + 4, SIZE)))
    assert (first.start, first.stop, second.stop) == (0, 8, 24)
