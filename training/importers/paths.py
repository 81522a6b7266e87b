"""Paths, folders and patterns that a user gave, as paths that exist."""

import glob
from collections.abc import Iterable
from pathlib import Path

from morph.errors import InputError


def expand(given: Iterable[str]) -> list[Path]:
    """Every path that `given` names; a name with ``*``, ``?`` or ``[`` is a pattern.

    InputError when a path does not exist or a pattern matches nothing.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.exists():
            found.append(path)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            what = "matches" if glob.has_magic(name) else "is at"
            raise InputError(
                f"Nothing {what} '{name}'; give image files, their folder, or a pattern such as 'images/*.png'."
            )
        found.extend(Path(match) for match in matches)
    return found
