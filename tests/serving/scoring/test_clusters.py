"""A Dask cluster is looked at before the first tile: its versions, and whether its workers see the files."""

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from morph.errors import InputError
from serving.scoring.cluster import _processes
from serving.scoring.run import score
from tests.serving.scoring.sleeping import Sleeping


@pytest.fixture(scope="module")
def cluster():
    """One worker with a working folder of its own, as on another machine."""
    with _processes(1) as running:
        yield running


def test_only_the_command_hears_ctrl_c_and_not_its_workers(cluster):
    with Client(cluster, set_as_default=False) as client:
        assert [signal.SIGINT in blocked for blocked in client.run(_blocked).values()] == [True]
    assert signal.SIGINT not in _blocked()


def _blocked() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


@contextmanager
def elsewhere(cluster, module: str, name: str, value: Any) -> Iterator[None]:
    """Another value of a module's attribute on the worker, as if something else were installed there."""
    with Client(cluster, set_as_default=False) as client:
        client.run(change, module, name, value)
        try:
            yield
        finally:
            client.run(change_back)


#: In the worker's process: what `change` puts back.
_CHANGED = pytest.MonkeyPatch()


def change(module: str, name: str, value: Any) -> None:
    _CHANGED.setattr(importlib.import_module(module), name, value)


def change_back() -> None:
    _CHANGED.undo()


@pytest.mark.parametrize(
    ("module", "name", "value", "told"),
    [
        (
            "serving.scoring.worker",
            "__version__",
            "0.0.1",
            r"worker tcp://\S+ has morph 0\.0\.1 and this machine",
        ),
        (
            "distributed.versions",
            "_version_cached",
            {"distributed": "2020.1.0"}.get,
            r"worker tcp://\S+ has distributed 2020\.1\.0 and this machine 20",
        ),
    ],
    ids=["morph", "Dask"],
)
def test_a_worker_with_other_versions_is_one_sentence(cluster, tiles_folder, tmp_path, module, name, value, told):
    with elsewhere(cluster, module, name, value), pytest.raises(InputError, match=told) as raised:
        score(tiles_folder, None, Sleeping(), tmp_path / "scores", scheduler=cluster.scheduler_address)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "scores").exists()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="/proc/self/cwd is what each process makes of it")
def test_files_that_a_worker_does_not_see_are_one_sentence(cluster, tiles, monkeypatch, tmp_path):
    """`/proc/self/cwd` is the tiles' folder here, and another there."""
    monkeypatch.chdir(tiles[0].paths[0].parent)
    with pytest.raises(
        InputError, match=r"worker tcp://\S+ does not see '/proc/self/cwd/DES\S+'; keep tiles"
    ) as raised:
        score("/proc/self/cwd/*.fits.fz", None, Sleeping(), tmp_path / "scores", scheduler=cluster.scheduler_address)
    assert "\n" not in str(raised.value)


def test_links_to_tiles_keep_their_names_on_a_cluster(cluster, tiles, monkeypatch, tmp_path):
    """Also by a relative name, and of files that are called by their folder."""
    (tmp_path / "links" / "field").mkdir(parents=True)
    for path, band in zip(tiles[0].paths, "gri", strict=True):
        (tmp_path / "links" / f"east_{band}.fits.fz").symlink_to(path)
        (tmp_path / "links" / "field" / f"{band}.fits.fz").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    summary = score("links", None, Sleeping(), "scores", scheduler=cluster.scheduler_address)
    assert sorted(tile.tile for tile in summary.scored) == ["east", "field"]
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["east.parquet", "field.parquet"]
    # Two names of one image: its galaxies are the first one's.
    assert [tile.galaxies > 0 for tile in sorted(summary.scored, key=lambda tile: tile.tile)] == [True, False]
