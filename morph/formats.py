"""Versions of the formats of what morph keeps on disk, so that an older or newer one is read or refused knowingly.

A number rises when what is written can no longer be read as before. What bears none is older than the numbers, and is
read as version 1 was.
"""

from pathlib import Path
from typing import Any

from morph.errors import InputError

#: Of datasets (`morph.dataset`), models (`morph.model.store`) and score files (`serving.scores.schema`).
DATASET, MODEL, SCORES = 1, 1, 1

#: Under which name the number stands in each.
FORMAT = "format"


def check_format(found: Any, known: int, what: str, path: str | Path) -> None:
    """InputError unless something on disk has a format that this version of morph reads.

    Parameters
    ----------
    found : the number that stands there; None where none does.
    known : the highest that this version reads.
    what : "dataset", "model" or "score file".
    """
    if found is None:
        return
    if not isinstance(found, int) or not 1 <= found <= known:
        from morph import __version__

        raise InputError(
            f"The {what} '{path}' has format {found}; morph {__version__} reads formats up to {known}. "
            "Install a newer morph, or the one that made it."
        )
