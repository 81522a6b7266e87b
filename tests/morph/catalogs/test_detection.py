"""Sources: found where they are, measured as single images are, and placed on the tile they belong to."""

import numpy as np
import pytest
from astropy.table import Table

from morph.catalogs.detection import detect
from morph.catalogs.spatial_index import locate
from morph.stamps.stamp_stream import measure_radii
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import COLOUR, GALAXIES, HALF_LIGHT, SCALE, SIZE, write_tile

INNER = GALAXIES[:3]


def catalogue(tile, rows=INNER, tilename="", radius=np.nan) -> Table:
    x, y = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    ra, dec = tile.wcs.wcs_pix2world(x, y, 0)
    ids = [f"galaxy-{i}" for i in range(len(rows))]
    return Table({"id": ids, "ra": ra, "dec": dec, "radius": [radius] * len(rows), "tilename": [tilename] * len(rows)})


def nearest(table, x, y) -> int:
    distance = np.hypot(table["x"] - x, table["y"] - y)
    assert distance.min() < 0.5
    return int(distance.argmin())


def test_every_galaxy_is_found_once_with_its_place_size_and_brightness(tile):
    found = detect(tile)
    assert len(found) == len(GALAXIES) == len(set(found["id"]))
    for x, y, sigma, flux in INNER:
        row = found[nearest(found, x, y)]
        assert row["radius"] == pytest.approx(HALF_LIGHT * sigma * SCALE, rel=0.05)
        for band in "gri":
            assert row[f"mag_{band}"] == pytest.approx(22.5 - 2.5 * np.log10(flux * COLOUR[band]), abs=0.1)
        ra, dec = tile.wcs.wcs_pix2world(x, y, 0)
        assert (row["ra"], row["dec"]) == pytest.approx((float(ra), float(dec)), abs=1e-4)


def test_what_is_detected_does_not_depend_on_the_rows_searched_at_a_time(tile, monkeypatch):
    """Borders lie at 60, through the middle of a galaxy, at 120, through another's, and at 180."""
    whole = detect(tile)
    monkeypatch.setattr("morph.catalogs.detection.ROWS", 60)
    monkeypatch.setattr("morph.catalogs.detection.OVERLAP", 60)
    parts = detect(tile)
    assert len(parts) == len(whole) == len(GALAXIES)
    for column, tolerance in {"x": 0.1, "y": 0.1, "radius": 0.05, "mag_g": 0.05, "mag_r": 0.05, "mag_i": 0.05}.items():
        np.testing.assert_allclose(parts[column], whole[column], atol=tolerance)


def test_a_detected_size_is_that_of_a_single_image(tile):
    found = detect(tile)
    alone = measure_radii(tile, found["x"], found["y"]) * tile.pixel_scale
    np.testing.assert_allclose(found["radius"], alone, rtol=0.05)


def test_point_sources_and_noise_are_no_galaxies(tmp_path):
    point = 0.95 / 2.3548 / SCALE  # the seeing as a Gaussian's sigma, pixels
    write_tile(tmp_path, galaxies=[(60.0, 60.0, point, 200.0), (150.0, 150.0, 5.0, 60.0), (60.0, 180.0, 4.0, 0.3)])
    with Tile.open(tmp_path) as tile:
        found = detect(tile)
        assert [(round(x), round(y)) for x, y in found["x", "y"]] == [(150, 150)]
        assert len(detect(tile, smallest=0.0)) == 2


@pytest.mark.parametrize("point", [1.1, 2.4])
def test_point_sources_are_as_large_as_the_tiles_own(tmp_path, point):
    """The survey's own would be 1.53 pixels, as a Gaussian's sigma."""
    stars = [(30.0 + 45 * i, 30.0 + 60 * j, point, 30.0 * 1.4**i) for i in range(5) for j in range(2)]
    write_tile(tmp_path, galaxies=[*stars, (120.0, 150.0, 1.5 * point, 40.0)])
    with Tile.open(tmp_path) as tile:
        found = detect(tile)
    assert [(round(x), round(y)) for x, y in found["x", "y"]] == [(120, 150)]
    assert found["mag_g"][0] - found["mag_r"][0] == pytest.approx(-2.5 * np.log10(COLOUR["g"]), abs=0.06)


@pytest.mark.parametrize("blank", ["masked", "flat"])
def test_a_blank_tile_has_no_sources(tmp_path, blank):
    mask = np.ones((SIZE, SIZE)) if blank == "masked" else None
    write_tile(tmp_path, mask=mask, galaxies=[])
    with Tile.open(tmp_path) as tile:
        if blank == "flat":
            for band in tile.bands:
                tile.plane(band)[:] = 0
        assert len(detect(tile)) == 0


def test_masked_pixels_are_not_detected(tmp_path):
    mask = np.zeros((SIZE, SIZE))
    mask[100:140, 100:140] = 1
    write_tile(tmp_path, mask=mask)
    with Tile.open(tmp_path) as tile:
        found = detect(tile)
    assert not ((np.abs(found["x"] - 120) < 15) & (np.abs(found["y"] - 120) < 15)).any()


def test_a_missing_band_is_not_a_obstacle(tmp_path):
    write_tile(tmp_path, "ri")
    with Tile.open(tmp_path) as tile:
        found = detect(tile)
    assert len(found) == len(GALAXIES)
    assert np.isnan(found["mag_g"]).all()
    assert np.isfinite(found["mag_r"]).all()


def test_a_catalogue_without_sizes_is_measured_on_the_image(tile):
    placed = locate(tile, catalogue(tile))
    np.testing.assert_allclose(placed["x"], [row[0] for row in INNER], atol=1e-3)
    np.testing.assert_allclose(placed["radius"], [HALF_LIGHT * row[2] * SCALE for row in INNER], rtol=0.05)


def test_a_catalogue_with_sizes_is_believed(tile):
    assert locate(tile, catalogue(tile, radius=2.5))["radius"].tolist() == [2.5] * 3


def test_where_nothing_stands_out_the_size_is_a_point_sources(tile):
    (radius,) = measure_radii(tile, np.array([200.0]), np.array([200.0]))
    assert radius * SCALE == pytest.approx(0.631 * 0.95, rel=0.01)


def test_rows_belong_to_the_tile_that_they_name(tile):
    on_and_off = [INNER[0], (-500.0, 20.0, 5.0, 1.0)]
    assert locate(tile, catalogue(tile, on_and_off))["id"].tolist() == ["galaxy-0"]
    assert locate(tile, catalogue(tile, on_and_off, tile.name))["id"].tolist() == ["galaxy-0", "galaxy-1"]
    assert len(locate(tile, catalogue(tile, on_and_off, "DES0001-0541"))) == 0


def test_the_other_side_of_the_sky_is_not_on_the_tile(tile):
    rows = catalogue(tile, INNER[:1])
    rows["ra"], rows["dec"] = (rows["ra"] + 180) % 360, -rows["dec"]
    assert len(locate(tile, rows)) == 0


def test_a_position_that_is_not_a_number_is_on_no_tile(tile):
    rows = catalogue(tile, INNER[:2])
    rows["ra"][0] = np.nan
    assert locate(tile, rows)["id"].tolist() == ["galaxy-1"]


@pytest.mark.real
def test_a_real_field_has_galaxies_and_no_bright_star_twice(real_data):
    with Tile.open(real_data / "des-coadd-cutout") as tile:
        found = detect(tile)
        placed = locate(tile, catalogue(tile, list(zip(found["x"], found["y"], strict=True))))
    assert 4 <= len(found) <= 12
    assert np.hypot(found["x"] - 75.8, found["y"] - 28.8).min() < 1  # the largest galaxy
    np.testing.assert_allclose(placed["radius"], found["radius"], rtol=0.25)
