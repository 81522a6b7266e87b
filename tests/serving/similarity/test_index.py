"""The search: the galaxies nearest to a query, those and no others that meet the conditions, and as many as asked."""

import json
import shutil

import numpy as np
import pytest

from morph.errors import InputError
from serving.similarity import Index
from serving.similarity.build import build
from serving.similarity.cone import separation
from tests.serving.similarity.conftest import MODEL, clustered, source


@pytest.fixture(scope="module")
def index(galaxies_index):
    return Index.open(galaxies_index)


@pytest.fixture(scope="module")
def names() -> np.ndarray:
    return np.array([f"{tile}-{k}" for tile in "abc" for k in range(1000)])


def test_an_index_says_what_it_holds(index):
    assert (len(index), index.dimension, index.surveys) == (3000, 16, ("des",))
    assert (index.model, index.model_version, index.digest) == ("morph", "7", MODEL.weights)
    assert {"id", "mag_r", "survey"} <= {*index.columns}


def test_the_nearest_come_first_with_their_cosines(index, vectors, names):
    query = clustered(1, seed=5)[0]
    hits = index.search(query, n=20)
    cosines = vectors @ query
    best = np.argsort(-cosines)[:20]
    assert hits["id"].to_pylist() == names[best].tolist()
    np.testing.assert_allclose(hits["similarity"], cosines[best], atol=1e-3)
    assert hits.column_names[:6] == ["id", "ra", "dec", "tile", "similarity", "survey"]


def test_a_galaxy_has_its_vector_and_its_row(index, vectors):
    np.testing.assert_allclose(index.vector_of("b-17"), vectors[1017], atol=1e-3)
    row = index.row_of("b-17")
    assert (row["id"], row["tile"], row["x"]) == ("b-17", "b", 170)
    assert index.at(row["ra"], row["dec"]) == "b-17"
    assert index.at(row["ra"] - 360, row["dec"] + 1 / 3600) == "b-17"


def test_a_missing_id_names_the_nearest(index):
    with pytest.raises(InputError, match=r"no galaxy 'b-1o1'.*nearest ids are b-1\d+, b-1\d+, b-1\d+"):
        index.vector_of("b-1o1")


def test_a_position_without_a_galaxy_names_the_nearest(index):
    row = index.row_of("a-3")
    with pytest.raises(InputError, match=r"lies within 0.001 arcsec of .*nearest is a-3, "):
        index.at(row["ra"], row["dec"] + 0.01 / 3600, radius=0.001)
    with pytest.raises(InputError, match="within a degree of 200, 80"):
        index.at(200, 80)
    with pytest.raises(InputError, match="no position 20, 95"):
        index.at(20, 95)


def test_a_condition_leaves_those_that_meet_it_and_all_of_them(index, vectors, names):
    magnitude = np.array([index.row_of(name)["mag_r"] for name in names[:1000]])
    wanted = names[:1000][magnitude < 16]
    hits = index.search(vectors[0], n=3000, where="mag_r < 16 and tile == 'a'")
    assert sorted(hits["id"].to_pylist()) == sorted(wanted.tolist())
    assert (np.diff(hits["similarity"].to_numpy()) <= 0).all()


@pytest.mark.parametrize("cone", [(3, 1, 0.5), (359.9, 0, 1.2), (5, -5, 4), (5, 0, 180)])
def test_a_cone_has_every_galaxy_inside_and_no_other(index, vectors, cone):
    everything = index.search(vectors[0], n=3000)
    away = separation(cone[0], cone[1], everything["ra"].to_numpy(), everything["dec"].to_numpy())
    expected = everything.filter(away <= cone[2])
    hits = index.search(vectors[0], n=3000, cone=cone)
    assert hits["id"].to_pylist() == expected["id"].to_pylist()
    assert len(hits) > 0


def test_conditions_and_cone_together(index, vectors):
    hits = index.search(vectors[0], n=3000, where="mag_r < 18", cone=(5, 0, 2))
    both = index.search(vectors[0], n=3000, cone=(5, 0, 2))
    bright = both["mag_r"].to_numpy() < 18
    assert hits["id"].to_pylist() == both.filter(bright)["id"].to_pylist()


def test_several_examples_are_combined_with_weights_and_away_from_others(index, vectors):
    like, unlike = vectors[:2], vectors[2:3]
    query = 0.75 * like[0] + 0.25 * like[1] - 0.1 * unlike[0]
    expected = index.search(query, n=50)
    hits = index.search(like, n=50, weights=[3, 1], unlike=unlike)
    assert hits["id"].to_pylist() == expected["id"].to_pylist()


def test_an_example_and_its_duplicates_are_no_hits(tmp_path):
    vectors = clustered(40)
    vectors[1], vectors[2] = vectors[0], vectors[0]
    ra, dec = np.linspace(10, 11, 40), np.zeros(40)
    # The second is the first in a tile's overlap; the third, far away, has a copy of its image.
    ra[1], dec[1] = ra[0] + 0.5 / 3600, 0.3 / 3600
    build([source("a", vectors, ra=ra, dec=dec)], tmp_path / "i")
    index = Index.open(tmp_path / "i")
    assert {*index.search(vectors[0], n=3)["id"].to_pylist()} == {"a-0", "a-1", "a-2"}
    hits = index.search(vectors[0], n=40, exclude=["a-0"])["id"].to_pylist()
    assert len(hits) == 38
    assert hits[0] == "a-2"
    assert {"a-0", "a-1"}.isdisjoint(hits)
    by_position = index.search(vectors[0], n=40, exclude=[(10.0, 0.0)])["id"].to_pylist()
    assert by_position == hits
    without_copies = index.search(vectors[0], n=40, exclude=["a-0"], copies=False)["id"].to_pylist()
    assert without_copies == hits[1:]


def test_galaxies_without_position_have_duplicates_by_their_tile(tmp_path):
    vectors, nothing = clustered(5), np.full(5, np.nan)
    x = np.array([10.0, 10.9, 30, 40, 50])
    build([source("a", vectors, ra=nothing, dec=nothing, x=x, y=np.zeros(5))], tmp_path / "i")
    index = Index.open(tmp_path / "i")
    hits = index.search(vectors[0], n=5, exclude=["a-0"])["id"].to_pylist()
    assert sorted(hits) == ["a-2", "a-3", "a-4"]
    with pytest.raises(InputError, match="passes the cone"):
        index.search(vectors[0], cone=(10, 0, 180))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"vectors": np.ones(3)}, "have 16 numbers"),
        ({"vectors": np.zeros(16)}, "no direction"),
        ({"vectors": np.full(16, np.nan)}, "not finite"),
        ({"vectors": np.empty((0, 16))}, "at least one example"),
        ({"n": 0}, "ask for 1 to 100,000"),
        ({"n": 10**6}, "1,000,000 hits; ask for 1 to 100,000"),
        ({"where": "mag_r < 3"}, "None of the 3,000 galaxies .* passes --where 'mag_r < 3'"),
        ({"where": "magr < 20"}, "no column 'magr' in the index .*did you mean 'mag_r'"),
        ({"where": "mag_r <"}, "cannot be understood"),
        ({"where": "__import__('os').system('true')"}, "cannot"),
        ({"cone": (200, 80, 1)}, "passes the cone"),
        ({"cone": (0, 0, -1)}, "between 0 and 180"),
        ({"weights": [1, 2]}, "one weight for each of the 1 examples"),
        ({"weights": [0]}, "not all 0"),
        ({"exclude": ["x"]}, "no galaxy 'x'"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(index, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        index.search(**{"vectors": np.ones(16), **arguments})


def test_a_query_of_another_model_is_refused(index):
    index.compatible_with({"name": "x", "weights": MODEL.weights, "similarity_size": 16})
    index.compatible_with({"name": "x", "version": MODEL.weights[:12], "similarity_size": 16})
    for other in ({"weights": "f" * 32, "similarity_size": 16}, {"weights": MODEL.weights, "similarity_size": 50}):
        with pytest.raises(InputError, match="models cannot be compared"):
            index.compatible_with({"name": "morph", "version": 3, **other})
    with pytest.raises(InputError, match="no similarity vectors"):
        index.compatible_with({"name": "morph", "weights": MODEL.weights})


@pytest.fixture
def copied(galaxies_index, tmp_path):
    return shutil.copytree(galaxies_index, tmp_path / "copied")


def test_a_damaged_index_is_one_sentence(copied):
    rows = next(copied.glob("shards/a.*/rows.arrow"))
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"damaged: '.*rows.arrow' has .* bytes instead of"):
        Index.open(copied)
    rows.unlink()
    with pytest.raises(InputError, match=r"rows.arrow' is missing"):
        Index.open(copied)
    rows.write_bytes(b"x" * len(whole))
    with pytest.raises(InputError, match=r"damaged: .* cannot be read"):
        Index.open(copied).row_of("a-0")
    (copied / "index.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Index.open(copied)


def test_an_index_of_a_newer_format_an_empty_and_no_index_are_one_sentence(copied, tmp_path):
    document = json.loads((copied / "index.json").read_text())
    (copied / "index.json").write_text(json.dumps({**document, "shards": []}))
    with pytest.raises(InputError, match="is empty"):
        Index.open(copied)
    (copied / "index.json").write_text(json.dumps({**document, "format": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Index.open(copied)
    (copied / "index.json").unlink()
    with pytest.raises(InputError, match="is not finished"):
        Index.open(copied)
    with pytest.raises(InputError, match="There is no index"):
        Index.open(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="is not an index"):
        Index.open(tmp_path / "other")
