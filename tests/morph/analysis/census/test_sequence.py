"""Types of galaxies, the map of shapes, and what `morph sequence` writes."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from morph.analysis.census.shape_map import ShapeMap
from morph.analysis.census.types import types_of, types_of_votes
from morph.decision_tree import ANSWERS, TREE
from morph.votes import empty_votes, set_votes
from tests.morph.analysis.census.invented import model_answers, population
from tests.serving.scores.invented import write_tiles

WORTH = np.full((1, len(TREE)), 30.0)


def sure(*answers: str) -> np.ndarray:
    """The probabilities of a galaxy with these answers, and no knowledge of the others: [1, answers]."""
    p = np.concatenate([np.full(len(question.answers), 1 / len(question.answers)) for question in TREE])
    for name in answers:
        part = TREE.slices[name.rsplit("_", 1)[0]]
        p[part] = 0
        p[ANSWERS.index(name)] = 1
    return p[None]


SPIRAL = ("smooth-or-featured_featured-or-disk", "disk-edge-on_no", "has-spiral-arms_yes")


@pytest.mark.parametrize(
    ("answers", "place"),
    [
        (("smooth-or-featured_smooth", "how-rounded_round"), -5),
        (("smooth-or-featured_smooth", "how-rounded_cigar-shaped"), -3),
        ((*SPIRAL[:2], "has-spiral-arms_no", "bulge-size_dominant"), -2),
        ((*SPIRAL, "bulge-size_dominant"), 1),
        ((*SPIRAL, "bulge-size_moderate"), 3),
        ((*SPIRAL, "bulge-size_small"), 5),
        ((*SPIRAL, "bulge-size_none"), 7),
        ((SPIRAL[0], "disk-edge-on_yes", "edge-on-bulge_none"), 6),
    ],
)
def test_a_galaxy_without_doubt_has_the_type_of_its_path(answers, place):
    found = types_of(sure(*answers), WORTH)
    assert found.type[0] == pytest.approx(place)
    assert found.sigma[0] == pytest.approx(0, abs=1e-6)


def test_the_standard_error_is_that_of_the_dirichlet_distributions():
    random = np.random.default_rng(0)
    p, worth = sure("smooth-or-featured_featured-or-disk"), np.full((1, len(TREE)), 40.0)
    p[0, :3] = 0.45, 0.5, 0.05
    parts = [random.dirichlet(np.maximum(40 * p[0, part], 1e-9), 20_000) for part in TREE.slices.values()]
    drawn = types_of(np.concatenate(parts, axis=1), np.full((20_000, len(TREE)), 40.0)).type
    found = types_of(p, worth)
    assert found.type[0] == pytest.approx(drawn.mean(), abs=0.03)
    assert found.sigma[0] == pytest.approx(drawn.std(), rel=0.1)
    assert np.isnan(types_of(p, np.full((1, len(TREE)), np.nan)).sigma[0])


def test_artifacts_do_not_count_and_a_sure_artifact_has_no_type():
    p = sure("smooth-or-featured_smooth", "how-rounded_round")
    p[0, :3] = 0.2, 0, 0.8
    assert types_of(p, WORTH).type[0] == pytest.approx(-5)
    p[0, :3] = 0, 0, 1
    assert np.isnan(types_of(p, WORTH).type[0])


def test_votes_have_the_type_of_their_fractions():
    given = {"smooth-or-featured_featured-or-disk": 20, "disk-edge-on_no": 20, "has-spiral-arms_yes": 20}
    votes = np.stack(
        [
            set_votes(empty_votes(), {**given, "bulge-size_small": 10, "bulge-size_none": 10}),
            set_votes(empty_votes(), {**given, "bulge-size_large-or-moderate": 20}),
            set_votes(empty_votes(), {"smooth-or-featured_smooth": 20, "how-rounded_round": 20}),
            set_votes(empty_votes(), given),
            empty_votes(),
        ]
    )
    found = types_of_votes(votes)
    np.testing.assert_allclose(found.type[:3], [6, 2.5, -5])
    # Ten of twenty gave each of two answers, two types apart.
    assert found.sigma[0] == pytest.approx(1 / np.sqrt(21))
    assert np.isnan(found.type[3:]).all()


def test_the_order_of_the_types_is_that_of_the_votes():
    from scipy.stats import spearmanr

    truth = population(500, 0.5, 1)
    worth = np.full((500, len(TREE)), 20.0)
    seen, true = types_of(model_answers(truth, 1.0, 2), worth).type, types_of(truth, worth).type
    assert spearmanr(seen, true)[0] > 0.9


def test_the_map_finds_the_direction_of_the_type_and_what_differs_most_beside_it():
    random = np.random.default_rng(0)
    types, other = random.normal(0, 3, 3000), random.normal(0, 1, 3000)
    vectors = random.normal(0, 0.05, (3000, 8))
    vectors[:, 2] += 0.1 * types
    vectors[:, 5] += other
    parts = [(vectors[:1000], types[:1000]), (vectors[1000:], types[1000:])]
    found = ShapeMap.fit(parts)
    places = found.place(vectors)
    assert np.corrcoef(places[:, 0], types)[0, 1] > 0.95
    assert np.std(places[:, 0] - types) < 1
    assert abs(np.corrcoef(places[:, 1], other)[0, 1]) > 0.95
    assert places[:, 1].std() == pytest.approx(1, abs=0.05)
    assert ShapeMap.fit([(vectors[:20], types[:20])]) is None
    assert ShapeMap.fit([(np.zeros((500, 0)), types[:500])]) is None


def test_the_command_writes_the_table_in_each_format_and_the_page(morph, tmp_path):
    write_tiles(tmp_path / "scores", tiles=4)
    for name in ("sequence.parquet", "sequence.fits", "sequence.csv"):
        status, out, error = morph(
            "sequence", tmp_path / "scores", "--to", tmp_path / name, "--page", tmp_path / "page.html"
        )
        assert (status, error) == (0, "")
        assert "144 galaxies of 160 with a type" in out
        assert "simulated" in out
    table = pq.read_table(tmp_path / "sequence.parquet")
    assert table.column_names == [
        "id", "ra", "dec", "tile", "model", "model_version", "type", "type_sigma", "map_x", "map_y"
    ]  # fmt: skip
    assert table["type"].null_count == 16  # those without answers
    types = table["type"].drop_null().to_numpy()
    assert (types >= -5).all()
    assert (types <= 7).all()
    assert (table["type_sigma"].drop_null().to_numpy() > 0).all()
    assert table["map_x"].null_count == 16
    assert json.loads(table.schema.metadata[b"morph"])["model_version"] == "7"
    np.testing.assert_allclose(
        Table.read(tmp_path / "sequence.fits")["type"], table["type"].to_numpy(), equal_nan=True
    )
    assert "A map of shapes" in (tmp_path / "page.html").read_text()


def test_what_is_missing_is_said(morph, tmp_path):
    write_tiles(tmp_path / "scores", tiles=1, galaxies=8)
    _, out, _ = morph("sequence", tmp_path / "scores", "--to", tmp_path / "few.parquet")
    assert "too few similarity vectors for a map" in out
    assert pq.read_table(tmp_path / "few.parquet")["map_x"].null_count == 8
    for where, words in (("mag_r > 90", "has a type: there are none"), ("flags > 0", "something wrong")):
        status, _, error = morph(
            "sequence", write_tiles(tmp_path / "more"), "--where", where, "--to", tmp_path / "none.fits"
        )
        assert (status, words in error, (tmp_path / "none.fits").exists()) == (2, True, False), error
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    status, _, error = morph("sequence", tmp_path / "other.parquet", "--to", tmp_path / "none.fits")
    assert (status, "not scores of morph" in error) == (2, True)
