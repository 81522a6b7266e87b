"""Images in, galaxies out, by a real model server; and pictures cut from the tiles."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from morph.dataset import Galaxies
from morph.decision_tree import VOTE_COLUMNS
from morph.errors import InputError
from morph.stamps.cutting import cut
from morph.stamps.stretch import to_composite, white_level
from morph.tiles.tile import Tile
from serving.client import MorphClient, ServerError
from serving.client.pictures import FitsLayout, read_pictures
from serving.server.embedded import Server
from serving.similarity.explore import ExploreServer
from tests.serving.conftest import galaxies
from tests.serving.similarity.exploring import Asking


def stamps_of(imaged: Asking, tiles) -> tuple[list[str], np.ndarray]:
    """The galaxies of the first tile as they were scored: ids and stamps."""
    with Tile.open(tiles[0].paths) as tile:
        rows = [row for shard in imaged.index.shards for row in shard.rows.to_pylist() if row["tile"] == tile.name]
        x, y, radius = (np.array([row[name] for row in rows]) for name in ("x", "y", "radius"))
        stamps, _ = cut(tile, x, y, radius / tile.pixel_scale)
    return [row["id"] for row in rows], stamps


@pytest.fixture(scope="module")
def client(imaged):
    with MorphClient(imaged.server.grpc_address, retries=0) as connected:
        yield connected


def test_a_stamp_of_a_galaxy_has_that_galaxys_vector(imaged, client, tiles):
    names, stamps = stamps_of(imaged, tiles)
    hits = client.similar(stamps[:3], n=5)
    expected = np.stack([imaged.index.vector_of(name) for name in names[:3]])
    np.testing.assert_allclose(hits.vectors, expected, atol=2e-3)  # an index holds half precision
    assert len(hits["id"]) == 5


def test_a_file_is_cut_at_the_server_as_it_is_here(imaged, client, server, tmp_path):
    path = tmp_path / "galaxy.png"
    flux = galaxies(1, seed=5)[0]
    Image.fromarray(to_composite(flux, white_level(flux)).repeat(2, 0).repeat(2, 1)).save(path)
    hits = client.similar(path, n=4)
    (picture,) = read_pictures([[path]], 64, FitsLayout())
    with MorphClient(server.address) as model:
        expected = model.classify(picture.image)["similarity"]
    np.testing.assert_allclose(hits.vectors, expected, atol=1e-5)

    boundary = "x" * 20
    form = b"\r\n".join(
        [
            f"--{boundary}".encode(),
            b'Content-Disposition: form-data; name="file"; filename="galaxy.png"',
            b"",
            path.read_bytes(),
            f"--{boundary}--\r\n".encode(),
        ]
    )
    bodies = {"image/png": path.read_bytes(), f"multipart/form-data; boundary={boundary}": form}
    for kind, body in bodies.items():
        status, content, _ = imaged.ask("POST", "/v1/similar", body, {"Content-Type": kind}, n=4)
        found = json.loads(content)
        assert status == 200, found
        assert [hit["id"] for hit in found["hits"]] == hits["id"].tolist()
        assert found["pictures"][0].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is empty"),
        (b"no image", "cannot be read as a picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as a picture"),
    ],
)
def test_what_is_not_an_image_is_one_sentence(imaged, body, sentence):
    status, said = imaged.refused("POST", "/v1/similar", body, {"Content-Type": "image/png"})
    assert status == 400
    assert sentence in said


def test_an_image_that_may_not_show_a_galaxy_is_noted(imaged, client):
    squares = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8, 3)), np.ones((8, 8, 1))).astype("uint8") * 255
    assert client.similar(galaxies(1, seed=1)).notes == ()
    hits = client.similar(squares)
    assert len(hits["id"]) == 14
    assert len(hits.notes) == 1
    assert "it may not show a galaxy" in hits.notes[0]


def test_an_array_of_another_size_is_refused(client):
    with pytest.raises(ServerError, match=r"shape \(32, 32, 3\) \(float32\) is not a stamp of the model") as caught:
        client.similar(np.zeros((32, 32, 3), "float32"))
    assert caught.value.status == "INVALID_ARGUMENT"


def test_pictures_are_cut_from_the_tiles(imaged, tiles):
    names, stamps = stamps_of(imaged, tiles)
    (hit, *_) = imaged.get("/v1/similar", like=names[0], n=1)["hits"]
    assert hit["picture"]
    status, content, _ = imaged.ask("GET", "/v1/picture", id=names[0])
    assert status == 200
    picture = np.asarray(Image.open(io.BytesIO(content)), dtype=float)
    assert picture.shape == (96, 96, 3)
    # North is up: the picture's lowest row is the stamp's first.
    light = np.nan_to_num(stamps[0]).mean(axis=-1)[::-1]
    middle = picture[16:80, 16:80].mean(axis=-1)
    assert np.corrcoef(np.sqrt(light.clip(0)).ravel(), middle.ravel())[0, 1] > 0.8


def test_a_tile_that_has_moved_leaves_the_pictures_of_the_index(tile_index, tmp_path, tiles):
    import shutil

    from serving.similarity import Index
    from serving.similarity.tile_pictures import TilePictures

    moved = shutil.copytree(tiles[0].paths[0].parent, tmp_path / "tile")
    pictures, index = TilePictures([moved]), Index.open(tile_index)
    rows = [row for shard in index.shards for row in shard.rows.to_pylist() if row["tile"] == "DES0356-5248"]
    shutil.rmtree(moved)
    assert {row["id"]: pictures.by_id(index, row["id"]) for row in rows} == {row["id"]: row["picture"] for row in rows}


def test_a_model_server_that_is_not_there_is_one_sentence(tile_index, model_dir):
    with pytest.raises(InputError, match=r"No server answers at 127\.0\.0\.1:1;"):
        ExploreServer(tile_index, "127.0.0.1:1", options={"retries": 0}).start()
    model = Server(model_dir)
    model.start()
    with Asking(tile_index, model.address, options={"retries": 0}) as explored:
        model.stop()
        status, said = explored.refused("POST", "/v1/similar", png(), {"Content-Type": "image/png"})
        assert (status, "No server answers" in said) == (503, True), said
        assert len(explored.get("/v1/similar", like=explored.get("/v1/galaxies", n=1)["hits"][0]["id"])["hits"]) == 13


def test_an_index_of_another_model_is_refused(invented_index, server):
    with pytest.raises(InputError, match="vectors of different models cannot be compared"):
        ExploreServer(invented_index, server.address).start()


def png() -> bytes:
    file = io.BytesIO()
    flux = galaxies(1, seed=5)[0]
    Image.fromarray(to_composite(flux, white_level(flux))).save(file, "PNG")
    return file.getvalue()


def test_marked_galaxies_of_tiles_become_a_training_set(imaged, tiles, tiles_folder, tmp_path, morph):
    names, stamps = stamps_of(imaged, tiles)
    galaxies = [{"id": names[0], "labels": {"bar": "strong"}}, {"id": names[1], "labels": {"bar": "no"}}]
    for kind, name in (("csv", "marked.csv"), ("labels", "labels.csv")):
        body = json.dumps({"format": kind, "galaxies": galaxies})
        status, content, _ = imaged.ask("POST", "/v1/export", body, {"Content-Type": "application/json"})
        assert status == 200
        (tmp_path / name).write_bytes(content)
    tables = ("--catalog", tmp_path / "marked.csv", "--labels", tmp_path / "labels.csv", "--survey", "des")
    status, _, error = morph("import", tiles_folder, *tables, "--to", tmp_path / "bars")
    assert status == 0, error
    found = Galaxies.open(tmp_path / "bars")
    assert found.ids.tolist() == names[:2]
    bar = [VOTE_COLUMNS.index(f"bar_{answer}") for answer in ("strong", "no")]
    assert found.votes[:, bar].tolist() == [[1, 0], [0, 1]]
    # Cut to the size that they were scored at: the middle of the wider stamp is the same image.
    middle = np.nan_to_num(found.images[0, 16:80, 16:80])
    np.testing.assert_allclose(middle, np.nan_to_num(stamps[0]), rtol=1e-3, atol=1e-3)
