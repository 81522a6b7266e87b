"""Fixtures of the tests of images and catalogues."""

from pathlib import Path

import pytest

from tests.morph.drawn_tiles import write_tile


@pytest.fixture(scope="session")
def tile_folder(tmp_path_factory) -> Path:
    """A folder with one tile in g, r and i."""
    folder = tmp_path_factory.mktemp("tile")
    write_tile(folder)
    return folder


@pytest.fixture
def tile(tile_folder):
    from morph.tiles.tile import Tile

    with Tile.open(tile_folder) as opened:
        yield opened
