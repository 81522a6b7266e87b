"""Files and folders that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morph.errors import BadInput


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to build `path` at, which takes its name when the block ends well and is gone when it does not.

    What an earlier, killed run left half-built is removed first.

    >>> with whole(Path("table.fits")) as building:  # doctest: +SKIP
    ...     building.write_bytes(b"...")

    Raises BadInput when the place cannot be written to, or its disk is full.
    """
    building, old = (path.with_name(f".{path.name}.{what}") for what in ("building", "old"))
    try:
        _remove(building)
        _remove(old)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield building
        # A folder cannot take the place of one that is not empty.
        if path.is_dir():
            path.rename(old)
        building.rename(path)
    except OSError as error:
        raise BadInput(f"'{path}' cannot be written ({error.strerror or error}).") from None
    finally:
        _remove(building)
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        # Where nothing can be removed, nothing can be written either, and that is what is said.
        with suppress(OSError):
            path.unlink()
