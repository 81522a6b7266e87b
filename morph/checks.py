"""Checks before work starts: whether output can be written, data fit into memory, and a format is known."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from morph.errors import InputError
from morph.signals import signals_deferred

#: Versions of the formats of datasets (`morph.dataset`), models (`morph.model.store`) and score files
#: (`serving.scores.schema`). A version rises when earlier versions of morph can no longer read what is written. What
#: has none was written before there were versions, and is read as version 1. Score files of version 1 have fluxes in
#: nanomaggies, later ones in nanojansky; since version 3 they have similarity vectors, and models since version 2.
DATASET_FORMAT, MODEL_FORMAT, SCORES_FORMAT = 1, 2, 3

#: That of files of codes (`morph.model.code_files`).
CODES_FORMAT = 1

#: The oldest version of a model that is read: one of before lacks parts of today's.
OLDEST_MODEL_FORMAT = 2

#: The key of the version in each.
FORMAT = "format"

#: Memory that Keras, TensorFlow and a model take, bytes.
BASE = 1.0e9

#: Copies of a dataset's images that are held at once while it is read, and while a part of it is selected.
COPIES = 2

#: Linux's files with the memory that a container may use and uses, of control groups 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)

#: Lines of ``memory.stat`` with the part of it that is the cache of files, which is freed on demand.
_CACHE = ("active_file", "inactive_file")


def check_file(path: Path, option: str = "--to") -> None:
    """InputError unless a file can be written at `path`, in place of an older file or of nothing."""
    if os.path.isdir(path):
        raise InputError(f"'{path}' is a folder; give {option} the name of a file.")
    _try_writing(path, option)


def check_folder(path: Path, option: str = "--to") -> None:
    """InputError unless a folder can be made at `path`, or files be written into the one that is there."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise InputError(f"'{path}' is a file; give {option} the name of a folder.")
    _try_writing(path / "part" if os.path.isdir(path) else path, option)


def _try_writing(path: Path, option: str) -> None:
    """Write a file beside `path`, or in the folder that its folders will be made in, and remove it again."""
    folder = path.absolute().parent
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    attempt = folder / f".{path.name}.{os.getpid()}.try"
    try:
        with signals_deferred():
            attempt.touch(exist_ok=False)
            attempt.unlink()
    except OSError as error:
        raise InputError(f"'{path}' cannot be written ({error.strerror}); choose another {option}.") from None


def check_memory(datasets: Iterable[str | Path] = (), images: float = 0.0) -> None:
    """InputError unless these datasets fit into memory together, by a rough estimate.

    Parameters
    ----------
    datasets : folders of Parquet files as `morph.dataset` writes them.
    images : bytes of images beside them, such as those of a dataset that is to be made and read.
    """
    needed = BASE + COPIES * (images + sum(image_bytes(path) for path in datasets))
    available = available_memory()
    if needed > available:
        raise InputError(
            f"The images take about {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are available; "
            f"use a smaller dataset or a larger machine."
        )


def image_bytes(path: str | Path) -> float:
    """Bytes of a dataset's images in memory, from the headers of its files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = 0.0
    for part in sorted(Path(path).glob("part-*.parquet")):
        try:
            header = pq.read_metadata(part)
            image = header.schema.to_arrow_schema().field("image").type
            storage = image.storage_type if isinstance(image, pa.BaseExtensionType) else image
            total += header.num_rows * storage.list_size * storage.value_type.bit_width / 8
        except (pa.ArrowException, KeyError, AttributeError, OSError):
            continue  # reading it reports what is wrong
    return total


def available_memory() -> float:
    """Bytes that this process can still take without swapping: of the machine, or of its container if that is less."""
    import psutil

    available = float(psutil.virtual_memory().available)
    for folder, limit, used in _CGROUPS:
        try:
            limited, taken = (float((Path(folder) / name).read_text()) for name in (limit, used))
            statistics = dict(line.split() for line in (Path(folder) / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such control group, or "max"
            continue
        available = min(available, limited - taken + sum(float(statistics.get(name, 0)) for name in _CACHE))
    return available


def check_format(found: Any, known: int, what: str, path: str | Path) -> None:
    """Check that something on disk has a format that this version of morph reads.

    Parameters
    ----------
    found : the version that was read; None where there is none.
    known : the highest version that this version of morph reads.
    what : "dataset", "model" or "score file", for the message.
    path : where it is, for the message.

    Raises
    ------
    InputError : the version is higher than `known`, or not a version at all.
    """
    if found is None:
        return
    if not isinstance(found, int) or not 1 <= found <= known:
        from morph import __version__

        raise InputError(
            f"The {what} '{path}' has format {found}; morph {__version__} reads formats up to {known}. "
            "Install a newer morph, or the one that made it."
        )
