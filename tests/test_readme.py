"""Every line of the README, run as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
#: A fenced block: what language it is in, and its text.
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Whether the server answers, which a person reads from the line that it prints.
READY = 'from serving.client import MorphClient; MorphClient("localhost:8500").describe()'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with what the README takes for granted: some pictures and their labels."""
    from PIL import Image

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rows = ["id,label"]
    y, x = np.mgrid[-64:64, -64:64]
    random = np.random.default_rng(3)
    for number, (label, axis_ratio) in enumerate([("elliptical", 0.9), ("edge_on", 0.2), ("elliptical", 0.7)]):
        light = 180 * np.exp(-np.hypot(x, y / axis_ratio) / 9)
        pixels = light[..., None] * [1.0, 0.9, 0.8] + random.normal(6, 2, (128, 128, 3))
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(pictures / f"galaxy{number}.png")
        rows.append(f"galaxy{number},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def script(blocks: list[tuple[str, str]]) -> str:
    """The README's blocks as one shell script that stops at the first failure.

    Only the server's port is another one, so that the test does not meet a server that runs already, and whoever
    started a server in the background waits until it answers.
    """
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for language, text in blocks:
        if language == "python":
            lines += ["python - <<'PYTHON'", text.rstrip(), "PYTHON"]
            continue
        for line in text.strip().splitlines():
            lines.append(line)
            if line.endswith("&"):
                lines.append(f"for i in $(seq 60); do python -c '{READY}' 2>/dev/null && break; sleep 1; done")
    return "\n".join(lines).replace("8500", "$PORT").replace('"localhost:$PORT"', '__import__("os").environ["AT"]')


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_works(folder: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    assert len(blocks) >= 8
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORT": str(port), "AT": f"localhost:{port}"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script(blocks)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list((folder / "scores").glob("*.parquet"))
    assert (folder / "report.html").stat().st_size > 100_000
    assert '"probabilities"' in done.stdout  # JSON lines of `classify --json`
    assert "(4, 42)" in done.stdout  # the Python client
