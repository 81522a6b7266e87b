"""Joining shards into few of galaxies that are neighbours on the sky; about one of them is in memory at a time."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from morph import signals
from serving.scores.hats import FINEST
from serving.similarity.shard import PLACE, Shard, read_shard_about, write_shard

#: Galaxies in a merged shard at most, unless more have one position or none: 0.6 GB of memory while it is made.
ROWS = 1_000_000

#: HEALPix's pixels at order 0, and the numbers in each at the finest order.
_BASE, _SIZE = 12, 4**FINEST


def merged(
    shards: Sequence[Shard], to: Path, advance: Callable[[str, int, int], None], rows: int | None = None
) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Write merged shards: each of the galaxies of neighbouring HEALPix pixels. One that is there already stays.

    Parameters
    ----------
    shards : what is merged.
    to : folder of shards.
    advance : as for `serving.similarity.build.build`.
    rows : in a shard at most; `ROWS` when not given.

    Yields
    ------
    Folder, number of galaxies and sources of each.
    """
    rows = rows or ROWS
    ranges = list(_joined(_ranges([shard.column(PLACE) for shard in shards], rows), rows))
    state = repr(sorted(shard.folder.name for shard in shards))
    for number, (first, last) in enumerate(ranges):
        advance("Merging", number, len(ranges))
        signals.check()
        name = f"merged-{number:04d}.{hashlib.sha256(f'{state} {first} {last}'.encode()).hexdigest()[:8]}"
        parts = _parts(shards, first, last)
        if len(parts) == 1 and parts[0][1:] == (0, len(parts[0][0])):
            name = parts[0][0].folder.name
        about = read_shard_about(to / name)
        if about is None:
            _write(to / name, parts)
            about = read_shard_about(to / name) or {}
        yield name, about["galaxies"], tuple(about["sources"])
    advance("Merging", len(ranges), len(ranges))


def _parts(shards: Sequence[Shard], first: int, last: int) -> list[tuple[Shard, int, int]]:
    """The shards with galaxies whose HEALPix numbers are in a range, and which of their rows these are."""
    found = []
    for shard in shards:
        begin, end = np.searchsorted(shard.column(PLACE), [first, last]).tolist()
        if end > begin:
            found.append((shard, begin, end))
    return found


def _write(folder: Path, parts: Sequence[tuple[Shard, int, int]]) -> None:
    """One shard of these rows of others."""
    table = pa.concat_tables(
        [shard.rows.slice(begin, end - begin) for shard, begin, end in parts], promote_options="default"
    )
    sources = dict.fromkeys(name for shard, _, _ in parts for name in shard.entry.sources)
    write_shard(
        folder, table, np.concatenate([shard.vectors[begin:end] for shard, begin, end in parts]), list(sources)
    )


def _ranges(places: Sequence[np.ndarray], rows: int) -> Iterator[tuple[int, int, int]]:
    """Ranges of HEALPix numbers that hold at most so many galaxies, in order, and how many each holds. The first is of
    galaxies without a position, -1."""

    def count(first: int, last: int) -> int:
        return sum(int(np.diff(np.searchsorted(place, [first, last]))[0]) for place in places)

    stack = [(k * _SIZE, (k + 1) * _SIZE) for k in reversed(range(_BASE))]
    yield -1, 0, count(-1, 0)
    while stack:
        first, last = stack.pop()
        found = count(first, last)
        if found <= rows or last - first == 1:
            yield first, last, found
        else:
            quarter = (last - first) // 4
            stack += [(first + k * quarter, first + (k + 1) * quarter) for k in reversed(range(4))]


def _joined(ranges: Iterator[tuple[int, int, int]], rows: int) -> Iterator[tuple[int, int]]:
    """Neighbouring ranges as one, as long as they hold at most so many galaxies together."""
    begin, end, held = -1, -1, 0
    for first, last, found in ranges:
        if held and held + found > rows:
            yield begin, end
            begin, held = first, 0
        end, held = last, held + found
    if held:
        yield begin, end
