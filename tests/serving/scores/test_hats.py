"""The HATS catalogue: every galaxy once, where LSDB looks for it, with margins that a match needs."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial import cKDTree

from morph.errors import InputError
from serving.scores.hats import CELLS, FINEST, THRESHOLD, Partitions, healpix_29, write_hats
from serving.scores.score_files import ScoreFiles
from tests.serving.scores.invented import write_tile, write_tiles

ROWS = 500


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """3,000 galaxies on three small overlapping tiles, and one without a place."""
    folder = write_tiles(tmp_path_factory.mktemp("hats") / "scores", galaxies=1000, size=0.15)
    write_tile(folder, "nowhere", np.array([1.0]), np.array([np.nan]))
    left_out = write_hats(ScoreFiles.open(folder), folder.parent / "hats", {"model": "morph"}, rows=ROWS)
    assert left_out == 1
    return folder, folder.parent / "hats"


def partitions_of(catalogue) -> dict[tuple[int, int], pa.Table]:
    """{(order, pixel): its rows}, from the paths that HATS prescribes."""
    lines = (catalogue / "partition_info.csv").read_text().split()
    assert lines[0] == "Norder,Npix"
    found = {}
    for order, pixel in (map(int, line.split(",")) for line in lines[1:]):
        folder = catalogue / "dataset" / f"Norder={order}" / f"Dir={pixel // 10_000 * 10_000}"
        with pq.ParquetFile(folder / f"Npix={pixel}.parquet") as file:
            found[order, pixel] = file.read()
    assert len(found) == len(list(catalogue.rglob("*.parquet")))
    return found


def test_every_galaxy_with_a_place_is_in_the_partition_of_its_place(collection):
    folder, path = collection
    found = partitions_of(path / "morph")
    for (order, pixel), table in found.items():
        index = table["_healpix_29"].to_numpy()
        assert (np.diff(index) >= 0).all()
        assert (index >> 2 * (FINEST - order) == pixel).all()
        np.testing.assert_array_equal(index, healpix_29(table["ra"].to_numpy(), table["dec"].to_numpy()))
    rows = pa.concat_tables(found.values()).drop_columns("_healpix_29").sort_by("id")
    scores = pq.read_table(folder).filter(pa.compute.field("tile") != "nowhere").sort_by("id")
    assert rows.equals(scores.select(rows.column_names))


def test_partitions_hold_few_galaxies_and_are_no_smaller_than_needed(collection):
    sizes = {key: len(table) for key, table in partitions_of(collection[1] / "morph").items()}
    assert max(sizes.values()) <= ROWS
    for order, pixel in sizes:
        siblings = [
            n for (other, q), n in sizes.items() if other >= order and q >> 2 * (other - order + 1) == pixel >> 2
        ]
        assert sum(siblings) > ROWS


def test_a_margin_has_every_galaxy_that_is_close_to_the_partition(collection):
    _, path = collection
    found, margins = partitions_of(path / "morph"), partitions_of(path / "morph_10arcs")

    def directions(table):
        ra, dec = np.deg2rad(table["ra"].to_numpy()), np.deg2rad(table["dec"].to_numpy())
        return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])

    trees = {key: cKDTree(directions(table)) for key, table in found.items()}
    pairs = 0
    for one, other in itertools.permutations(found, 2):
        close = trees[one].query_ball_tree(trees[other], np.deg2rad(THRESHOLD / 3600))
        ids = found[other]["id"].to_pylist()
        needed = {ids[j] for row in close for j in row}
        assert needed <= set(margins[one]["id"].to_pylist() if one in margins else ())
        pairs += len(needed)
    assert pairs > 20, "the test is about nothing"
    for key, table in margins.items():
        assert not set(table["id"].to_pylist()) & set(found[key]["id"].to_pylist())


def test_properties_say_what_is_there(collection):
    _, path = collection
    main, margin = (
        dict(line.split("=", 1) for line in (path / name / "hats.properties").read_text().splitlines()[1:])
        for name in ("morph", "morph_10arcs")
    )
    assert main["hats_nrows"] == "3000"
    assert margin["hats_primary_table_url"] == "morph"
    assert "default_margin=morph_10arcs" in (path / "collection.properties").read_text()
    schema = pq.read_schema(path / "morph" / "dataset" / "_common_metadata")
    assert schema.field("ra").metadata[b"unit"] == b"deg"
    assert b"morph" in schema.metadata


def test_partitions_of_crowded_and_empty_sky():
    cells = np.array([0, 1, 2, 3, 4 ** (CELLS + 1) * 2, 4**CELLS * 11 + 5])
    partitions = Partitions.of(cells, np.array([900, 1, 1, 1, 5, 5]), most=100)
    # The crowded cell cannot be cut further; the lonely ones have a pixel of the whole sky's twelve.
    assert list(zip(partitions.order.tolist(), partitions.pixel.tolist(), strict=True)) == [
        *((CELLS, pixel) for pixel in range(4)),
        (0, 8),
        (0, 11),
    ]
    assert partitions.find(np.array([0, 3, 4, -1, 4**CELLS * 11]), CELLS).tolist() == [0, 3, -1, -1, 5]


def test_a_damaged_score_file_leaves_the_old_catalogue_as_it_was(tmp_path):
    folder = write_tiles(tmp_path / "scores", tiles=1)
    scores = ScoreFiles.open(folder)
    write_hats(scores, tmp_path / "hats", {})
    before = sorted(tmp_path.rglob("*"))
    path = folder / "DES0000-0000.parquet"
    # The footer is whole, the rows are not.
    content = bytearray(path.read_bytes())
    content[4:3000] = bytes(2996)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read"):
        write_hats(scores, tmp_path / "hats", {})
    assert sorted(tmp_path.rglob("*")) == before


def test_galaxies_that_lie_nowhere_make_no_catalogue(tmp_path):
    nowhere = np.full(3, np.nan)
    write_tile(tmp_path / "scores", "DES0000-0000", nowhere, nowhere)
    with pytest.raises(InputError, match=r"None of the galaxies has coordinates.* leave out --hats"):
        write_hats(ScoreFiles.open(tmp_path / "scores"), tmp_path / "hats", {})
    assert not (tmp_path / "hats").exists()


def test_lsdb_opens_searches_and_matches(collection):
    lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
    folder, path = collection
    catalogue = lsdb.open_catalog(path)
    assert len(catalogue) == 3000
    near = catalogue.cone_search(ra=0, dec=0, radius_arcsec=200).compute()
    scores = pq.read_table(folder)
    apart = np.hypot((scores["ra"].to_numpy() + 180) % 360 - 180, scores["dec"].to_numpy()) * 3600
    assert set(near["id"]) == set(np.array(scores["id"].to_pylist())[apart < 200])
    names = {"suffixes": ("_a", "_b"), "suffix_method": "all_columns"}
    matched = catalogue.crossmatch(catalogue, radius_arcsec=1, **names).compute()
    assert len(matched) == 3000
    assert (matched["id_a"] == matched["id_b"]).all()
