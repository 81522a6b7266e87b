"""Every line of the README, run as it is written."""

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with what the README takes for granted: some pictures with labels, and transients."""
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
    # At the centre of the simulated tile, DES0356-5248.
    (tmp_path / "transients.csv").write_text("id,ra,dec\nsn1,59.0,-52.8\n")
    return tmp_path


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_works(folder: Path, run_page) -> None:
    output = run_page(ROOT / "README.md", folder)
    assert list((folder / "scores").glob("*.parquet"))
    assert (folder / "report.html").stat().st_size > 100_000
    assert list((folder / "supernovae").glob("*.parquet"))
    assert (folder / "hosts.parquet").is_file()
    assert '"probabilities"' in output  # JSON lines of `classify --json`
    assert "(4, 42)" in output  # the Python client
