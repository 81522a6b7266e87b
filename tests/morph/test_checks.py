"""What is found out before a long command starts."""

import numpy as np
import pytest

from morph import checks
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.votes import empty_votes

SIZE = 8


@pytest.fixture
def dataset(tmp_path):
    """Six hundred galaxies in two files."""
    with GalaxiesWriter(tmp_path / "set", "flux", SIZE) as writer:
        for i in range(600):
            writer.add(Galaxy(str(i), "des", np.zeros((SIZE, SIZE, 3), "float32"), empty_votes()))
    return tmp_path / "set"


def test_a_dataset_s_memory_is_that_of_its_images(dataset):
    assert checks.image_bytes(dataset) == 600 * SIZE * SIZE * 3 * 4


def test_what_does_not_fit_into_memory_is_one_sentence(dataset, monkeypatch):
    checks.check_memory([dataset])
    monkeypatch.setattr(checks, "available_memory", lambda: 0.5e9)
    with pytest.raises(InputError, match=r"about 1\.0 GB of memory and 0\.5 GB are available"):
        checks.check_memory([dataset])


def test_more_galaxies_than_memory_holds_are_not_simulated(morph, tmp_path):
    status, _, said = morph("simulate", "galaxies", "--number", 10**9, "--to", tmp_path / "set")
    assert status == 2
    assert "GB of memory" in said
    assert list(tmp_path.iterdir()) == []


def test_available_memory_is_not_a_more_than_a_container_s(tmp_path, monkeypatch):
    (tmp_path / "max").write_text("3000000\n")
    (tmp_path / "current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\nactive_file 500000\ninactive_file 1000000\n")
    monkeypatch.setattr(checks, "_CGROUPS", ((tmp_path, "max", "current"),))
    assert checks.available_memory() == 2e6, "the cache of files makes room"
    (tmp_path / "max").write_text("max\n")
    assert checks.available_memory() > 2e6


def test_a_target_is_tried_and_leaves_nothing(tmp_path):
    checks.check_file(tmp_path / "new" / "deep" / "m.keras")
    checks.check_folder(tmp_path / "scores")
    checks.check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for check, path, why in (
        (checks.check_file, tmp_path, "is a folder"),
        (checks.check_folder, tmp_path / "file", "is a file"),
        (checks.check_file, tmp_path / "file" / "m.keras", "cannot be written"),
        (checks.check_folder, tmp_path / "file" / "scores", "cannot be written"),
        (checks.check_file, tmp_path / ("n" * 300), "cannot be written"),
    ):
        with pytest.raises(InputError, match=why):
            check(path)
