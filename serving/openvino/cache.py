"""Conversions of models, kept in the user's cache.

A conversion is a folder whose name is a digest of the weights, of morph's own code and of OpenVINO's version: whatever
could make it stale gives it another name. Where it is there, neither Keras nor TensorFlow is loaded.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

import morph
from morph.atomic import atomic
from morph.errors import InputError
from serving.openvino.model import FastModel
from serving.openvino.parity import LIMITS, Parity
from serving.openvino.parts import ABOUT, convert

#: How many conversions the cache keeps, the newest: a few models, and not one for every day of training.
KEPT = 8


def cache_folder() -> Path:
    """Where conversions are kept: ``morph/openvino`` in XDG_CACHE_HOME, or in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "morph" / "openvino"


def converted(path: Path, cache: Path | None = None) -> Path:
    """The folder with the conversion of the model file at `path`, made where the cache has none.

    It appears whole or not at all, and processes that make the same one at once end up with one. Where the cache
    cannot be written to, the folder is a temporary one, gone with the process.

    Parameters
    ----------
    cache : the folder of all conversions; `cache_folder` if not given.

    Raises InputError when `path` is no model, RuntimeError when the conversion does not give the model's numbers.
    """
    folder = (cache or cache_folder()) / _key(path)
    if (folder / ABOUT).is_file():
        return folder
    try:
        # Another process that is faster makes the very same.
        with suppress(FileExistsError), atomic(folder, "The conversion", replace=False) as building:
            building.mkdir()
            _make(path, building)
    except InputError:
        return _temporary(path)
    _tidy(folder)
    return folder


def _temporary(path: Path) -> Path:
    """A folder with the conversion that goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="morph-openvino-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _make(path, folder)
    return folder


def _key(path: Path) -> str:
    """A digest of all that a conversion depends on."""
    import openvino

    digest = hashlib.sha256(path.read_bytes())
    digest.update(openvino.__version__.encode())
    sources = Path(morph.__file__).parent.rglob("*.py"), Path(__file__).parent.glob("*.py")
    for source in (file for each in sources for file in sorted(each)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _tidy(newest: Path) -> None:
    """Remove all but the `KEPT` newest conversions, and what killed processes left half-built a day ago."""
    others = [folder for folder in newest.parent.glob("[!.]*") if folder != newest]
    others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    abandoned = [f for f in newest.parent.glob(".*") if f.stat().st_mtime < newest.stat().st_mtime - 86400]
    for folder in [*others[KEPT - 1 :], *abandoned]:
        shutil.rmtree(folder, ignore_errors=True)


def _make(path: Path, folder: Path) -> None:
    """Convert the model file at `path` into `folder`, and compare the answers."""
    from morph.model.store import load_model

    classifier = load_model(path)
    convert(classifier, folder)
    galaxies = _galaxies(classifier.size)
    expected = classifier.answer(galaxies)
    with FastModel(folder, threads=1) as fast:
        found = Parity.of(fast.answer(galaxies, tuple(expected)), expected)
    # Among so few galaxies a single flag at the threshold's edge would be too many.
    if not found.within(replace(LIMITS, flags=0.05)):
        raise RuntimeError(f"the conversion's answers are not the model's: {found}")


def _galaxies(size: int, count: int = 64) -> np.ndarray:
    """Exponential disks of many brightnesses and colours on noise, one without a band and one without data."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    across = y / random.uniform(0.3, 1, (count, 1, 1))
    disks = np.exp(-np.hypot(x, across) / (0.1 * size))[..., None] * random.uniform(0.5, 1.5, (count, 1, 1, 3))
    flux = 10 ** random.uniform(-1, 2, (count, 1, 1, 1)) * disks + random.normal(0.02, 0.02, disks.shape)
    flux[0, ..., 2], flux[1] = np.nan, np.nan
    return flux.astype("float32")
