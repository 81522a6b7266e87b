"""Several servers, each with a part of the galaxies, find what one server with all of them finds."""

import numpy as np
import pyarrow as pa
import pytest

from morph.errors import InputError
from serving.client import ServerError, SimilarServers
from serving.similarity import Index
from serving.similarity.build import build
from serving.similarity.sources import Source, find_sources, with_place
from tests.serving.scores.invented import write_tile
from tests.serving.similarity.exploring import Asking

A, B, C = "DES0001-0000-3", "DES0000-0000-1", "DES0002-0000-2"


@pytest.fixture(scope="module")
def servers(invented_index, tmp_path_factory):
    """One server of the first tile of the whole index, one of the others."""
    folder = tmp_path_factory.mktemp("parts")
    sources = find_sources([invented_index.parent / "scores"])
    build(sources[:1], folder / "west.index")
    build(sources[1:], folder / "east.index")
    with (
        Asking(folder / "west.index") as west,
        Asking(folder / "east.index") as east,
        SimilarServers([west.server.grpc_address, east.server.grpc_address], retries=0) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def whole(invented_index):
    return Index.open(invented_index)


def test_the_best_of_all_are_found(servers, whole):
    hits = servers.similar(like=A, n=30)
    expected = whole.search(whole.vector_of(A), 30, exclude=[A])
    assert hits["id"].tolist() == expected["id"].to_pylist()
    np.testing.assert_allclose(hits["similarity"], expected["similarity"].to_numpy(), rtol=1e-6)
    assert len({name[:7] for name in hits["id"]}) == 3, "of all tiles"
    np.testing.assert_array_equal(hits.vectors[0], whole.vector_of(A))


def test_examples_on_different_servers_are_combined(servers, whole):
    row = whole.row_of(B)
    hits = servers.similar(
        like=[A], position=(row["ra"], row["dec"]), vectors=whole.vector_of(C), unlike="DES0000-0000-8",
        weights=[1, 2, 0.5], where="mag_r > 21.3", n=12, columns=["mag_r"],
    )  # fmt: skip
    vectors = np.stack([whole.vector_of(name) for name in (A, B, C)])
    far = whole.vector_of("DES0000-0000-8")[None]
    expected = whole.search(vectors, 40, [1, 2, 0.5], far, "mag_r > 21.3")["id"].to_pylist()
    assert hits["id"].tolist() == [name for name in expected if name not in (A, B, "DES0000-0000-8")][:12]
    assert sorted(hits) == ["id", "mag_r", "similarity"]


def test_the_example_on_another_tile_is_no_hit(servers, whole, tmp_path):
    """A third server has galaxy A again, a third of an arcsec away, as the overlap of another tile shows it."""
    row = whole.row_of(A)
    place = np.array([row["ra"], row["ra"]]), np.array([row["dec"] + 0.3 / 3600, row["dec"] + 3 / 3600])
    vectors = np.stack([whole.vector_of(A)] * 2) + np.float32(1e-3)
    rows = pa.table({"id": ["again", "beside"], "ra": place[0], "dec": place[1], "tile": ["T9"] * 2})
    model = whole.header.model
    build([Source("T9", tmp_path, "0" * 8, model, lambda: (with_place(rows, "des"), vectors))], tmp_path / "i")
    with (
        Asking(tmp_path / "i") as other,
        SimilarServers([*servers.addresses, other.server.grpc_address], retries=0) as asked,
    ):
        by_name = asked.similar(like=A, n=20)
        by_place = asked.similar(position=(row["ra"], row["dec"]), n=20, columns=["tile"])
        away = asked.similar(like=B, unlike=A, n=400)
    for hits in (by_name, by_place):
        assert hits["id"][0] == "beside"
        assert not {"again", A} & set(hits["id"])
    assert sorted(by_place) == ["id", "similarity", "tile"]
    assert not {"again", A, B} & set(away["id"])


def test_a_server_without_hits_is_named(servers):
    hits = servers.similar(like=A, where="tile == 'DES0000-0000'", n=5)
    assert {name[:12] for name in hits["id"]} == {"DES0000-0000"}
    (note,) = hits.notes
    assert note.startswith(f"{servers.addresses[1]} has no hits: ")
    with pytest.raises(ServerError, match="mag_y") as caught:
        servers.similar(like=A, where="mag_y < 20")
    assert caught.value.status == "INVALID_ARGUMENT"


def test_what_no_server_has_is_an_error(servers):
    with pytest.raises(ServerError, match="no galaxy 'X'") as caught:
        servers.similar(like="X")
    assert caught.value.status == "NOT_FOUND"
    with pytest.raises(InputError, match="nothing to search by"):
        servers.similar()
    with pytest.raises(InputError, match="No server is named"):
        SimilarServers([])
    with SimilarServers([*servers.addresses, "127.0.0.1:1"], retries=0, timeout=5) as broken:
        with pytest.raises(ServerError) as caught:
            broken.similar(like=A)
        assert caught.value.status == "UNAVAILABLE"


def test_indexes_by_different_models_are_refused(servers, tmp_path):
    write_tile(tmp_path / "scores", "T1", np.arange(9) / 99, np.zeros(9), {"model_version": "8"})
    build(find_sources([tmp_path / "scores"]), tmp_path / "i")
    with (
        Asking(tmp_path / "i") as other,
        SimilarServers([*servers.addresses, other.server.grpc_address]) as mixed,
        pytest.raises(InputError, match="different models, morph 7 and morph 8"),
    ):
        mixed.similar(like=A)
