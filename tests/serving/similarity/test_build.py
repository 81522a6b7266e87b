"""The builder: restartable, appended to, merged, and never half done."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from morph.errors import InputError
from morph.output_lock import output_lock
from serving.similarity import Index
from serving.similarity.build import build
from serving.similarity.header import ModelIdentity
from serving.similarity.sources import find_sources
from tests.serving.scores.invented import write_tile, write_tiles
from tests.serving.similarity.conftest import clustered, source


def hits_of(folder, query, **conditions) -> list[tuple[str, float]]:
    hits = Index.open(folder).search(query, n=30, **conditions)
    # The last digit depends on how many vectors are multiplied at once.
    return list(zip(hits["id"].to_pylist(), hits["similarity"].to_numpy().round(5).tolist(), strict=True))


def test_what_is_there_already_is_not_read_again(sources, galaxies_index, tmp_path, vectors):
    build(sources[:2], tmp_path / "i")

    def fail():
        raise AssertionError("read again")

    known = [replace(each, read=fail) for each in sources[:2]]
    done = build([*known, sources[2]], tmp_path / "i")
    assert (done.added, done.changed, done.unchanged, done.galaxies) == (1, 0, 2, 3000)
    assert hits_of(tmp_path / "i", vectors[5]) == hits_of(galaxies_index, vectors[5])


def test_a_changed_source_replaces_its_galaxies(sources, tmp_path, vectors):
    build(sources, tmp_path / "i")
    open_before = Index.open(tmp_path / "i")
    done = build([source("a", vectors[:10], fingerprint="b")], tmp_path / "i")
    assert (done.changed, done.galaxies) == (1, 2010)
    assert len(Index.open(tmp_path / "i").search(vectors[0], n=3000, where="tile == 'a'")) == 10
    assert len([*(tmp_path / "i" / "shards").iterdir()]) == 3
    # Who has it open goes on with what was there.
    assert len(open_before.search(vectors[0], n=3000)) == 3000


@pytest.mark.parametrize(("codes", "dimension"), [("sq8", 16), ("sq8", 6), ("pq", 4)])
def test_lists_find_what_a_comparison_of_all_finds(listed, tmp_path, codes, dimension, monkeypatch):
    vectors = clustered(1000, dimension)
    listed([source("a", vectors[:600]), source("b", vectors[600:])], tmp_path / "i", codes)
    assert Index.open(tmp_path / "i").header.lists
    # Fewer candidates than galaxies, or the lists would not matter.
    monkeypatch.setattr("serving.similarity.nearest.CANDIDATES", 90)
    found = [{name for name, _ in hits_of(tmp_path / "i", query)} for query in vectors[:20]]
    monkeypatch.setattr("serving.similarity.nearest.SMALL", 10**6)
    expected = [{name for name, _ in hits_of(tmp_path / "i", query)} for query in vectors[:20]]
    assert np.mean([len(a & b) / 30 for a, b in zip(found, expected, strict=True)]) > 0.95


def test_those_that_meet_a_condition_are_compared_where_all_would_be_too_many(
    listed, sources, tmp_path, vectors, monkeypatch
):
    listed(sources, tmp_path / "i")
    monkeypatch.setattr("serving.similarity.nearest.EXACT", 3000)

    def by_lists(*_args):
        raise AssertionError("lists were looked into")

    monkeypatch.setattr("serving.similarity.nearest.Nearest.by_lists", by_lists)
    index = Index.open(tmp_path / "i")
    assert len(index.search(vectors[0], n=20, where="mag_r < 24")) == 20
    with pytest.raises(AssertionError, match="lists"):
        index.search(vectors[0], n=20)


def test_with_many_shards_the_best_may_all_be_in_one(listed, tmp_path, monkeypatch):
    """Each shard is asked for a share first, and for all where its share is among the best."""
    monkeypatch.setattr("serving.similarity.nearest.CANDIDATES", 120)
    monkeypatch.setattr("serving.similarity.nearest.LEAST", 5)
    near = clustered(1, seed=9) + 0.02 * np.random.default_rng(1).normal(size=(200, 16)).astype("f4")
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    far = [source(f"far{k}", clustered(150, seed=20 + k)) for k in range(8)]
    listed([*far, source("near", near)], tmp_path / "i")
    hits = Index.open(tmp_path / "i").search(near[0], n=100)
    best = np.argsort(-(near @ near[0]))[:100]
    assert len({*hits["id"].to_pylist()} & {f"near-{k}" for k in best}) >= 95


def test_with_lists_a_condition_still_leaves_all_that_meet_it(listed, sources, tmp_path, vectors):
    listed(sources, tmp_path / "i")
    index = Index.open(tmp_path / "i")
    many = index.search(vectors[0], n=1000, where="mag_r < 20")
    assert len(many) == 1000
    assert max(many["mag_r"].to_pylist()) < 20
    everything = index.search(vectors[0], n=3000, where="mag_r < 24")
    assert 2500 < len(everything) == len(set(everything["id"].to_pylist()))


def test_merged_shards_are_few_in_the_order_of_the_sky_and_give_the_same_hits(sources, tmp_path, vectors, monkeypatch):
    monkeypatch.setattr("serving.similarity.merge.ROWS", 2900)
    build(sources, tmp_path / "i")
    before = [hits_of(tmp_path / "i", query, cone=(5, 0, 3)) for query in vectors[:5]]
    done = build([], tmp_path / "i", merge=True)
    assert (done.galaxies, done.shards) == (3000, 2)
    assert [hits_of(tmp_path / "i", query, cone=(5, 0, 3)) for query in vectors[:5]] == before
    index = Index.open(tmp_path / "i")
    places = [shard.column("_healpix_29") for shard in index.shards]
    assert (np.diff(np.concatenate(places)) >= 0).all()
    # Nothing is merged again.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "i/shards").rglob("*.npy")}
    assert build([], tmp_path / "i", merge=True).shards == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "i/shards").rglob("*.npy")} == before
    # Known sources are still known, and others are added beside.
    done = build([*sources, source("d", clustered(10))], tmp_path / "i")
    assert (done.unchanged, done.added, done.galaxies) == (3, 1, 3010)
    with pytest.raises(InputError, match="changed since it was merged"):
        build([source("a", vectors[:10], fingerprint="b")], tmp_path / "i")


def test_lists_are_trained_anew_when_the_index_has_grown(listed, sources, tmp_path, vectors):
    listed([source("z", clustered(400, seed=3))], tmp_path / "i")
    first = Index.open(tmp_path / "i").header
    listed([source("y", clustered(100, seed=4))], tmp_path / "i")
    second = Index.open(tmp_path / "i").header
    listed(sources, tmp_path / "i")
    third = Index.open(tmp_path / "i").header
    assert first.lists == second.lists != third.lists
    assert (second.trained_on, third.trained_on) == (400, 3500)
    assert len([*(tmp_path / "i").rglob("lists-*.faiss")]) == 1 + len(third.shards)


def test_a_stopped_builder_goes_on_where_it_was(listed, sources, tmp_path, vectors):
    listed(sources, tmp_path / "whole")

    def stop(at: tuple[str, int], what: str, done: int, total: int) -> None:
        if (what, done) == at:
            raise KeyboardInterrupt

    for at in (("Reading", 1), ("Reading", 3), ("Training", 0), ("Coding", 2)):
        with pytest.raises(KeyboardInterrupt):
            build(sources, tmp_path / "i", advance=partial(stop, at))
        with pytest.raises(InputError, match="not finished"):
            Index.open(tmp_path / "i")
    listed(sources, tmp_path / "i")
    for query in vectors[:5]:
        assert hits_of(tmp_path / "i", query) == hits_of(tmp_path / "whole", query)


def test_one_builder_at_a_time(sources, tmp_path):
    with (
        output_lock(tmp_path / "i"),
        pytest.raises(InputError, match=r"Another job is writing the index .*another --to"),
    ):
        build(sources, tmp_path / "i")


def test_what_does_not_belong_into_the_index_is_refused(sources, tmp_path):
    build(sources[:1], tmp_path / "i")
    other = replace(sources[1], model=ModelIdentity("morph", "8", "f" * 32))
    with pytest.raises(
        InputError, match=r"by the model morph 8 .digest ffffffffffff., and the index .* cannot be compared"
    ):
        build([other], tmp_path / "i")
    with pytest.raises(InputError, match=r"vectors of 50 numbers, and the index .* of 16"):
        build([source("d", clustered(5, 50))], tmp_path / "i")
    with pytest.raises(InputError, match=r"no index at .* yet"):
        build([], tmp_path / "new")
    with pytest.raises(InputError, match="None of the galaxies given has a similarity vector"):
        build([source("e", np.full((3, 16), np.nan, "f4"))], tmp_path / "new")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="is not an index, and is not empty"):
        build(sources, tmp_path / "mine")


# --- Sources ------------------------------------------------------------------------------------------------


def test_score_files_become_shards(tmp_path):
    scores = write_tiles(tmp_path / "scores")
    done = build(find_sources([scores]), tmp_path / "i")
    assert (done.shards, done.galaxies, done.left_out) == (3, 108, 12)
    index = Index.open(tmp_path / "i")
    row = index.row_of("DES0001-0000-7")
    assert (row["tile"], row["x"], row["survey"], row["anomaly"]) == ("DES0001-0000", 7.5, "des", False)
    assert 0 < row["smooth_or_featured_smooth"] < 1
    assert index.row_of("DES0001-0000-0")["picture"][:2] == b"\xff\xd8", "the picture of the most anomalous"
    assert not {"embedding", "similarity", "bar_strong_tree"} & {*index.columns}
    assert index.model_version == "7"
    # Only the new one is read; one of another model is refused.
    write_tile(scores, "DES0009-0000", np.linspace(3, 4, 20), np.zeros(20))
    done = build(find_sources([scores]), tmp_path / "i")
    assert (done.added, done.unchanged, done.galaxies) == (1, 3, 126)
    write_tile(scores, "DES0010-0000", np.linspace(3, 4, 20), np.zeros(20), {"model_version": "8"})
    with pytest.raises(InputError, match=r"DES0010-0000.parquet' is by the model morph 8"):
        build(find_sources([scores]), tmp_path / "i")


def test_sources_that_cannot_be_read_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="There is nothing at"):
        find_sources([tmp_path / "no"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="There are no scores in"):
        find_sources([tmp_path / "empty"])
    first, second = write_tiles(tmp_path / "one", 1), write_tiles(tmp_path / "two", 1)
    with pytest.raises(InputError, match="Two sources are called 'DES0000-0000'"):
        find_sources([first, second])
    assert len(find_sources([first, first])) == 1
    (tmp_path / "one" / "DES0000-0000.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        find_sources([first])
