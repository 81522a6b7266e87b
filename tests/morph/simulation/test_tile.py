import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from morph.simulation.coadd_files import Mask, Tilename
from morph.simulation.tile import simulate_tile
from morph.tiles.tile import Tile


@pytest.fixture(scope="module")
def opened(tile):
    with Tile.open([str(path) for path in tile.paths]) as made:
        yield made


def test_it_reads_back_as_a_tile_in_three_bands(opened, des):
    assert opened.bands == ("g", "r", "i")
    assert opened.shape == (640, 640)
    assert opened.tilename == "DES0356-5248"
    assert opened.pixel_scale == pytest.approx(des.pixel_scale, abs=1e-4)
    assert opened.zero_point("r") == 30.0


def test_the_catalogue_stands_where_the_galaxies_are(tile, opened):
    catalogue = Table.read(tile.catalogue)
    x, y = opened.wcs.all_world2pix(catalogue["RA"], catalogue["DEC"], 0)
    np.testing.assert_allclose(x + 1, catalogue["XWIN_IMAGE"], atol=1e-3)
    np.testing.assert_allclose(y + 1, catalogue["YWIN_IMAGE"], atol=1e-3)
    flux = opened.plane("r")
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    assert np.nanmedian(flux[rows, columns]) > 20 * np.nanstd(flux[flux < np.nanmedian(flux)])


def test_catalogue_magnitudes_and_sizes_are_those_of_the_light(tile, opened):
    """Half of the catalogue's flux lies within FLUX_RADIUS, as its name says."""
    catalogue = Table.read(tile.catalogue)
    flux = opened.plane("r")
    rows, columns = np.mgrid[: flux.shape[0], : flux.shape[1]]
    shares = []
    for row in catalogue:
        inside = np.hypot(columns + 1 - row["XWIN_IMAGE"], rows + 1 - row["YWIN_IMAGE"]) < row["FLUX_RADIUS_R"]
        shares.append(np.nansum(flux[inside]) / 10 ** (0.4 * (22.5 - row["MAG_AUTO_R"])))
    assert np.median(shares) == pytest.approx(0.5, abs=0.1)


def test_the_truth_has_votes_for_every_galaxy_of_the_catalogue(tile):
    truth = pq.read_table(tile.truth)
    assert truth["id"].to_pylist() == [str(i) for i in Table.read(tile.catalogue)["COADD_OBJECT_ID"]]
    assert set(ANSWER_COLUMNS) <= set(truth.column_names)
    assert min(truth["smooth_or_featured_smooth"].to_pylist()) >= 0


def test_saturated_pixels_are_masked_and_weightless(tmp_path):
    made = simulate_tile(tmp_path, 1500, galaxies=1, seed=1, progress=False)
    with fits.open(made.paths[1]) as hdus:
        mask, weight = hdus["MSK"].data, hdus["WGT"].data
    saturated = (mask & Mask.SATURATED) > 0
    assert 0 < saturated.mean() < 0.02
    assert (weight[saturated] == 0).all()
    assert (weight[mask == 0] > 0).all()


def test_weights_are_the_inverse_variance_of_the_noise(tile):
    with fits.open(tile.paths[1]) as hdus:
        counts, weight = hdus["SCI"].data, hdus["WGT"].data
    sky = counts[counts < np.median(counts)]
    noise = np.sqrt(np.median((sky - np.median(counts)) ** 2)) * 1.4826
    assert noise == pytest.approx(1 / np.sqrt(np.median(weight)), rel=0.15)


def test_the_same_seed_makes_the_same_tile(tmp_path):
    first, second = (simulate_tile(tmp_path / name, 160, galaxies=2, seed=4, progress=False) for name in "ab")
    with fits.open(first.paths[0]) as one, fits.open(second.paths[0]) as two:
        np.testing.assert_array_equal(one["SCI"].data, two["SCI"].data)
    assert (tmp_path / "a").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_tiles_name_says_where_it_is():
    assert Tilename("DES0356-5248").centre == pytest.approx((59.0, -52.8))
    assert Tilename("DES2359+0041").centre == pytest.approx((359.75, 41 / 60))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 5}, "128 to 10000"),
        ({"size": 200, "survey": "2mass"}, "Unknown survey"),
        ({"size": 200, "galaxies": 0}, "at least 1"),
        ({"size": 200, "name": "tile7"}, "not a tile's name"),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_written(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_tile(tmp_path / "x", progress=False, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_not_overwritten(tmp_path):
    (tmp_path / "x").write_text("keep me")
    with pytest.raises(InputError, match="is a file"):
        simulate_tile(tmp_path / "x", 200, progress=False)


@pytest.mark.real
def test_headers_have_what_real_ones_have(real_data, tile):
    """Every keyword of the real cutout that tells a reader something about the sky, the conditions or the tile."""
    provenance = {"SOFTVERS", "SOFTDATE", "SOFTAUTH", "SOFTINST", "AUTHOR", "ORIGIN", "DATE", "EUPSPROD", "EUPSVER"}
    provenance |= {"ATTNUM", "REQNUM", "DESFNAME", "TILEID", "FZDTHRSD", "COMMENT", "HISTORY", "", "EXTEND", "SIMPLE"}
    provenance |= {f"{word}{k}" for word in ("RESAMPT", "CENTERT", "PSCALET") for k in (1, 2)}
    with (
        fits.open(real_data / "des-coadd-cutout" / "DESJ035621.6-524840.0_r.fits") as real,
        fits.open(tile.paths[1]) as made,
    ):
        assert [hdu.name for hdu in made[1:]] == [hdu.name for hdu in real]
        assert set(real[0].header) - provenance - set(made["SCI"].header) == set()
        assert made["SCI"].header["MAGZERO"] == real[0].header["MAGZERO"]
        assert made["SCI"].header["FILTER"] == real[0].header["FILTER"]
        for hdu in real:
            assert made[hdu.name].data.dtype.kind == hdu.data.dtype.kind
