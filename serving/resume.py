"""What an earlier run has done already, and whether this one may go on from it."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from morph.errors import BadInput
from morph.images.tiles import tile_name
from serving.catalogue import read_about
from serving.job import Job
from serving.summary import Summary, summarise_file

#: What must agree for a score file to be what a run would make again, and what it is called.
SAME = {
    "survey": "survey",
    "model": "model",
    "model_version": "model version",
    "catalogue": "catalogue",
    "selection": "selection",
}

#: The last bytes of a Parquet file.
MAGIC = b"PAR1"

logger = logging.getLogger(__name__)


def leave_out_done(
    groups: list[list[Path]], job: Job, summary: Summary, advance: Callable[[int, int], None]
) -> list[list[Path]]:
    """The tiles without a score file; the others go into the summary. BadInput when a file is not this job's."""
    left, others = [], []
    wanted = job.about()
    for group in groups:
        path, images = job.path(tile_name(group)), fingerprint(group)
        if not path.exists():
            left.append(group)
            continue
        if not _is_whole(path):
            logger.warning("'%s' is damaged; its tile is scored again.", path)
            left.append(group)
            continue
        about = read_about(path)
        # Files of an earlier version say nothing of a selection; there was none.
        different = [name for name in SAME if _key(about.get(name, "")) != _key(wanted[name])]
        if different:
            others.append((path, different, about))
        # A file of an earlier version does not say which images it was made from.
        elif about.get("images", images) != images:
            summary.changed.append(tile_name(group))
            left.append(group)
        else:
            summary.add(summarise_file(path))
            advance(1, 0)
    if others:
        path, different, about = others[0]
        what = " and ".join(SAME[name] for name in different)
        raise BadInput(
            f"{len(others)} score files in '{job.out}' come from another {what} (the first is '{path.name}', by "
            f"{about.get('model')} {about.get('model_version')}); choose another --out, or --overwrite them."
        )
    return left


def fingerprint(group: Sequence[Path]) -> str:
    """What changes when a tile's files do: a hash of their names, sizes and times, for reading them takes as long as
    scoring them."""
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(group) if path.exists()]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _is_whole(path: Path) -> bool:
    """Whether a Parquet file ends as it should; after a power failure it may not."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(MAGIC), 0))
        return file.read() == MAGIC


def _key(value: Any) -> Any:
    """What identifies an entry of the provenance: of a catalogue its content, wherever it was read from."""
    return value.get("digest") if isinstance(value, dict) else value
