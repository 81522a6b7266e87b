"""`morph index` and `morph similar` as people call them."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from PIL import Image

from morph.stamps.stretch import to_composite, white_level
from morph.tiles.tile import Tile
from serving.similarity import Index
from tests.serving.conftest import galaxies
from tests.serving.scores.invented import write_tiles


@pytest.fixture(scope="module")
def index(invented_index):
    return Index.open(invented_index)


def test_scores_become_an_index_which_finds_a_galaxys_like(morph, tmp_path):
    scores = write_tiles(tmp_path / "scores", 2)
    status, out, _ = morph("index", scores, "--to", tmp_path / "i")
    assert status == 0
    assert "72 galaxies in 2 shards; sources: 2 added, 0 changed, 0 unchanged" in out
    assert "Left out: 8 galaxies without data" in out
    status, out, _ = morph("index", scores, "--to", tmp_path / "i", "--merge")
    assert "72 galaxies in 1 shard; sources: 0 added, 0 changed, 2 unchanged" in out
    status, out, _ = morph("similar", tmp_path / "i", "--id", "DES0000-0000-3", "-n", 5)
    assert status == 0
    assert "5 of 72 galaxies." in out
    # Both tiles have the same vectors.
    assert re.search(r"^1 +DES0001-0000-3 .* 1\.0000 ", out, re.MULTILINE)
    assert "DES0000-0000-3 " not in out


@pytest.mark.parametrize("ending", ["parquet", "fits", "csv"])
def test_hits_are_written_as_tables(morph, index, tmp_path, ending):
    path = tmp_path / f"hits.{ending}"
    where = "mag_r < 21.8 and smooth-or-featured_smooth < 0.6"
    row = index.row_of("DES0001-0000-5")
    position = f"{row['ra']},{row['dec']}"
    status, _, err = morph("similar", index.folder, "--position", position, "--where", where, "-n", 12, "--to", path)
    assert (status, err) == (0, f"morph: The galaxy at {position} is DES0001-0000-5.\n")
    expected = index.search(index.vector_of("DES0001-0000-5"), 12, where=where, exclude=["DES0001-0000-5"])
    table = Table.read(path)
    assert list(map(str, table["id"])) == expected["id"].to_pylist()
    np.testing.assert_allclose(table["similarity"], expected["similarity"], atol=1e-5)
    assert not {"picture", "_healpix_29"} & {*table.colnames}
    if ending != "csv":
        assert str(table["mag_r"].unit) == "mag"
    if ending == "parquet":
        assert json.loads(pq.read_schema(path).metadata[b"table_meta_yaml"])["meta"]["where"] == where


def test_examples_are_combined_and_unlike_ones_pushed_away(morph, index, tmp_path):
    like, unlike = ["DES0000-0000-1", "DES0001-0000-2"], ["DES0002-0000-3"]
    options = [*(f"--like={name}" for name in like), f"--unlike={unlike[0]}", "--cone", "0,0,0.04", "-n", "9"]
    status, _, _ = morph("similar", index.folder, *options, "--to", tmp_path / "hits.csv")
    assert status == 0
    vectors = [np.stack([index.vector_of(name) for name in names]) for names in (like, unlike)]
    expected = index.search(vectors[0], 9, unlike=vectors[1], cone=(0, 0, 0.04), exclude=[*like, *unlike])
    assert list(Table.read(tmp_path / "hits.csv")["id"]) == expected["id"].to_pylist()


def test_the_page_shows_every_hit_with_its_picture_or_says_that_there_is_none(morph, index, tmp_path):
    # The first galaxy of a tile has a picture; names are text, whatever they hold.
    name = "DES0000-0000-3"
    status, _, _ = morph("similar", index.folder, "--id", name, "-n", 90, "--page", tmp_path / "hits.html")
    assert status == 0
    page = (tmp_path / "hits.html").read_text()
    assert page.count("<figure") == 90
    assert page.count("data:image/jpeg") == 3
    assert page.count("no picture</div>") == 87
    assert "87 have no picture here" in page
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is loaded"


def test_pictures_are_cut_from_tiles(morph, tile_index, tiles_folder, tmp_path):
    opened = Index.open(tile_index)
    name = str(opened.shards[0].rows["id"][0])
    page = tmp_path / "hits.html"
    assert morph("similar", tile_index, "--id", name, "--page", page, "--tiles", tiles_folder)[0] == 0
    # The example, too.
    assert page.read_text().count("data:image/jpeg") == len(opened)
    # Tiles that are not there any more are reported, and those of other galaxies show nothing.
    status, _, err = morph("similar", tile_index, "--id", name, "--page", page, "--tiles", tmp_path / "moved")
    assert status == 2
    assert err.count("\n") == 1
    assert "moved" in err


def test_an_image_finds_galaxies_through_a_server_and_by_the_model_itself(
    morph, tile_index, tiles, server, weights, tmp_path
):
    opened, path = Index.open(tile_index), tmp_path / "galaxy.png"
    flux = galaxies(1, seed=5)[0]
    Image.fromarray(to_composite(flux, white_level(flux))).save(path)
    status, out, _ = morph("similar", tile_index, "--image", path, "--server", server.address, "-n", 5)
    assert status == 0
    assert "5 of " in out
    # The weights are those of the server, but the index was made without their digest.
    status, _, err = morph("similar", tile_index, "--image", path, "--model", weights)
    assert status == 2
    assert "vectors of different models cannot be compared" in err
    # A cutout of a galaxy of the index is that galaxy, by its place.
    with Tile.open(tiles[0].paths) as tile:
        row = next(row for shard in opened.shards for row in shard.rows.to_pylist() if row["tile"] == tile.name)
        x, y, half = round(row["x"]), round(row["y"]), 24
        planes = [tile.plane(band)[max(y - half, 0) : y + half, max(x - half, 0) : x + half] for band in tile.bands]
        wcs: WCS = tile.wcs[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    cube = fits.PrimaryHDU(np.stack(planes), header=wcs.to_header())
    cube.header["BANDS"], cube.header["MAGZERO"] = "gri", 22.5
    cube.writeto(tmp_path / "cutout.fits")
    options = ["--survey", "des", "--server", server.address, "--to", tmp_path / "hits.csv"]
    assert morph("similar", tile_index, "--image", tmp_path / "cutout.fits", *options)[0] == 0
    assert len(Table.read(tmp_path / "hits.csv")) >= len(opened) - 1


def test_a_dataset_is_indexed_with_its_pictures(morph, weights, tmp_path):
    from morph.dataset_writer import GalaxiesWriter, Galaxy
    from morph.votes import empty_votes

    with GalaxiesWriter(tmp_path / "sample", "flux", 64) as writer:
        for number, image in enumerate(galaxies(9)):
            writer.add(Galaxy(f"g{number}", "des", image, empty_votes(), 10.0 + number, -3.0, {"mag_r": 18.0}))
    assert morph("index", tmp_path / "sample", "--to", tmp_path / "i", "--model", weights)[0] == 0
    index = Index.open(tmp_path / "i")
    row = index.row_of("g4")
    assert (row["ra"], row["survey"], row["mag_r"]) == (14.0, "des", 18.0)
    assert row["picture"][:2] == b"\xff\xd8"
    answers = index.search(index.vector_of("g4"), 3)
    assert answers["id"][0].as_py() == "g4"
    # The model is that of the index, and its own image is found as a copy, which is no hit.
    Image.fromarray(np.zeros((64, 64, 3), "uint8")).save(tmp_path / "blank.png")
    status, _, err = morph("similar", tmp_path / "i", "--image", tmp_path / "blank.png", "--model", weights)
    assert status == 2
    assert "nothing but one colour" in err
    status, _, err = morph("index", tmp_path / "sample", "--to", tmp_path / "j")
    assert status == 2
    assert "without vectors; name the model that makes them by --model" in err


def test_a_hats_catalogue_is_indexed_by_its_partitions(morph, tmp_path):
    from morph import open_scores

    scores = write_tiles(tmp_path / "scores")
    open_scores(scores).to_hats(tmp_path / "hats")
    assert morph("index", tmp_path / "hats", "--to", tmp_path / "i")[0] == 0
    assert morph("index", scores, "--to", tmp_path / "j")[0] == 0
    first, second = Index.open(tmp_path / "i"), Index.open(tmp_path / "j")
    vector = first.vector_of("DES0001-0000-4")
    # The order of those with one vector is that of the shards.
    found = [
        sorted(zip(*each.search(vector, 108).select(["similarity", "id"]).to_pydict().values(), strict=True))
        for each in (first, second)
    ]
    assert [name for _, name in found[0]] == [name for _, name in found[1]]
    # HATS has no pictures.
    assert {**first.row_of("DES0001-0000-4"), "picture": None} == second.row_of("DES0001-0000-4")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "needs an example; give --image, --id, --position or --like"),
        (["--id", "DES0001-0000-5x"], r"no galaxy 'DES0001-0000-5x' .*nearest ids are DES0001-0000-5"),
        (["--position", "40,80"], "within a degree of 40, 80"),
        (["--position", "here"], "not a position; write RA,DEC"),
        (["--position", "0,95"], "no position 0, 95"),
        (["--image", "none.png", "--model", "m.keras"], r"image 'none.png' does not exist|no model at 'm.keras'"),
        (["--image", "some.png"], r"needs the model of the index, morph 7 .*--server, or the model itself by --model"),
        (["--id", "DES0001-0000-5", "--where", "mag_x < 3"], "no column 'mag_x'.*did you mean 'mag_"),
        (["--id", "DES0001-0000-5", "--where", "mag_r < 3"], "passes --where 'mag_r < 3'"),
        (["--id", "DES0001-0000-5", "--where", "().__class__"], "--where"),
        (["--id", "DES0001-0000-5", "--cone", "1,2"], "is not RA,DEC,RADIUS"),
        (["--id", "DES0001-0000-5", "--cone", "100,2,1"], "passes the cone"),
        (["--id", "DES0001-0000-5", "-n", "1000000"], "1,000,000 hits; ask for 1 to 100,000"),
        (["--id", "DES0001-0000-5", "-n", "0"], "0 hits; ask for 1"),
        (["--id", "DES0001-0000-5", "--to", "hits.xlsx"], r"should end in one of .parquet, .fits, .csv"),
        (["--id", "DES0001-0000-5", "--to", "some.png/hits.csv"], "cannot be written"),
    ],
)
def test_a_wrong_argument_is_one_sentence(morph, invented_index, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((64, 64, 3), "uint8")).save("some.png")
    status, _, err = morph("similar", invented_index, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("morph: ")
    assert re.search(sentence, err)


def test_an_index_that_cannot_be_searched_is_one_sentence(morph, invented_index, tmp_path):
    for path, sentence in ((tmp_path / "none", "There is no index"), (tmp_path, "is not an index")):
        status, _, err = morph("similar", path, "--id", "x")
        assert (status, err.count("\n")) == (2, 1)
        assert sentence in err
    copied = shutil.copytree(invented_index, tmp_path / "copied")
    vectors = next(copied.glob("shards/*/vectors.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-10])
    status, _, err = morph("similar", copied, "--id", "x")
    assert (status, err.count("\n")) == (2, 1)
    assert "damaged" in err
    status, _, err = morph("index", "--to", tmp_path / "new")
    assert (status, err.count("\n")) == (2, 1)
    assert "name scores to make it from" in err
