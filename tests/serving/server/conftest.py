import shutil
from pathlib import Path

import pytest

from tests.serving.server.small_models import write_small_model


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> dict[str, Path]:
    """Small models to copy: three good ones, one with another output, and one for wider rows."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        **{str(number): write_small_model(folder / str(number), adds=float(number)) for number in (1, 2, 3)},
        "renamed": write_small_model(folder / "renamed", outputs=("total",)),
        "wider": write_small_model(folder / "wider", width=3),
        "richer": write_small_model(folder / "richer", outputs=("sum", "total")),
    }


@pytest.fixture
def folder(tmp_path, exported) -> Path:
    """A folder with version 1 of `small`."""
    shutil.copytree(exported["1"], tmp_path / "small" / "1")
    return tmp_path
