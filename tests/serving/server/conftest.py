import shutil
from pathlib import Path

import pytest

from tests.serving.server.asking import Ask
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


@pytest.fixture(scope="module")
def asked(exported, tmp_path_factory):
    """A server with versions 1 (labelled `stable`) and 2 of `small`, which add their number to the sum of a row."""
    folder = tmp_path_factory.mktemp("stock")
    for number in ("1", "2"):
        shutil.copytree(exported[number], folder / "small" / number)
    config = folder / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "small" base_path: "{folder}/small" model_platform: "tensorflow" '
        'model_version_policy { all {} } version_labels { key: "stable" value: 1 } } }'
    )
    with Ask(folder, models_config=config, rest_port=0) as running:
        yield running
