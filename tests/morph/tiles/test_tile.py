"""A tile: bands found together, on one grid, and refused with a reason where they are not."""

import numpy as np
import pytest
from astropy.io import fits

from morph.errors import InputError
from morph.tiles.tile import Tile, find_tiles, tile_name
from tests.morph.drawn_tiles import NOISE, SCALE, SIZE, write_band, write_tile


def test_any_one_name_brings_the_whole_tile(tile_folder):
    files = sorted(tile_folder.iterdir())
    for pattern in (tile_folder, files[1], str(tile_folder / "*_g.fits"), [files[0], files[2]]):
        assert find_tiles(pattern) == [files]


def test_tiles_are_distinguished_and_catalogues_left_out(tmp_path):
    for name in ("DES0001-0541_r1p01", "DES0356-5248_r1p01"):
        write_tile(tmp_path / name, "gr", name=name)
    fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=[1.0])]).writeto(tmp_path / "DES0001-0541_main.fits")
    tiles = find_tiles(tmp_path)
    assert [tile_name(paths) for paths in tiles] == ["DES0001-0541", "DES0356-5248"]
    assert [len(paths) for paths in tiles] == [2, 2]
    with pytest.raises(InputError, match="holds 2 tiles"):
        Tile.open(tmp_path)


def test_a_name_that_matches_nothing_is_said(tmp_path):
    with pytest.raises(InputError, match="no FITS file"):
        find_tiles(str(tmp_path / "*_g.fits"))
    with pytest.raises(InputError, match="holds no FITS files"):
        find_tiles(tmp_path)


def test_what_a_tile_knows(tile):
    assert (tile.name, tile.tilename, tile.survey) == ("DES0356-5248", "DES0356-5248", "des")
    assert tile.bands == ("g", "r", "i")
    assert tile.shape == (SIZE, SIZE)
    assert tile.pixel_scale == pytest.approx(SCALE, rel=1e-6)
    assert tile.zero_points["g"].magnitude == 30.0
    assert not tile.mask("r").any()
    sky = tile.plane("g")[190:, 190:]
    assert sky.std() * np.sqrt(tile.weight("g")[0, 0]) == pytest.approx(1, rel=0.1)
    with pytest.raises(InputError, match="no band z"):
        tile.plane("z")


def test_bands_outside_the_survey_are_ignored_and_a_missing_one_is_not_a_error(tmp_path):
    write_tile(tmp_path, "gi")
    (tmp_path / "DES0356-5248_r4163p01_Y.fits").write_bytes(b"not even FITS")
    assert Tile.open(tmp_path).bands == ("g", "i")
    assert Tile.open(tmp_path, survey="decals").bands == ("g",)


def test_noise_is_measured_where_there_are_no_weights(tmp_path):
    path = write_band(tmp_path, "r")
    with fits.open(path) as hdus:
        fits.HDUList(hdus[:1]).writeto(tmp_path / "alone_r.fits")
    alone, whole = Tile.open([tmp_path / "alone_r.fits"]), Tile.open([path])
    assert np.median(alone.weight("r")) == pytest.approx(np.median(whole.weight("r")), rel=0.2)
    assert NOISE["r"] > 0


def test_the_same_band_twice_is_refused(tmp_path):
    write_tile(tmp_path, "g")
    write_tile(tmp_path, "g", packed=True)
    with pytest.raises(InputError, match="both band g"):
        Tile.open(tmp_path)


def test_no_band_of_the_survey_is_refused(tmp_path):
    write_band(tmp_path, "g").rename(tmp_path / "DES0356-5248_r4163p01_z.fits")
    with pytest.raises(InputError, match="no image in g, r, i"):
        Tile.open(tmp_path)


def test_bands_of_different_sky_are_refused(tmp_path):
    write_tile(tmp_path, "g")
    write_band(tmp_path, "r", CRVAL1=59.2)
    with pytest.raises(InputError, match="different sky"):
        Tile.open(tmp_path)


def test_a_tile_without_sky_coordinates_is_refused(tmp_path):
    write_band(tmp_path, "r", CTYPE1="", CTYPE2="")
    with pytest.raises(InputError, match="no sky coordinates"):
        Tile.open(tmp_path)


def test_a_cube_is_not_a_tile(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 20, 20), "f4")).writeto(tmp_path / "cube_g.fits")
    with pytest.raises(InputError, match="holds a cube"):
        Tile.open(tmp_path)


def test_an_unknown_survey_names_the_known_ones(tile_folder):
    with pytest.raises(InputError, match=r"Unknown survey 'hubble'; use one of sdss, des"):
        Tile.open(tile_folder, survey="hubble")


@pytest.mark.real
def test_the_real_coadd_cutout_is_a_tile(real_data):
    with Tile.open(real_data / "des-coadd-cutout" / "DESJ035621.6-524840.0_g.fits") as tile:
        assert tile.bands == ("g", "r", "i")
        assert (tile.name, tile.tilename) == ("DESJ035621.6-524840.0", "DES0356-5248")
        assert tile.pixel_scale == pytest.approx(0.263, abs=1e-4)
        for band in tile.bands:
            flux = tile.plane(band)
            noise = 1.4826 * np.median(np.abs(flux - np.median(flux)))
            # Resampling correlates a coadd's pixels, so their scatter is a little below what the weights say.
            assert noise * np.sqrt(np.median(tile.weight(band))) == pytest.approx(0.95, abs=0.1)
