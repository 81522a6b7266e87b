"""What tests of every package use."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from morph.cli.main import main

# Converting a model takes longer than a small test; those of the fast path ask for it.
os.environ.setdefault("MORPH_FAST", "0")


#: Files that take minutes: they go first, so that no process is left with one of them at the end.
LONG = (
    "test_readme.py",
    "test_tutorials.py",
    "test_quickstart.py",
    "test_transfer.py",
    "test_fit.py",
    "test_adapt.py",
    "test_survival.py",
)


#: Fixtures that train, export or serve a model, make a database of runs, or run a page of the documentation.
SLOW_FIXTURES = {"classifier", "model_dir", "server", "exported", "migrated", "run_page"}
#: Folders and files, below this one, whose tests build or train models, or start processes that do.
SLOW = (
    "morph/model",
    "serving/openvino",
    "serving/scoring/test_clusters.py",
    "serving/scoring/test_survival.py",
    "test_faults.py",
    "test_quickstart.py",
    "training/cli/test_pretrain.py",
    "training/evaluation/test_anomalies.py",
    "training/fitting",
    "training/label_budget",
    "training/weights",
)


def is_slow(item: pytest.Item) -> bool:
    """Whether `make test-fast` leaves a test out."""
    place = os.path.relpath(item.path, Path(__file__).parent)
    return bool(SLOW_FIXTURES & {*getattr(item, "fixturenames", ())}) or place.startswith(SLOW)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)
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
    code = "from training.experiments import tracking; tracking.setup(); tracking.list_runs()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    jobs = [subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=_clean(), **pipes) for _ in range(2)]
    said = [job.communicate(timeout=300)[0] for job in jobs]
    assert [(job.returncode, text) for job, text in zip(jobs, said, strict=True)] == [(0, "")] * 2, "quietly"
    return folder / "mlruns" / "mlflow.db"


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | {
        "PYTHONPATH": os.pathsep.join(sys.path)
    }


#: A fenced block of a page that is run: its language and its text.
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Whether the server answers, which a person reads from the line that it prints.
READY = 'from serving.client import MorphClient; MorphClient("localhost:8500").describe()'


def script(page: str) -> str:
    """A page's blocks as one shell script that stops at the first failure.

    Only the server's port differs, so that the test does not meet a server that runs already, and whoever started a
    server in the background waits until it answers.
    """
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for language, text in BLOCK.findall(page):
        if language == "python":
            lines += ["python - <<'PYTHON'", text.rstrip(), "PYTHON"]
            continue
        for line in text.strip().splitlines():
            lines.append(line)
            if line.endswith("&"):
                lines.append(f"for i in $(seq 60); do python -c '{READY}' 2>/dev/null && break; sleep 1; done")
    return "\n".join(lines).replace("8500", "$PORT").replace('"localhost:$PORT"', '__import__("os").environ["AT"]')


@pytest.fixture
def run_page() -> Callable[..., str]:
    """Runs the blocks of a page of documentation in a folder; returns what they print."""

    def run(page: Path, folder: Path, replaced: Mapping[str, str] | None = None) -> str:
        text = page.read_text()
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PORT": str(port), "AT": f"localhost:{port}"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        assert len(BLOCK.findall(text)) >= 3
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-c", script(text)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run
