"""A recipe in a process of its own, which is killed and started again; and how two such runs differ."""

import io
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from training.weights.steps import RECORD, digest

#: Seconds that a run may take at most.
LONGEST = 3600.0

#: Rounding errors, which a few steps of training enlarge.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4, "equal_nan": True}


class Run:
    """A command that makes weights, with a folder to run in.

    Parameters
    ----------
    folder : its current directory; ``work`` and ``out`` are made in it.
    command : what is run there.
    """

    def __init__(self, folder: Path, command: Sequence[str]):
        self.folder, self.command = folder, [str(word) for word in command]
        self.work, self.out = folder / "work", folder / "out"
        folder.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Run to the end."""
        with self._start() as process:
            assert process.wait(LONGEST) == 0, (self.folder / "printed").read_text()[-3000:]

    def kill_after(self, seconds: float) -> bool:
        """Run for so long and kill; False when it has ended before."""
        begun = time.monotonic()
        return self.kill_when(lambda: time.monotonic() - begun > seconds)

    def kill_when(self, true: Callable[[], bool]) -> bool:
        """Run until something is true and kill; False when it has ended before."""
        begun = time.monotonic()
        with self._start() as process:
            while process.poll() is None:
                if true():
                    process.kill()
                    return True
                assert time.monotonic() - begun < LONGEST
                time.sleep(0.02)
            assert process.returncode == 0, (self.folder / "printed").read_text()[-3000:]
        return False

    def _start(self) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "printed").open("a") as printed:
            return subprocess.Popen(
                self.command, cwd=self.folder, stdout=printed, stderr=subprocess.STDOUT, env=environment
            )

    def half_published(self) -> list[str]:
        """What is wrong with the published files: nothing where there are none, or all of one run."""
        card = self.out / "MODEL_CARD.md"
        models = sorted(self.out.glob("*.keras"))
        if not card.exists() and not models:
            return []
        stated = set(re.findall(r"`([0-9a-f]{32})`", card.read_text())) if card.exists() else set()
        return [] if stated == {digest(path) for path in models} else ["weights and card do not belong together"]


def differences(one: Path, other: Path) -> list[str]:
    """How the files of two runs differ: datasets in any byte, weights beyond rounding, anything in its presence."""
    names = [_names(folder) for folder in (one, other)]
    found = [f"only one run made {name}" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if name.endswith(".keras"):
            found += [f"{name}: {each}" for each in _weights_that_differ(one / name, other / name)]
        elif name.endswith(".parquet") and digest(one / name) != digest(other / name):
            found.append(f"{name} differs")
    return found


def _names(folder: Path) -> set[str]:
    """All files but the record and the lock."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return files - {RECORD, ".weights.lock", "weights.log"}


def _weights_that_differ(one: Path, other: Path) -> list[str]:
    first, second = _arrays(one), _arrays(other)
    if first.keys() != second.keys():
        return ["other arrays"]
    return [name for name, values in first.items() if not np.allclose(values, second[name], **TOLERANCE)]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as weights:
        weights.visititems(
            lambda name, item: (
                found.update({name: item[()].astype("float32")}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found
