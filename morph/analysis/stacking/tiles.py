"""The tiles of a stack, measured by several processes; what each gave is kept in a folder of its own."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from morph import __version__
from morph.analysis.stacking.cutouts import LARGEST_HALF
from morph.analysis.stacking.measured import write_part
from morph.analysis.stacking.sample import Sample
from morph.analysis.stacking.targets import Plan
from morph.analysis.stacking.tile_part import MARGIN, PIXELS, measure_tile
from morph.atomic import atomic
from morph.console import track
from morph.errors import InputError, first_line
from morph.parallel import process_pool, threads_allowed
from morph.tiles.discovery import tile_name
from morph.tiles.footprints import Overlap
from morph.tiles.overlaps import find_overlaps
from morph.tiles.tile import Tile

#: Memory that all processes may take together, that of one without pixels, and that for one pixel of a strip, bytes.
MEMORY, BASE, PER_PIXEL = 1.9e9, 0.3e9, 130.0


def digest(sample: Sample, plan: Plan) -> str:
    """What the parts depend on."""
    text = json.dumps({**asdict(plan), "software": __version__}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for values in vars(sample).values():
        digest.update(repr(values.tolist()).encode())
    return digest.hexdigest()[:16]


def measure_all(
    groups: Sequence[Sequence[Path]],
    sample: Sample,
    plan: Plan,
    folder: Path,
    processes: int | None,
    progress: bool,
    notes: list[str],
) -> list[tuple[str, Path]]:
    """Measure every tile that is not measured yet.

    Parameters
    ----------
    groups : the tiles' files.
    sample, plan : what is measured, and how.
    folder : that keeps what each tile gave.
    processes : that measure; by cores and memory if not given.
    progress : whether to show a bar.
    notes : to which tiles that are left out are added.

    Returns
    -------
    Names and folders of the parts.

    Raises
    ------
    InputError : no tile can be measured.
    """
    overlaps = find_overlaps(groups, plan.survey)
    parts = {}
    for group in groups:
        changed = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in group]
        key = hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:12]
        parts[tile_name(group)] = (group, folder / f"{tile_name(group)}-{key}")
    tasks = [
        _Task(tuple(group), sample, plan, overlaps.get(name), path)
        for name, (group, path) in parts.items()
        if not path.exists()
    ]
    failed: dict[str, str] = {}
    for name, problem in track(_run(tasks, processes), "measuring tiles", len(tasks), progress):
        if problem:
            failed[name] = problem
    done = [(name, path) for name, (_, path) in parts.items() if name not in failed]
    if not done:
        raise InputError(f"No tile could be measured: {next(iter(failed.values()))}")
    notes += [f"Tile '{name}' is left out: {problem}" for name, problem in failed.items()]
    return done


@dataclass(frozen=True)
class _Task:
    """A tile to be measured."""

    group: tuple[Path, ...]
    sample: Sample
    plan: Plan
    overlap: Overlap | None
    path: Path

    def __call__(self) -> tuple[str, str]:
        """Keep what the tile gives: its name, and why it gives nothing."""
        name = tile_name(self.group)
        try:
            found = measure_tile(self.group, self.sample, self.plan, self.overlap)
            with atomic(self.path, f"What tile '{name}' gave") as building:
                write_part(building, found)
        except InputError as error:
            return name, str(error)
        except (OSError, ValueError) as error:
            return name, f"it cannot be read ({first_line(error)})."
        return name, ""


def _call(task: _Task) -> tuple[str, str]:
    return task()


def _run(tasks: Sequence[_Task], processes: int | None) -> Iterator[tuple[str, str]]:
    """The tasks, shared among processes: at most as many as memory allows."""
    if not tasks:
        return
    wanted = min(processes or threads_allowed(), len(tasks))
    if wanted > 1:
        wanted = max(1, min(wanted, int(MEMORY / (BASE + PER_PIXEL * _strip_pixels(tasks[0])))))
    if wanted == 1:
        yield from map(_call, tasks)
        return
    with process_pool(wanted) as pool:
        for future in as_completed([pool.submit(_call, task) for task in tasks]):
            yield future.result()


def _strip_pixels(task: _Task) -> float:
    """Pixels of a tile that are in memory at once, at most."""
    with Tile.open(task.group, task.plan.survey) as tile:
        half = min(task.plan.reach * float(np.max(task.sample.unit)) / tile.pixel_scale, LARGEST_HALF) + MARGIN
        return min(max(PIXELS, 2 * half * tile.shape[1]), float(np.prod(tile.shape)))
