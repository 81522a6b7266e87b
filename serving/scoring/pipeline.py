"""Tiles scored one after the other: while the model answers for some galaxies, the next are read and cut.

A thread reads the tiles' rows and cuts their galaxies into full batches, of which at most `WAITING` wait for the
model, so that memory does not grow with the tiles. A batch never holds galaxies of two tiles: a tile's scores do not
depend, to the last bit, on the tiles before it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from morph.catalogs.detection import detect
from morph.errors import InputError
from morph.fits.images import verify
from morph.output_lock import held_by
from morph.parallel import map_threads, prefetch
from morph.stamps.flags import Flag
from morph.stamps.stamp_stream import StampBatch, stream_stamps
from morph.tiles.overlaps import area
from morph.tiles.prefetch import Readers
from morph.tiles.tile import Tile, tile_name
from serving.scores.schema import write_scores
from serving.scores.summary import Failed, Result, Scored, WithoutGalaxies, summarise
from serving.scoring.backends import Backend
from serving.scoring.job import Job, fingerprint
from serving.scoring.measurements import TileMeasurements

#: Galaxies that are answered together, and how many such batches may wait for the model: 100 MB of stamps, and time
#: enough to read the first rows of the next tile.
BATCH = 256
WAITING = 8

#: A tile's first batches are smaller: until the first is full, the model has nothing to do.
FIRST = (64, 128)

#: Called with the number of tiles and of galaxies that have been finished since the last call.
Advance = Callable[[int, int], None]


def score_tiles(
    groups: Iterable[list[Path]], job: Job, backend: Backend, advance: Advance, readers: Readers | None = None
) -> Iterator[Result]:
    """Score tiles one after the other in this process, each as it is finished.

    Parameters
    ----------
    groups : the images of each tile.
    job : what the tiles have in common.
    backend : the model.
    advance : called with the numbers of tiles and galaxies finished since.
    readers : processes that read rows of compressed images.

    Yields
    ------
    A result for every tile; `Failed` for one that cannot be scored.

    Raises
    ------
    InputError : the backend fails, or a file cannot be written.
    """

    # A worker may compute by another engine than the process that started the job.
    engine = backend.description.get("engine", "server")
    job = replace(job, description={**job.description, "engine": engine})

    def answered(item: "_Batch | _ScoredTile | Failed | WithoutGalaxies"):
        return item, backend.answer(item.stamps) if isinstance(item, _Batch) else {}

    for item, outputs in map_threads(answered, prefetch(_read_tiles(groups, job, readers), WAITING), backend.at_once):
        if isinstance(item, _Batch):
            item.measurements.add_answers(item.rows, item.stamps, outputs)
            advance(0, len(item.rows))
        elif isinstance(item, _ScoredTile):
            result = _write(item, job)
            advance(1, int((~item.measurements.scores.answered).sum()))
            yield result
        else:
            advance(1, 0)
            yield item


@dataclass(frozen=True)
class _ScoredTile:
    """A tile whose galaxies are cut and answered; `about` is its own part of the score file's provenance."""

    tile: str
    about: dict[str, Any]
    measurements: TileMeasurements


@dataclass(frozen=True)
class _Batch:
    """Galaxies with data, which belong to the rows `rows` of their tile."""

    measurements: TileMeasurements
    rows: np.ndarray
    stamps: np.ndarray


def _read_tiles(
    groups: Iterable[list[Path]], job: Job, readers: Readers | None
) -> Iterator[_Batch | _ScoredTile | Failed | WithoutGalaxies]:
    """Every tile's batches and then the tile; or the reason why it has no scores."""
    for group in groups:
        try:
            yield from _read_tile(group, job, readers)
        except InputError as error:
            yield Failed(tile_name(group), str(error), str(group[0]))
        # One bad tile of thousands must not stop the others.
        except Exception as error:
            first = (str(error).strip() or "no reason given").splitlines()[0]
            reason = f"{type(error).__name__} in '{group[0]}': {first}."
            yield Failed(tile_name(group), reason, str(group[0]))


def _read_tile(
    group: list[Path], job: Job, readers: Readers | None
) -> Iterator[_Batch | _ScoredTile | WithoutGalaxies]:
    overlap = job.overlaps.get(tile_name(group))
    images = fingerprint(group, overlap)
    with Tile.open(group, job.survey, overlap, job.calibration, job.bands) as tile:
        listed = None if job.catalogue is None else job.catalogue.of(tile)
        if listed is not None and not len(listed):
            yield WithoutGalaxies(tile.name)
            return
        for path in tile.files if job.verify else ():
            verify(path)
        galaxies = detect(tile, readers=readers) if listed is None else listed
        measurements = TileMeasurements(tile, galaxies, job.description, listed is None)
        radius = np.asarray(galaxies["radius"], dtype=float) / tile.pixel_scale
        size, observe = int(job.description["size"]), measurements.photometry.observe
        # Without reader processes, one thread takes the least time of the processors, which the model keeps busy.
        cut = stream_stamps(tile, galaxies["x"], galaxies["y"], radius, size, threads=1, readers=readers, look=observe)
        yield from _batches(measurements, cut)
        yield _ScoredTile(tile.name, _about(tile, images), measurements)


def _about(tile: Tile, images: str) -> dict[str, Any]:
    """A tile's own part of the provenance; `images` is the fingerprint of its files."""
    return {
        "tile": tile.name,
        "tilename": tile.tilename,
        "files": {band: path.name for band, path in tile.paths.items()},
        "images": images,
        "bands": list(tile.bands),
        "channels": list(tile.channels),
        "zero_points": {
            band: {"magnitude": point.magnitude if point.known else None, "source": point.source}
            for band, point in tile.zero_points.items()
        },
        "pixel_scale": tile.pixel_scale,
        "area": area(tile),
        "resampled": tile.resampled,
        "notes": list(tile.notes),
        "simulated": tile.simulated,
    }


def _batches(measurements: TileMeasurements, strips: Iterable[StampBatch]) -> Iterator[_Batch]:
    """The galaxies with data, `BATCH` at a time, the first and the last ones fewer."""
    sizes = chain(FIRST, repeat(BATCH))
    size, count, rows, shown = next(sizes), 0, np.empty(0, dtype=int), None
    for cut in strips:
        measurements.add_stamps(cut)
        asked = np.flatnonzero((cut.flags & Flag.NO_DATA) == 0)
        while len(asked):
            if shown is None:
                rows, shown = np.empty(size, dtype=int), np.empty((size, *cut.stamps.shape[1:]), cut.stamps.dtype)
            some, asked = np.split(asked, [size - count])
            end = count + len(some)
            rows[count:end] = cut.rows[some]
            # With another mode there would be a copy on the way.
            np.take(cut.stamps, some, axis=0, out=shown[count:end], mode="clip")
            count = end
            if count == size:
                yield _Batch(measurements, rows, shown)
                size, count, shown = next(sizes), 0, None
    if shown is not None:
        yield _Batch(measurements, rows[:count], shown[:count])


def _write(scored: _ScoredTile, job: Job) -> Scored:
    scores = scored.measurements.finish()
    # A worker may outlive the job that it works for; another job may own the folder by then.
    if job.token and held_by(job.out) != job.token:
        raise InputError(f"The job that scored tile '{scored.tile}' does not hold '{job.out}' any more.")
    path = job.path(scored.tile)
    seeing = scored.measurements.photometry.psf_fwhm
    about = {**job.about(), **scored.about, "psf_fwhm": float(seeing) if np.isfinite(seeing) else None}
    return summarise(path, write_scores(path, scored.tile, scores, job.description, about), about)
