"""Pictures of galaxies that are easy to tell apart, and tables about them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from training.importers.tables import Table


@pytest.fixture(scope="session")
def draw():
    """A function that draws a galaxy: uint8 [size, size, 3], an exponential disk of the given half-light radius."""

    def picture(radius: float = 10.0, axis_ratio: float = 1.0, size: int = 120, seed: int = 0) -> np.ndarray:
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        scale = radius / 1.678
        light = np.exp(-np.hypot(x, y / axis_ratio) / scale)[..., None] * np.array([200.0, 170.0, 140.0])
        noise = np.random.default_rng(seed).normal(4, 2, (size, size, 3))
        return np.clip(light + noise, 0, 255).astype("uint8")

    return picture


@pytest.fixture
def pictures(draw, tmp_path) -> Path:
    """A folder of six galaxies, `0101.png` ... `0106.png`; those with odd numbers are edge-on."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(1, 7):
        Image.fromarray(draw(axis_ratio=0.2 if i % 2 else 1.0, seed=i)).save(folder / f"010{i}.png")
    return folder


@pytest.fixture
def write(tmp_path):
    """A function that writes text to a file of that name and gives its path."""

    def write_text(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write_text


@pytest.fixture(scope="session")
def table():
    """A function that makes a table of columns."""

    def make(columns: dict[str, list] | None = None, **more: list) -> Table:
        return Table(pa.table({**(columns or {}), **more}), "labels.csv")

    return make
