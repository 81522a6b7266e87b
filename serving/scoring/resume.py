"""What an earlier run has done already, and whether this one may go on from it."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from morph.errors import InputError
from morph.tiles.footprints import Overlap, on_any
from morph.tiles.tile import tile_name
from serving.scores.schema import read_about, readable
from serving.scores.summary import Scored, Summary, summarise_file
from serving.scoring.job import Job

#: What must agree for a score file to be what a run would make again, and what it is called.
SAME = {
    "survey": "survey",
    "model": "model",
    "model_version": "model version",
    "catalogue": "catalogue",
    "selection": "selection",
    "calibration": "zero point, unit or bands",
}

#: The last bytes of a Parquet file.
MAGIC = b"PAR1"

DAMAGED = "'%s' is damaged; its tile is scored again."

logger = logging.getLogger(__name__)


def leave_out_done(
    groups: list[list[Path]], job: Job, summary: Summary, advance: Callable[[int, int], None]
) -> list[list[Path]]:
    """The tiles without a score file; the others go into the summary. InputError when a file is not this job's."""
    left, others = [], []
    wanted = job.about()
    for group in groups:
        name = tile_name(group)
        path, images = job.path(name), fingerprint(group, job.overlaps.get(name))
        if not path.exists():
            left.append(group)
            continue
        if not _is_whole(path):
            logger.warning(DAMAGED, path)
            left.append(group)
            continue
        about = read_about(path)
        # Files of an earlier version say nothing of a selection; there was none.
        different = [name for name in SAME if _key(about.get(name, "")) != _key(wanted[name])]
        if different:
            others.append((path, different, about))
        # A file of an earlier version does not say which images it was made from.
        elif about.get("images", images) != images:
            summary.changed.append(name)
            left.append(group)
        elif (done := _summarised(path)) is None:
            left.append(group)
        else:
            summary.add(done)
            advance(1, 0)
    if others:
        path, different, about = others[0]
        what = " and ".join(SAME[name] for name in different)
        raise InputError(
            f"{_files(len(others))} in '{job.out}' from another {what} (the first is '{path.name}', by "
            f"{about.get('model')} {about.get('model_version')}); choose another --out, or --overwrite them."
        )
    return left


def tell_of_others(groups: list[list[Path]], job: Job) -> None:
    """Look at what the folder has of tiles that are not given: warn where it has galaxies on tiles that are.

    Edges tell apart the tiles that are given together, and no others; a survey's rule tells apart all. InputError when
    there is a table that is no score file, or is damaged: the run's catalogue could not be made in the end.
    """
    given = {tile_name(group) for group in groups}
    sky = [overlap.own for overlap in job.overlaps.values()]
    found: dict[str, int] = {}
    for path in sorted(job.out.glob("*.parquet")):
        if path.stem in given or path.name[0] in "._":
            continue
        read_about(path)
        if not sky:
            continue
        with readable(path):
            places = pq.read_table(path, columns=["ra", "dec"])
        count = int(on_any(sky, *(_array(places[name]) for name in ("ra", "dec"))).sum())
        if count:
            found[path.stem] = count
    if found:
        logger.warning(
            "'%s' has scores of other tiles than those given ('%s' is the first of %d), and %d of their galaxies lie "
            "on these, so that they may be there twice. Give all tiles at once: the same command then puts it right.",
            job.out,
            next(iter(found)),
            len(found),
            sum(found.values()),
        )


def fingerprint(group: Sequence[Path], overlap: Overlap | None = None) -> str:
    """What changes when a tile's files do, or the tiles that share its sky.

    A hash of the files' names, sizes and times, for reading them takes as long as scoring them.
    """
    states: list[Any] = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(group) if p.exists()]
    if overlap is not None:
        states += [astuple(other) for other in overlap.others]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers, NaN where one is null."""
    return np.asarray(column.to_numpy(), dtype=float)


def _is_whole(path: Path) -> bool:
    """Whether a Parquet file ends as it should; after a power failure it may not."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(MAGIC), 0))
        return file.read() == MAGIC


def _summarised(path: Path) -> Scored | None:
    """What a score file that ends as it should holds; None where its rows cannot be read all the same."""
    try:
        return summarise_file(path)
    except InputError:
        logger.warning(DAMAGED, path)
        return None


def _files(count: int) -> str:
    return "A score file is" if count == 1 else f"{count:,} score files are"


def _key(value: Any) -> Any:
    """What identifies an entry of the provenance: of a catalogue its content, wherever it was read from."""
    return value.get("digest") if isinstance(value, dict) else value
