"""What tests of every package use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from morph.__main__ import main

# Converting a model takes longer than a small test; those of the fast path ask for it.
os.environ.setdefault("MORPH_FAST", "0")


#: Files that take minutes: they go first, so that no process is left with one of them at the end.
LONG = ("test_readme.py", "test_quickstart.py", "test_transfer.py", "test_fit.py", "test_adapt.py", "test_survival.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real survey images and votes."""
    folder = Path(os.environ.get("MORPH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real survey images are not at {folder}; set MORPH_DATA to their folder")
    return folder


@pytest.fixture
def morph(monkeypatch, capsys):
    """Runs `morph ARGUMENTS`; returns exit status, standard output and standard error."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["morph", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A new MLflow database; making one takes seconds, so tests copy it. Two commands make it at once."""
    folder = tmp_path_factory.mktemp("mlflow")
    code = "from training.records import tracking; tracking.setup(); tracking.list_runs()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    jobs = [subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=_clean(), **pipes) for _ in range(2)]
    said = [job.communicate(timeout=300)[0] for job in jobs]
    assert [(job.returncode, text) for job, text in zip(jobs, said, strict=True)] == [(0, "")] * 2, "quietly"
    return folder / "mlruns" / "mlflow.db"


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | {
        "PYTHONPATH": os.pathsep.join(sys.path)
    }
