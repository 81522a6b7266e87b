"""Hits, their relevance, and what they share beside the type."""

import json

import numpy as np
import pytest

from morph.errors import InputError
from training.evaluation import retrieval
from training.evaluation.retrieval import SIMILARITY, VECTORS, companions, measure_retrieval, ndcg, nearest, renoised


@pytest.fixture(scope="module")
def measured(classifier, sample):
    return measure_retrieval(classifier, sample, paired=sample.select(np.arange(10)))


def test_the_nearest_are_those_of_a_full_search():
    random = np.random.default_rng(0)
    vectors = retrieval._units(random.normal(size=(600, 8)))
    hits = nearest(vectors)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(hits, np.argsort(-cosines, axis=1)[:, :10])
    excluded = nearest(vectors[:3], vectors, excluded=hits[:3, :4], hits=2)
    assert not (excluded[:, :, None] == hits[:3, None, :4]).any()


def test_a_query_never_finds_itself_even_among_few():
    hits = nearest(np.eye(4))
    assert hits.shape == (4, 3)
    assert not (hits == np.arange(4)[:, None]).any()


def test_ndcg_is_one_for_the_best_order_and_leaves_the_query_out():
    relevance = np.array([1.0, 0.2, 0.9, 0.0])
    assert ndcg(np.array([[2, 1, 3]]), relevance, np.array([[0]])) == pytest.approx([1.0])
    discount = 1 / np.log2([2, 3, 4])
    expected = (discount @ [0, 0.2, 0.9]) / (discount @ [0.9, 0.2, 0])
    assert ndcg(np.array([[3, 1, 2]]), relevance, np.array([[0]])) == pytest.approx([expected])
    binary = np.array([1.0, 1.0, 0.0, 0.0])
    assert ndcg(np.array([[1, 2]]), binary, np.array([[0]])) == pytest.approx([1.0]), "only one other is relevant"


def test_every_row_has_every_vector_and_its_interval(measured):
    figures = measured.figures
    for row in ("ndcg/elliptical", "ndcg-5/edge-on", "type/edge-on", "shared/companions", "chance/companions"):
        assert {f"{row}/{name}" for name in VECTORS} <= figures.keys()
    for name, figure in figures.items():
        assert figure.low <= figure.value <= figure.high, name
    assert figures[f"ten/survey/{SIMILARITY}"].value == 1, "the pair is the same images"
    assert figures[f"ten/survey/{SIMILARITY}"].n == 10
    assert figures[f"ndcg/elliptical/{SIMILARITY}"].n == 24
    assert "shares of the votes" in measured.note
    json.dumps(measured.document())


def test_vectors_of_a_round_and_an_elongated_class_find_their_own(measured):
    """Even an untrained encoder tells these apart; chance is near one half."""
    assert measured.figures["ndcg/edge-on/8-view mean"].value > 0.75
    assert measured.figures["type/edge-on/8-view mean"].value > 0.5


def test_noise_is_added_as_the_sky_has_it():
    random = np.random.default_rng(0)
    images = random.normal(0, [0.1, 0.2, 0.4], (4, 64, 64, 3)).astype("float32")
    spread = renoised(images, random).std(axis=(1, 2))
    np.testing.assert_allclose(spread, np.sqrt(2) * np.array([[0.1, 0.2, 0.4]] * 4), rtol=0.15)


def test_a_companion_counts_and_the_galaxy_does_not(sample):
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    round_one = np.exp(-np.hypot(x, y) / 8)[..., None] + random.normal(0, 0.01, (64, 64, 3))
    with_another = round_one + 0.5 * np.exp(-np.hypot(x - 24, y) / 2)[..., None]
    alone, beside = companions(np.stack([round_one, with_another]).astype("float32"))
    assert beside > alone + 1


def test_what_hits_share_beside_the_type_is_compared_with_chance():
    random = np.random.default_rng(0)
    types = np.repeat([0, 1], 200)
    magnitude = random.normal(size=400) + 3 * types
    survey = np.tile(["des", "sdss"], 200)
    hits = np.argsort(np.abs(magnitude[:, None] - magnitude[None, :]), axis=1)[:, 1:11]
    found = {
        name: (value, chance)
        for name, value, chance in retrieval._shared(hits, {"magnitude": magnitude, "survey": survey}, types, random)
    }
    assert found["magnitude"][0].value > 0.99, "these hits are chosen by magnitude"
    assert 0.5 < found["magnitude"][1].value < 0.9, "the classes differ in magnitude"
    assert found["survey"][0].value == pytest.approx(0.5, abs=0.05)


def test_too_few_galaxies_and_a_foreign_pair_are_reported(classifier, sample):
    few = measure_retrieval(classifier, sample.select(np.arange(5)))
    assert not few.figures
    assert "Only 5 galaxies" in few.note
    foreign = sample.with_columns(id=np.arange(48).astype(str))
    foreign.about = {**sample.about, "path": "other"}
    with pytest.raises(InputError, match="'other' has none of these galaxies"):
        retrieval._in_other_survey(classifier, sample, foreign, {}, np.random.default_rng(0))
