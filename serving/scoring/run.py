"""Scoring: survey tiles in, one catalogue of answers a tile out.

A tile is one task. Its file appears whole or not at all, so a run that is stopped goes on where it was, and a tile
that cannot be used stops no other. A tile whose images have changed since is scored again, and so is one that overlaps
with other tiles than before.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.table import Table

from morph.atomic import atomic
from morph.catalogs.spatial_index import SpatialIndex
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, Calibration
from morph.parallel import threads_allowed
from morph.surveys import UNKNOWN, get_survey
from morph.tiles.overlaps import find_overlaps
from morph.tiles.prefetch import Readers
from morph.tiles.tile import find_tiles, tile_name
from serving.scores.summary import Elsewhere, Scored, Summary
from serving.scoring.backends import ModelRef
from serving.scoring.job import Job
from serving.scoring.output_lock import hold
from serving.scoring.pipeline import Advance, score_tiles
from serving.scoring.resume import leave_out_done, tell_of_others

#: The table of the tiles that could not be scored, beside the score files; there is none where all could.
FAILED = "_failed.csv"
#: The table of the catalogue's rows that cannot be used, likewise.
LEFT_OUT = "_left-out.csv"
#: Processes that read tiles, at most, and the bytes of tiles that make them worth starting: fewer would be read before
#: a process has started.
READERS = 4
WORTH_A_PROCESS = 1 << 26
#: The catalogue's galaxies in the order in which tiles find theirs, as long as the job runs.
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
) -> Summary:
    """Score tiles: one Parquet file each in the folder `out` (see `serving.scores.schema`).

    Parameters
    ----------
    tiles : files, folders or globs, or the groups of files that `find_tiles` makes of them.
    catalogue : the galaxies, by file (whatever `Catalog` takes) or as `read_catalog` makes it; None to detect them
        on the tiles.
    source : who answers: `LocalModel` or `RemoteModel`.
    survey : the tiles' survey; ``unknown`` where nobody knows it.
    workers : processes; with more than one, tiles are spread over them by Dask.
    overwrite : score again what is there already.
    advance : called with the number of tiles and galaxies that have been finished since the last call; first, with
        zeros, when the model is ready.
    scheduler : address of a Dask scheduler whose workers score the tiles, instead of this machine's processes.
    token : of the caller's hold on `out` (`serving.scoring.output_lock`); where it has none, the folder is held for as
    long
        as this takes.
    where : which of the catalogue's rows are wanted (see `morph.catalogs.row_filter`); all if not given.
    verify : whether each file is compared with its checksums first (`morph.fits.images.verify`).
    calibration, bands : what the caller says of the images, before their headers are asked; see `Tile.open`.

    Raises
    ------
    InputError : there is no such tile, catalogue, model, server or scheduler; two tiles have one name; another job
        scores into `out`; a file there was made by another model, or from another catalogue, selection or survey; no
        galaxy of the catalogue lies on any tile; the model fails, the scheduler goes away, or a file cannot be
        written. What is finished by then is kept. What is wrong with single tiles is in the summary's `failed`, and
        in the table `FAILED`; what is wrong with single rows of the catalogue in `left_out` and `LEFT_OUT`.
    """
    out = Path(out)
    survey = get_survey(survey).name
    groups = _groups(tiles)
    summary = Summary()
    spread = scheduler or (workers > 1 and len(groups) > 1)
    with (
        # They start while the model is loaded.
        Readers.started(0 if spread else _readers(groups)) as readers,
        nullcontext(token) if token else hold(out) as holder,
        _sorted(catalogue, survey, where, groups, out) as galaxies,
        source.open() as backend,
    ):
        if galaxies is not None:
            summary.left_out = galaxies.left_out
            rows = galaxies.left_out.table().to_pylist()
            _write_table(out / LEFT_OUT, ("id", "ra", "dec", "reason"), (row.values() for row in rows))
        summary.reference_sample = backend.reference_sample
        job = Job(
            source,
            backend.description,
            out,
            survey,
            galaxies,
            find_overlaps(groups, survey),
            verify,
            holder,
            calibration,
            tuple(bands),
        )
        tell_of_others(groups, job)
        advance(0, 0)
        if not overwrite:
            groups = leave_out_done(groups, job, summary, advance)
        if spread:
            from serving.scoring.cluster import score_on_cluster

            results = score_on_cluster(groups, job, scheduler or workers, advance)
        else:
            results = score_tiles(groups, job, backend, advance, readers)
        try:
            for result in results:
                if not isinstance(result, Scored):
                    # From before, of other images or other neighbours: nothing that this run would make.
                    job.path(result.tile).unlink(missing_ok=True)
                summary.add(result)
        finally:
            failed = ((each.tile, each.file, each.reason) for each in summary.failed)
            _write_table(out / FAILED, ("tile", "file", "reason"), failed)
    if galaxies is not None:
        summary.nowhere = len(galaxies) - _distinct(summary)
    if galaxies is not None and summary.elsewhere and not summary.scored and not summary.failed:
        raise InputError(
            f"None of the {len(galaxies):,} galaxies of '{galaxies.source}' lies on "
            f"{_tiles_in_words(summary.elsewhere)}; check its positions (degrees) and tile names."
        )
    return summary


def _readers(groups: list[list[Path]]) -> int:
    """How many processes are to read tiles: none where the one core that there is has enough to do."""
    cores = threads_allowed()
    size = sum(path.stat().st_size for group in groups for path in group if path.is_file())
    return min(READERS, cores) if cores > 1 and size >= WORTH_A_PROCESS else 0


def _groups(tiles) -> list[list[Path]]:
    if isinstance(tiles, (str, Path)) or not tiles or isinstance(tiles[0], (str, Path)):
        tiles = find_tiles(tiles)
    names = Counter(tile_name(group) for group in tiles)
    name, count = names.most_common(1)[0]
    if count > 1:
        places = " and ".join(sorted(f"'{group[0].parent}'" for group in tiles if tile_name(group) == name)[:2])
        raise InputError(f"{count} tiles are called '{name}' (in {places}); score them into different folders.")
    return tiles


@contextmanager
def _sorted(
    catalogue: str | Path | Table | None, survey: str, where: str | None, groups: list[list[Path]], out: Path
) -> Iterator[SpatialIndex | None]:
    """The catalogue's galaxies, in a file of `out` that other processes share, as long as the context lasts."""
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
    """A table in CSV, whole or not at all; none where there are no rows, not even an earlier job's."""
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic(path, f"'{path.name}'") as building, building.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _distinct(summary: Summary) -> int:
    """How many of the catalogue's galaxies have scores; one on two tiles counts once.

    Ids are kept as hashes of 64 bits, for those of a survey take gigabytes.
    """
    found = [np.empty(0, dtype="int64")]
    for tile in summary.scored:
        ids = pq.read_table(tile.path, columns=["id"])["id"].to_pylist()
        found.append(np.fromiter(map(hash, ids), dtype="int64", count=len(ids)))
    return len(np.unique(np.concatenate(found)))


def _tiles_in_words(tiles: Sequence[Elsewhere]) -> str:
    return f"tile '{tiles[0].tile}'" if len(tiles) == 1 else f"any of the {len(tiles)} tiles"
