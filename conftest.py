"""The examples in docstrings: each runs in a folder of its own, which holds what it opens."""

import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(autouse=True)
def folder_of_examples(request) -> None:
    if not isinstance(request.node, DoctestItem):
        return
    folder = request.getfixturevalue("tmp_path")
    request.getfixturevalue("monkeypatch").chdir(folder)
    if "open_scores" in request.node.name:
        from tests.serving.scores.invented import write_tiles

        write_tiles(folder / "scores")
