"""Tiles that overlap: of those that show a position just one answers for it, whoever asks and about what else."""

import pickle

import numpy as np
import pytest
from astropy.table import Table

from morph.catalogs.catalog import read_catalog
from morph.catalogs.detection import detect
from morph.catalogs.spatial_index import SpatialIndex, place
from morph.tiles.discovery import find_tiles
from morph.tiles.footprints import Footprint, on_any, overlaps
from morph.tiles.overlaps import find_overlaps
from morph.tiles.tile import Tile
from tests.morph.drawn_tiles import SCALE, SIZE, sky_of, write_band
from tests.morph.tiles.survey_files import FRAME, frame_sky

STEP = SIZE * SCALE / 3600  # degrees
SIP = {"A_ORDER": 2, "A_2_0": 2.0e-4, "A_1_1": 3.0e-4, "B_ORDER": 2, "B_0_2": -2.0e-4}


def footprint(name: str, **header) -> Footprint:
    sky = sky_of()
    sky.update(header)
    return Footprint.of_header(name, "", sky, (SIZE, SIZE))


@pytest.fixture(scope="module")
def crowd() -> list[Footprint]:
    """Thirty images around one place and a right ascension of 0: turned, of several scales, one in three distorted."""
    random = np.random.default_rng(0)
    made = []
    for i in range(30):
        angle, size = random.uniform(0, 2 * np.pi), random.uniform(0.7, 1.4)
        turn = dict(
            zip(("PC1_1", "PC1_2", "PC2_1", "PC2_2"), rotation(angle).ravel() * size * SCALE / 3600, strict=True)
        )
        place = {"CRVAL1": random.normal(0, STEP) % 360, "CRVAL2": random.normal(-30, STEP), "CDELT1": 1, "CDELT2": 1}
        bent = {**SIP, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"} if i % 3 == 0 else {}
        made.append(footprint(f"tile-{i:02d}", **place, **turn, **bent))
    return made


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def owners(footprints, ra, dec) -> np.ndarray:
    """How many of the images that show a position answer for it, as each would find out by itself."""
    found = overlaps(footprints)
    return np.sum([(o.own.edge_distance(ra, dec) >= 0) & o.owns(ra, dec) for o in found.values()], axis=0)


def test_every_position_that_is_shown_has_one_owner(crowd):
    random = np.random.default_rng(1)
    ra, dec = random.normal(0, 2 * STEP, 20_000) % 360, random.normal(-30, 2 * STEP, 20_000)
    shown = on_any(crowd, ra, dec)
    assert 0.3 < shown.mean() < 0.7
    np.testing.assert_array_equal(owners(crowd, ra, dec), shown)
    some = [crowd[i] for i in (7, 3, 20, 12)]
    np.testing.assert_array_equal(owners(some, ra, dec), on_any(some, ra, dec))


def test_an_answer_depends_on_nothing_else_that_is_asked(crowd):
    random = np.random.default_rng(2)
    ra, dec = random.normal(0, STEP, 500) % 360, random.normal(-30, STEP, 500)
    for own in crowd[:4]:
        elsewhere = pickle.loads(pickle.dumps(own))
        alone = np.concatenate([elsewhere.edge_distance(ra[i : i + 1], dec[i : i + 1]) for i in range(500)])
        np.testing.assert_array_equal(alone, own.edge_distance(ra, dec))


def test_the_owner_is_the_image_in_which_a_position_lies_deepest():
    """Two images side by side that share 40 columns, and one that lies far away."""
    left = footprint("left")
    right = footprint("right", CRPIX1=left.wcs.wcs.crpix[0] - 200)
    found = overlaps([footprint("far", CRVAL1=70.0), right, left])
    assert [[other.name for other in found[name].others] for name in ("far", "left", "right")] == [
        [],
        ["right"],
        ["left"],
    ]
    x, y = np.array([190.0, 205, 219, 220, 235, 250]), np.full(6, 120.0)
    ra, dec = left.wcs.wcs_pix2world(x, y, 0)
    assert found["left"].owns(ra, dec).tolist() == [True] * 3 + [False] * 3
    assert found["right"].owns(ra, dec).tolist() == [False] * 3 + [True] * 3


def test_of_two_copies_the_first_by_name_answers():
    found = overlaps([footprint("b"), footprint("a")])
    ra, dec = (np.full(1, value) for value in found["a"].own.circle[:2])
    assert (found["a"].owns(ra, dec)[0], found["b"].owns(ra, dec)[0]) == (True, False)


def test_the_other_side_of_the_sky_is_on_no_image():
    own = footprint("a")
    ra, dec = (np.full(1, value) for value in own.circle[:2])
    assert own.edge_distance(ra, dec)[0] == pytest.approx(SIZE / 2 * SCALE)
    assert own.edge_distance((ra + 180) % 360, -dec)[0] == -np.inf


def test_fields_of_one_scan_part_the_rows_that_they_share_in_the_middle():
    """128 rows of an SDSS frame are the next one's first."""
    here = Footprint.of_header("1", "", frame_sky().to_header(), FRAME)
    beyond = Footprint.of_header("2", "", frame_sky(dy=-(FRAME[0] - 128)).to_header(), FRAME)
    y = np.array([1300.0, 1424.0, 1425.0, 1480.0])
    found = overlaps([here, beyond])["1"].owns(*here.wcs.wcs_pix2world(np.full(4, 900.0), y, 0))
    assert found.tolist() == [True, True, False, False]


# --- Files -----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """The files of two images without a survey's name, side by side; they share 80 of 240 columns."""
    for name, shift in (("east", 0.0), ("west", 160.0)):
        galaxies = [(120 + shift - x, 60.0 + 40 * i, 5.0, 60.0) for i, x in enumerate((60, 130, 150))]
        drawn = [(x, y, *light) for x, y, *light in galaxies if -20 < x < SIZE + 20]
        write_band(tmp_path, "r", name, galaxies=drawn, TILENAME=None, CRPIX1=(SIZE + 1) / 2 + shift)
    return find_tiles(tmp_path)


def opened(groups) -> list[Tile]:
    found = find_overlaps(groups)
    return [Tile.open(group, overlap=found.get(group[0].name[:4])) for group in groups]


def test_a_galaxy_on_two_images_is_detected_on_one(pair):
    alone = [len(detect(Tile.open(group))) for group in pair]
    assert [len(detect(tile)) for tile in opened(pair)] == [len(detect(tile)) for tile in opened(pair[::-1])][::-1]
    assert sum(len(detect(tile)) for tile in opened(pair)) == 3 < sum(alone)


@pytest.mark.parametrize("named", ["nobody", "east", "its own file"])
def test_a_galaxy_of_the_catalogue_is_on_one_image(pair, tmp_path, named):
    x = np.linspace(-150.0, 235.0, 200)
    ra, dec = Tile.open(pair[0]).sky(x, np.full(200, 100.0))
    rows = Table({"NUMBER": np.arange(200), "ra": ra, "dec": dec})
    if named == "east":
        rows["tilename"] = "east"
    if named == "its own file":
        rows[x > -0.5].write(tmp_path / "east_cat.csv")
        rows[x < 79.5].write(tmp_path / "west_cat.csv")
    else:
        rows.write(tmp_path / "all_cat.csv")
    galaxies = SpatialIndex.read(tmp_path / "*_cat.csv", tiles=["east", "west"])
    found = [set(galaxies.of(tile)["id"]) for tile in opened(pair)]
    if named == "east":
        assert [len(ids) for ids in found] == [200, 0]
    else:
        numbers = [int(identifier.rpartition("-")[2]) for ids in found for identifier in ids]
        assert sorted(numbers) == list(range(200))
        assert min(map(len, found)) > 50


def test_cutouts_of_one_tile_share_its_galaxies(tmp_path):
    for name, shift in (("east", 0.0), ("west", 160.0)):
        write_band(tmp_path, "r", name, galaxies=[], CRPIX1=(SIZE + 1) / 2 + shift)
    groups = find_tiles(tmp_path)
    ra, dec = Tile.open(groups[0]).sky(np.linspace(-150.0, 235.0, 50), np.full(50, 100.0))
    rows = Table({"id": np.arange(50), "ra": ra, "dec": dec, "tilename": ["DES0356-5248"] * 50})
    rows.write(tmp_path / "a.csv")
    found = [place(tile, read_catalog(tmp_path / "a.csv"))["id"].tolist() for tile in opened(groups)]
    assert sorted(map(int, found[0] + found[1])) == list(range(50))


def test_what_a_damaged_image_shows_is_left_to_its_neighbours(pair):
    damaged = pair[1][0]
    damaged.write_bytes(damaged.read_bytes()[:200_000])
    found = find_overlaps(pair)
    assert list(found) == ["east"]
    assert found["east"].others == ()


def test_tiles_that_a_rule_parts_are_not_looked_at(tmp_path):
    """These are no FITS files, and nobody finds out."""
    names = (
        "DES0356-5248_r4163p01_g.fits.fz",
        "DES0357-5248_r4163p01_g.fits.fz",
        "legacysurvey-0001p000-image-r.fits.fz",
    )
    assert find_overlaps([[tmp_path / name] for name in names]) == {}
