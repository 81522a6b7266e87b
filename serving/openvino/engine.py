"""The engine that runs a model in this process, Keras or OpenVINO, and the conversions in the user's cache.

A conversion is a folder whose name is a digest of the weights, of morph's own code and of OpenVINO's version, so that
one that is out of date has another name. With a conversion at hand neither Keras nor TensorFlow is loaded.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import morph
from morph.atomic import atomic
from morph.errors import InputError, first_line
from serving.openvino.conversion import ABOUT, LIMITS, Parity, convert
from serving.openvino.model import FastModel

#: The engines that --engine takes; MORPH_FAST=0 selects Keras for all of a process.
ENGINES = ("auto", "keras", "openvino")


def choose(engine: str = "auto") -> str:
    """Choose the engine: ``keras`` or ``openvino``.

    ``auto`` is OpenVINO where it is installed, unless MORPH_FAST is 0. InputError when OpenVINO is asked for
    and not installed, and for any other name.
    """
    if engine not in ENGINES:
        raise InputError(f"There is no engine '{engine}'; choose {', '.join(ENGINES[:-1])} or {ENGINES[-1]}.")
    installed = find_spec("openvino") is not None
    if engine == "openvino" and not installed:
        raise InputError("The engine openvino is not installed; get it with `pip install 'morph-galaxies[fast]'`.")
    if engine == "auto":
        return "openvino" if installed and os.environ.get("MORPH_FAST", "1") != "0" else "keras"
    return engine


@contextmanager
def opened(path: Path, engine: str = "auto") -> Iterator[FastModel | None]:
    """Open the model file at `path` with OpenVINO while the context lasts; None where Keras is to run it.

    Keras also runs a model that OpenVINO cannot convert, or whose conversion gives other answers, unless OpenVINO is
    asked for by name.
    """
    if choose(engine) == "keras":
        yield None
        return

    try:
        model = FastModel(converted(path))
    except (RuntimeError, OSError) as error:
        reason = first_line(error)
        if engine == "openvino":
            raise InputError(f"OpenVINO cannot run '{path}' ({reason}); use the engine keras.") from None
        warnings.warn(f"OpenVINO cannot run '{path}' ({reason}); Keras answers, more slowly.", stacklevel=2)
        yield None
        return
    with model:
        yield model


#: The number of conversions that the cache keeps, the newest.
KEPT = 8


def cache_folder() -> Path:
    """The folder of all conversions: ``morph/openvino`` in XDG_CACHE_HOME, or in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "morph" / "openvino"


def converted(path: Path, cache: Path | None = None) -> Path:
    """Return the folder with the conversion of the model file at `path`; make it where the cache has none.

    It appears whole or not at all, and processes that make the same one at once end up with one. Where the cache
    cannot be written to, the folder is a temporary one, removed when the process ends.

    Parameters
    ----------
    cache : the folder of all conversions; `cache_folder` if not given.

    Raises InputError when `path` is not a model, RuntimeError when the conversion does not give the model's numbers.
    """
    folder = (cache or cache_folder()) / _key(path)
    if (folder / ABOUT).is_file():
        return folder
    try:
        # A faster process makes the same conversion.
        with suppress(FileExistsError), atomic(folder, "The conversion", replace=False) as building:
            building.mkdir()
            _make(path, building)
    except InputError:
        return _temporary(path)
    _tidy(folder)
    return folder


def _temporary(path: Path) -> Path:
    """A temporary folder with the conversion, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="morph-openvino-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _make(path, folder)
    return folder


def _key(path: Path) -> str:
    """A digest of everything that a conversion depends on."""
    import openvino

    digest = hashlib.sha256(path.read_bytes())
    digest.update(openvino.__version__.encode())
    sources = Path(morph.__file__).parent.rglob("*.py"), Path(__file__).parent.glob("*.py")
    for source in (file for each in sources for file in sorted(each)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _tidy(newest: Path) -> None:
    """Remove all but the `KEPT` newest conversions, and half-built ones that killed processes left a day ago."""
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
