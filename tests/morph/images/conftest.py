"""Fixtures of the tests of images."""

import os
from pathlib import Path

import pytest
from drawn_tiles import write_tile


@pytest.fixture(scope="session")
def tile_folder(tmp_path_factory) -> Path:
    """A folder with one tile in g, r and i."""
    folder = tmp_path_factory.mktemp("tile")
    write_tile(folder)
    return folder


@pytest.fixture
def tile(tile_folder):
    from morph.images.tiles import Tile

    with Tile.open(tile_folder) as opened:
        yield opened


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey images."""
    folder = Path(os.environ.get("MORPH_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real survey images are not at {folder}; set MORPH_DATA to their folder")
    return folder
