"""Small indexes: of galaxies with random vectors, and of invented score files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from serving.similarity.build import build
from serving.similarity.header import ModelIdentity
from serving.similarity.sources import Source, find_sources, with_place
from tests.serving.similarity.exploring import Asking, make_index

MODEL = ModelIdentity("morph", "7", "0123456789abcdef0123456789abcdef", "", "sdss")


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(count: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    """Unit vectors around a few centres, float32 [n, d]."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, dimension))
    return unit(centres[random.integers(12, size=count)] + 0.4 * random.normal(size=(count, dimension))).astype("f4")


def source(name: str, vectors: np.ndarray, fingerprint: str = "a", **columns: np.ndarray) -> Source:
    """A source of galaxies called NAME-0 and so on, over ten degrees of the sky, of magnitudes 15 to 25."""
    count, random = len(vectors), np.random.default_rng(sum(name.encode()))
    known = {
        "id": np.array([f"{name}-{k}" for k in range(count)], dtype=object),
        "ra": random.uniform(0, 10, count),
        "dec": random.uniform(-5, 5, count),
        "tile": np.array([name] * count, dtype=object),
        "x": np.arange(count) * 10.0,
        "y": np.arange(count) * 7.0,
        "mag_r": random.uniform(15, 25, count).astype("f4"),
        **columns,
    }
    rows = pa.table({key: pa.array(values, from_pandas=True) for key, values in known.items()})
    return Source(name, Path(name), fingerprint, MODEL, lambda: (with_place(rows, "des"), vectors))


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """Of the galaxies of `galaxies_index`, in the order of their names."""
    return clustered(3000)


@pytest.fixture(scope="session")
def sources(vectors) -> list[Source]:
    return [source(name, part) for name, part in zip("abc", np.split(vectors, 3), strict=True)]


@pytest.fixture(scope="session")
def galaxies_index(sources, tmp_path_factory) -> Path:
    """The index of three shards of a thousand galaxies."""
    folder = tmp_path_factory.mktemp("similarity") / "galaxies.index"
    build(sources, folder)
    return folder


@pytest.fixture
def listed(monkeypatch) -> Callable[..., object]:
    """`build` of an index with lists, as a large one has."""
    monkeypatch.setattr("serving.similarity.nearest.SMALL", 300)
    monkeypatch.setattr("serving.similarity.nearest.EXACT", 300)
    return partial(build)


@pytest.fixture(scope="session")
def invented_index(tmp_path_factory) -> Path:
    """The folder of an index of invented galaxies."""
    return make_index(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def explored(invented_index):
    """A server of `morph explore` on it, without a model server."""
    with Asking(invented_index) as running:
        yield running


@pytest.fixture(scope="session")
def tile_index(tiles, tiles_folder, server, tmp_path_factory) -> Path:
    """The folder of an index of the galaxies on the small tiles, by the model of the real server."""
    from astropy.table import Table, vstack

    from serving.scoring.backends import RemoteModel
    from serving.scoring.run import score

    folder = tmp_path_factory.mktemp("tile-index")
    galaxies = vstack([Table.read(tile.catalogue) for tile in tiles])
    galaxies["COADD_OBJECT_ID"] = 1_600_000_000 + np.arange(len(galaxies))
    galaxies.write(folder / "catalogue.fits")
    score(tiles_folder, folder / "catalogue.fits", RemoteModel(server.address), folder / "scores")
    build(find_sources([folder / "scores"]), folder / "tiles.index")
    return folder / "tiles.index"


@pytest.fixture(scope="module")
def imaged(tile_index, tiles_folder, server):
    """A server of `morph explore` on that index, with the model's server and the tiles."""
    with Asking(tile_index, server.address, tiles=[tiles_folder]) as running:
        yield running
