"""Scoring: survey tiles in, one catalogue of answers a tile out.

A tile is one task. Its file is written atomically, so that a run that was stopped resumes, and a tile that cannot be
scored stops no other. A tile whose images have changed since is scored again, and so is one that overlaps with other
tiles than before.

>>> from serving.scoring.backends import LocalModel
>>> summary = score("tile", None, LocalModel("models:/morph@sdss", "keras"), "found", "des")
>>> [tile.path.name for tile in summary.scored]
['DES0356-5248.parquet']
"""

import csv
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from astropy.table import Table

from morph import signals
from morph.atomic import atomic
from morph.catalogs.spatial_index import SpatialIndex
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.output_lock import output_lock
from morph.parallel import threads_allowed
from morph.surveys import UNKNOWN, get_survey
from morph.tiles.overlaps import find_overlaps
from morph.tiles.prefetch import Readers
from morph.tiles.tile import find_tiles, tile_name
from serving.scores.summary import Scored, ScoresSummary
from serving.scoring.backends import Backend, ModelRef
from serving.scoring.job import Job, leave_out_done, warn_of_duplicates
from serving.scoring.pipeline import Advance, score_tiles

#: The table of the tiles that could not be scored, beside the score files, if there are any.
FAILED = "_failed.csv"
#: The table of the catalogue's rows that cannot be used, likewise.
LEFT_OUT = "_left-out.csv"
#: Processes that read tiles, at most, and the bytes of tiles that make them worth starting: fewer would be read before
#: a process has started.
READERS = 4
WORTH_A_PROCESS = 1 << 26
#: Seconds between lines of progress without a terminal.
REPORT_EVERY = 60.0
#: The index of the catalogue's galaxies, as long as the job runs.
GALAXIES = ".job-galaxies.arrow"


def score(
    tiles: str | Path | Sequence[str | Path] | list[list[Path]],
    catalogue: str | Path | Table | None,
    source: ModelRef,
    out: str | Path,
    survey: str = UNKNOWN.name,
    workers: int = 1,
    overwrite: bool = False,
    advance: Advance = lambda tiles, galaxies: None,
    scheduler: str | None = None,
    token: str | None = None,
    where: str | None = None,
    verify: bool = False,
    calibration: Calibration = HEADERS,
    bands: Sequence[str] = (),
) -> ScoresSummary:
    """Score tiles: one Parquet file each in the folder `out` (see `serving.scores.schema`).

    Parameters
    ----------
    tiles : files, folders or globs, or the groups of files that `find_tiles` makes of them.
    catalogue : the galaxies, by file (any that `Catalog` reads) or as `read_catalog` makes it; None to detect them.
    source : the model, `LocalModel` or `RemoteModel`.
    survey : the tiles' survey, or ``unknown``.
    workers : processes; with more than one, Dask distributes the tiles.
    overwrite : score again the tiles that have a score file.
    advance : called with the number of tiles and galaxies finished since the last call; first, with zeros, when the
        model is loaded.
    scheduler : address of a Dask scheduler whose workers score the tiles, instead of this machine's processes.
    token : of the lock on `out` (`morph.output_lock`) that the caller holds; without one, this holds it.
    where : a condition on the catalogue's rows (see `morph.catalogs.row_filter`).
    verify : whether each file is compared with its checksums first (`morph.fits.images.verify`).
    calibration, bands : of the images, in place of their headers'; see `Tile.open`.

    Returns
    -------
    The summary. Its `failed` lists tiles that cannot be scored, as does the table `FAILED`; its `left_out` rows of the
    catalogue that cannot be used, as does `LEFT_OUT`.

    Raises
    ------
    InputError : a tile, catalogue, model, server or scheduler does not exist; two tiles have one name; another job
        scores into `out`; a file there is of another model, catalogue, selection or survey; no galaxy of the catalogue
        lies on any tile; the model fails, the scheduler is lost, or a file cannot be written. Finished tiles are kept.
    """
    out, survey = Path(out), get_survey(survey).name
    groups = _unique(tiles)
    cluster = scheduler or (workers if workers > 1 and len(groups) > 1 else None)
    with (
        # They start while the model is loaded.
        Readers.started(0 if cluster else _readers(groups)) as readers,
        nullcontext(token) if token else output_lock(out) as holder,
        _indexed(catalogue, survey, where, groups, out) as galaxies,
        source.open() as backend,
    ):
        overlaps, described = find_overlaps(groups, survey), backend.description
        job = Job(source, described, out, survey, galaxies, overlaps, verify, holder, calibration, tuple(bands))
        return _run(groups, job, backend, _Means(cluster, readers, overwrite), advance)


@dataclass(frozen=True)
class _Means:
    """How a job is run: the Dask scheduler's address, or how many processes, or None for this process alone, whose
    `readers` read the tiles; `overwrite` scores again the tiles that are done."""

    cluster: int | str | None
    readers: Readers | None
    overwrite: bool


def _run(groups: list[list[Path]], job: Job, backend: Backend, means: _Means, advance: Advance) -> ScoresSummary:
    summary = ScoresSummary(reference_sample=backend.reference_sample)
    if job.catalogue is not None:
        summary.left_out = job.catalogue.left_out
        rows = job.catalogue.left_out.table().to_pylist()
        _write_table(job.out / LEFT_OUT, ("id", "ra", "dec", "reason"), (row.values() for row in rows))
    warn_of_duplicates(groups, job)
    advance(0, 0)
    if not means.overwrite:
        groups = leave_out_done(groups, job, summary, advance)
    if means.cluster:
        from serving.scoring.cluster import score_on_cluster

        results = score_on_cluster(groups, job, means.cluster, advance)
    else:
        results = score_tiles(groups, job, backend, advance, means.readers)
    try:
        for result in results:
            if not isinstance(result, Scored):
                # A file of other images or other neighbours, which this run would not make.
                job.path(result.tile).unlink(missing_ok=True)
            summary.add(result)
    finally:
        failed = ((each.tile, each.file, each.reason) for each in summary.failed)
        _write_table(job.out / FAILED, ("tile", "file", "reason"), failed)
    _count_outside(summary, job.catalogue)
    return summary


def _count_outside(summary: ScoresSummary, galaxies: SpatialIndex | None) -> None:
    """Count the catalogue's galaxies on no tile. InputError where that is all of them."""
    if galaxies is None:
        return
    summary.outside = len(galaxies) - summary.distinct
    empty = summary.without_galaxies
    if empty and not summary.scored and not summary.failed:
        where = f"tile '{empty[0].tile}'" if len(empty) == 1 else f"any of the {len(empty)} tiles"
        raise InputError(
            f"None of the {len(galaxies):,} galaxies of '{galaxies.source}' lies on {where}; check its positions "
            "(degrees) and tile names."
        )


def _readers(groups: list[list[Path]]) -> int:
    """How many processes read tiles: none on a single core."""
    cores = threads_allowed()
    size = sum(path.stat().st_size for group in groups for path in group if path.is_file())
    return min(READERS, cores) if cores > 1 and size >= WORTH_A_PROCESS else 0


def _unique(tiles) -> list[list[Path]]:
    """The tiles' groups of files. InputError when two tiles have one name."""
    if isinstance(tiles, (str, Path)) or not tiles or isinstance(tiles[0], (str, Path)):
        tiles = find_tiles(tiles)
    names = Counter(tile_name(group) for group in tiles)
    name, count = names.most_common(1)[0]
    if count > 1:
        places = " and ".join(sorted(f"'{group[0].parent}'" for group in tiles if tile_name(group) == name)[:2])
        raise InputError(f"{count} tiles are called '{name}' (in {places}); score them into different folders.")
    return tiles


@contextmanager
def _indexed(
    catalogue: str | Path | Table | None, survey: str, where: str | None, groups: list[list[Path]], out: Path
) -> Iterator[SpatialIndex | None]:
    """An index of the catalogue's galaxies, in a file of `out` that other processes share, while the context lasts."""
    if catalogue is None:
        if where:
            raise InputError("--where chooses from a catalogue; give one with --catalog.")
        yield None
    elif isinstance(catalogue, Table):
        yield SpatialIndex.of_table(catalogue)
    else:
        file = out / GALAXIES
        try:
            yield SpatialIndex.read(catalogue, survey, where, [tile_name(group) for group in groups], file)
        finally:
            file.unlink(missing_ok=True)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Iterable]) -> None:
    """Write a table in CSV, atomically; without rows, remove an earlier job's."""
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic(path, f"'{path.name}'") as building, building.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


class Progress:
    """Tiles, galaxies, galaxies a second and the time left, on standard error, as long as the context lasts.

    A bar on a terminal, a line a minute elsewhere; log messages are printed above the bar.
    """

    def __init__(self, tiles: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("Scoring tiles"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=tiles, rate="")
        self._tiles, self._done, self._galaxies, self._before = tiles, 0, 0, 0
        self._started = self._reported = time.monotonic()
        self._lock = threading.Lock()
        self._handler = _ConsoleHandler(self._console)

    def __enter__(self) -> "Progress":
        logger = logging.getLogger("serving")
        self._level = logger.level
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()
        logger = logging.getLogger("serving")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)

    def advance(self, tiles: int, galaxies: int) -> None:
        """Count tiles and galaxies as finished; the first call, of zeros, starts the clock: the model is loaded."""
        signals.check()
        with self._lock:
            now = time.monotonic()
            if not tiles and not galaxies:
                self._started = self._reported = now
            self._done += tiles
            self._galaxies += galaxies
            # Tiles of an earlier run are counted first, without galaxies; they do not enter the rate.
            if not self._galaxies:
                self._before = self._done
            self._bar.update(self._task, advance=tiles, rate=self._rate())
            if self._bar.disable and now - self._reported >= REPORT_EVERY:
                self._reported = now
                self._console.print(f"{self._done:,} of {self._tiles:,} tiles, {self._rate()}", highlight=False)

    def _rate(self) -> str:
        new = self._done - self._before
        rate = self._galaxies / self.seconds
        text = f"{self._galaxies:,} galaxies, {rate:,.{0 if rate >= 10 else 1}f} a second"
        if new:
            left = timedelta(seconds=round(self.seconds / new * (self._tiles - self._done)))
            text += f", {left} left"
        return text

    @property
    def seconds(self) -> float:
        """Since the model was loaded."""
        return max(time.monotonic() - self._started, 1e-3)


class _ConsoleHandler(logging.Handler):
    def __init__(self, console):
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(f"morph: {record.getMessage()}", highlight=False, markup=False, soft_wrap=True)
