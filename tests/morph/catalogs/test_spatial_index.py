"""The sorted catalogue: a tile gets its own galaxies, all of them, once, and no process holds the rest."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import angular_separation
from astropy.table import Table

from morph.catalogs import spatial_index as index
from morph.catalogs.catalog import NO_TILE, read_catalog
from morph.catalogs.spatial_index import SpatialIndex, locate
from morph.errors import InputError
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import GALAXIES as DRAWN
from tests.morph.drawn_tiles import write_tile


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """Galaxies all over the sky, some of which name a tile, and a few near the drawn tile."""
    random = np.random.default_rng(0)
    ra = np.concatenate([random.uniform(0, 360, 20_000), random.normal(59.09, 0.01, 50)])
    dec = np.concatenate([np.degrees(np.arcsin(random.uniform(-1, 1, 20_000))), random.normal(-52.811, 0.006, 50)])
    names = np.array(["", "DES0356-5248", "DES0001-0541"])[random.integers(0, 3, len(ra))]
    path = tmp_path_factory.mktemp("sky") / "sky.parquet"
    pq.write_table(pa.table({"id": np.arange(len(ra)), "ra": ra, "dec": dec, "tilename": names}), path)
    return path


@pytest.fixture
def galaxies(sky, monkeypatch):
    monkeypatch.setattr(index, "PIECE", 3000)
    return SpatialIndex.read(sky)


def test_a_tile_finds_in_the_index_what_it_finds_in_the_table(sky, galaxies, tile):
    expected = locate(tile, read_catalog(sky))
    found = galaxies.of(tile)
    assert found["id"].tolist() == expected["id"].tolist()
    np.testing.assert_array_equal(found["x"], expected["x"])
    assert len(found) > 6000  # those that name the tile, wherever they are


@pytest.mark.parametrize("place", [(59.09, -52.811), (0.1, 3.0), (359.9, -60.0), (10.0, 89.9), (200.0, -90.0)])
def test_no_galaxy_near_a_place_is_missed(sky, galaxies, place):
    table = pq.read_table(sky).to_pandas()
    away = angular_separation(*np.radians([table.ra, table.dec]), *np.radians(place))
    near = set(table.id[away <= np.radians(5)].astype(str))
    found = galaxies.near(*place, 5.0)
    assert near <= set(found["id"])
    assert len(found) < len(table) / 5


def test_another_process_gets_the_name_of_a_file(sky, tile, tmp_path):
    kept = SpatialIndex.read(sky, to=tmp_path / "kept.arrow")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.arrow"]
    sent = pickle.dumps(kept)
    assert len(sent) < 2000
    assert pickle.loads(sent).of(tile)["id"].tolist() == SpatialIndex.read(sky).of(tile)["id"].tolist()
    with pytest.raises(InputError, match="cannot be written"):
        SpatialIndex.read(sky, to=tmp_path / "kept.arrow" / "kept.arrow")


def test_a_selection_is_another_catalogue(sky):
    whole, part = SpatialIndex.read(sky), SpatialIndex.read(sky, where="dec > 0")
    assert part.where == "dec > 0"
    assert len(part) < len(whole)
    assert part.digest != whole.digest == read_catalog(sky).meta["digest"]


@pytest.fixture
def overlapping(tmp_path):
    """Two DES tiles side by side, which both show the sky between them; `.owns` parts it."""
    for name, centre in (("DES0356-5248", 59.09), ("DES0357-5248", 59.115)):
        write_tile(
            tmp_path / name,
            name=f"{name}_r4163p01",
            CRVAL1=centre,
            TILENAME=name,
            URAMIN=centre - 0.0125,
            URAMAX=centre + 0.0125,
            UDECMIN=-53.0,
            UDECMAX=-52.0,
        )
    return [tmp_path / "DES0356-5248", tmp_path / "DES0357-5248"]


@pytest.mark.parametrize("named", [False, True])
def test_a_galaxy_in_an_overlap_is_scored_once(overlapping, tmp_path, named):
    ra = np.linspace(59.085, 59.12, 40)
    rows = {"id": np.arange(40), "ra": ra, "dec": np.full(40, -52.811)}
    if named:
        rows["TILENAME"] = np.where(ra < 59.1, "DES0356-5248", "DES0357-5248")
    Table(rows).write(tmp_path / "a.csv")
    galaxies, found = SpatialIndex.read(tmp_path / "a.csv"), []
    for folder in overlapping:
        with Tile.open(folder) as tile:
            found.append(galaxies.of(tile)["id"].tolist())
    assert sorted(map(int, found[0] + found[1])) == list(range(40))
    assert min(map(len, found)) > 5


def test_two_tiles_own_catalogues_score_what_both_list_once(overlapping, tmp_path):
    ra = np.linspace(59.101, 59.104, 20)
    names = [folder.name for folder in overlapping]
    for shift, name in enumerate(names):
        rows = Table({"NUMBER": np.arange(20), "ra": ra + 1e-6 * shift, "dec": np.full(20, -52.811)})
        rows.write(tmp_path / f"{name}_cat.csv")
    galaxies = SpatialIndex.read(tmp_path / "*_cat.csv", tiles=names)
    assert len(galaxies) == 40
    found = {}
    for folder in overlapping:
        with Tile.open(folder) as tile:
            found[folder.name] = galaxies.of(tile)["id"].tolist()
    numbers = [int(name.rpartition("-")[2]) for ids in found.values() for name in ids]
    assert sorted(numbers) == list(range(20))
    assert all(name.startswith(tile) for tile, ids in found.items() for name in ids)


def test_sextractors_pixels_count_from_one(tile, tmp_path):
    x, y = np.array([row[0] for row in DRAWN]), np.array([row[1] for row in DRAWN])
    rows = Table({"NUMBER": np.arange(4), "X_IMAGE": x + 1, "Y_IMAGE": y + 1})
    rows.write(tmp_path / "DES0356-5248_cat.csv")
    found = SpatialIndex.read(tmp_path / "DES0356-5248_cat.csv", tiles=["DES0001-0541", tile.name]).of(tile)
    np.testing.assert_allclose(found["x"], x)
    np.testing.assert_allclose(tile.pixels(found["ra"], found["dec"]), [x, y], atol=1e-6)
    with pytest.raises(InputError, match=NO_TILE):
        SpatialIndex.read(tmp_path / "DES0356-5248_cat.csv", tiles=["DES0001-0541", "DES0002-0541"])


def test_sizes_in_pixels_are_the_images_whatever_its_survey_has(tmp_path):
    write_tile(tmp_path / "coarse", PC1_1=-0.5 / 3600, PC2_2=0.5 / 3600)
    rows = Table({"NUMBER": [1, 2], "ra": [59.09] * 2, "dec": [-52.811] * 2, "FLUX_RADIUS": [4.0, np.nan]})
    rows.write(tmp_path / "pixels.csv")
    rows.rename_column("FLUX_RADIUS", "radius")
    rows.write(tmp_path / "arcsec.csv")
    with Tile.open(tmp_path / "coarse") as tile:
        for name, radius in (("pixels", 4 * 0.5), ("arcsec", 4.0)):
            found = SpatialIndex.read(tmp_path / f"{name}.csv").of(tile)["radius"]
            np.testing.assert_allclose(found, [radius, np.nan], rtol=1e-4)
