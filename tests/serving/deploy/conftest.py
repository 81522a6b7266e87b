"""A deployment to spoil, and the model in it."""

from pathlib import Path

import pytest

from serving.deploy.deployment import Deployment
from serving.deploy.write import write_deployment


@pytest.fixture
def folder(model_dir, tmp_path) -> Path:
    """A deployment whose files a test may change; the model in it is the tests' own."""
    (tmp_path / "morph").symlink_to(model_dir / "morph")
    write_deployment(tmp_path, "morph", ["compose", "kubernetes"])
    return tmp_path


@pytest.fixture(scope="session")
def whole(model_dir) -> Deployment:
    """The model of the tests, loaded once."""
    deployment = Deployment(model_dir)
    assert deployment.loaded.signatures
    return deployment
