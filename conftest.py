"""The examples in docstrings: each runs in a folder of its own, which holds what it opens."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem


def make_sample(folder: Path) -> None:
    from morph.simulation.sample import simulate_galaxies

    simulate_galaxies(folder, 12, survey="des", processes=1, progress=False)


def make_tile(folder: Path) -> None:
    from morph.simulation.tile import simulate_tile

    simulate_tile(folder, size=256, galaxies=3, progress=False)


def make_scores(folder: Path) -> None:
    from tests.serving.scores.invented import write_tiles

    write_tiles(folder)


#: What examples open, by its name.
FOLDERS: dict[str, Callable[[Path], None]] = {
    "sample": make_sample,
    "tile": make_tile,
    "scores": make_scores,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Callable[[str], Path]:
    """Gives one of the folders, made when it is first asked for."""
    base = tmp_path_factory.mktemp("examples")

    def make(name: str) -> Path:
        if not (base / name).exists():
            FOLDERS[name](base / name)
        return base / name

    return make


@pytest.fixture(autouse=True)
def folder_of_examples(request) -> None:
    if not isinstance(request.node, DoctestItem):
        return
    folder, patch = request.getfixturevalue("tmp_path"), request.getfixturevalue("monkeypatch")
    patch.chdir(folder)
    # MLflow keeps the database that a relative address named first, wherever the next example runs.
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlruns/mlflow.db")
    text = "".join(example.source for example in request.node.dtest.examples)
    for name in FOLDERS:
        if (
            f'"{name}"' in text
            and f'simulate_galaxies("{name}"' not in text
            and f'GalaxiesWriter("{name}"' not in text
        ):
            shutil.copytree(request.getfixturevalue("made")(name), folder / name)
