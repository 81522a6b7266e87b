"""What scoring costs on this machine, measured in a few seconds on a few rows of a tile."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat, takewhile
from pathlib import Path

import numpy as np
from astropy.table import Table

from morph.catalogs.detection import detect
from morph.catalogs.spatial_index import SpatialIndex
from morph.errors import InputError
from morph.fits.zero_points import HEADERS, UNCALIBRATED, Calibration
from morph.parallel import map_threads
from morph.stamps.cutting import cut_from
from morph.stamps.photometry import smallest_radius
from morph.surveys import get_survey
from morph.tiles.strip_reader import read_strips
from morph.tiles.tile import Tile
from serving.scores.summary import Scored
from serving.scoring.backends import Backend, ModelRef, RemoteModel
from serving.scoring.job import Job
from serving.scoring.pipeline import BATCH, score_tiles

#: Rows of a tile that are read to measure how fast that is.
ROWS = 512

#: Galaxies that are cut to measure how fast that is.
CUT = 512

#: Seconds that the model answers for.
ANSWERING = 1.0

#: Half-light radius of a galaxy whose size nobody says, in those of a point source.
TYPICAL = 2.0


@dataclass(frozen=True)
class Rates:
    """What scoring cost here and now.

    Attributes
    ----------
    cores : of this machine.
    pixel : CPU seconds to read, decompress and mask a pixel in all bands.
    galaxy : CPU seconds to cut a galaxy and look at its pixels.
    detection : CPU seconds a pixel to detect galaxies; 0 where they come from a catalogue.
    answers : galaxies a second for which the model answers, on all cores or on the servers.
    remote : whether servers answer, and this machine's cores do not.
    stored : bytes of a score file a galaxy.
    memory : bytes that this process took.
    size : pixels on a side of a stamp.
    detected : galaxies detected a pixel; NaN where none were looked for.
    """

    cores: int
    pixel: float
    galaxy: float
    detection: float
    answers: float
    remote: bool
    stored: float
    memory: int
    size: int
    detected: float = np.nan


def measure(
    group: list[Path],
    survey: str,
    galaxies: SpatialIndex | None,
    source: ModelRef,
    find: bool = False,
    calibration: Calibration = HEADERS,
) -> Rates:
    """Read and cut some rows of a tile, let the model answer, and write what it says into a temporary folder.

    Parameters
    ----------
    group : the tile's files.
    galaxies : whose sizes are cut; those twice as large as a point source where None, or where a tile has none.
    find : whether galaxies are to be detected, on the whole tile.

    Raises InputError when the tile cannot be read, or nobody answers.
    """
    with (
        source.open() as backend,
        Tile.open(group, survey, calibration=calibration) as tile,
        tempfile.TemporaryDirectory() as folder,
    ):
        height, width = tile.shape
        first = max(0, (height - ROWS) // 2)
        last = min(first + ROWS, height)
        found, detection = None, 0.0
        if find:
            with _clock() as spent:
                found = detect(tile)
            tile.close()
            detection = spent[0] / (height * width)
        with _clock() as reading:
            ((strip, _),) = read_strips(tile, np.array([first]), np.array([last]), step=ROWS)
        x, y, radius = _some(tile, first, last, galaxies)
        size = int(backend.description["size"])
        with _clock() as cutting:
            stamps, _ = cut_from(strip, x, y, radius, size)
        stored = _stored(group, survey, backend, source, tile, (x, y, radius), Path(folder))
        return Rates(
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            pixel=reading[0] / ((last - first) * width),
            galaxy=cutting[0] / len(stamps),
            detection=detection,
            answers=_answers(backend, stamps[:BATCH]),
            remote=isinstance(source, RemoteModel),
            stored=stored,
            memory=_memory(),
            size=size,
            detected=len(found) / (height * width) if found is not None else np.nan,
        )


def _some(tile: Tile, first: int, last: int, galaxies: SpatialIndex | None) -> tuple[np.ndarray, ...]:
    """Random places on the rows `first` to `last`, and radii that the catalogue has: pixels, [CUT] each."""
    random = np.random.default_rng(0)
    x = random.uniform(0, tile.shape[1] - 1, CUT)
    y = random.uniform(first, last - 1, CUT)
    known = np.asarray(galaxies.of(tile)["radius"], dtype=float) if galaxies is not None else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        known = np.array([TYPICAL * smallest_radius(get_survey(tile.survey), tile.pixel_scale)])
    return x, y, random.choice(known, CUT) / tile.pixel_scale


def _stored(
    group: list[Path],
    survey: str,
    backend: Backend,
    source: ModelRef,
    tile: Tile,
    places: tuple[np.ndarray, ...],
    folder: Path,
) -> float:
    """Bytes by which a score file grows with each galaxy."""
    x, y, radius = places
    ra, dec = tile.sky(x, y)
    sizes = []
    for count in (CUT // 4, CUT):
        table = Table({"id": [f"{tile.name}-{i}" for i in range(count)], "ra": ra[:count], "dec": dec[:count]})
        table["radius"], table["tilename"] = radius[:count] * tile.pixel_scale, tile.tilename or tile.name
        job = Job(source, backend.description, folder, survey, SpatialIndex.of_table(table), calibration=UNCALIBRATED)
        (result,) = score_tiles([group], job, backend, lambda tiles, galaxies: None)
        if not isinstance(result, Scored):
            raise InputError(getattr(result, "reason", f"Nothing on tile '{tile.name}' can be scored."))
        sizes.append(result.path.stat().st_size)
    return (sizes[1] - sizes[0]) / (CUT - CUT // 4)


def _answers(backend: Backend, stamps: np.ndarray) -> float:
    """Galaxies a second."""
    backend.answer(stamps)
    start = time.monotonic()
    asked = takewhile(lambda _: time.monotonic() - start < ANSWERING, repeat(stamps))
    count = sum(len(stamps) for _ in map_threads(backend.answer, asked, backend.at_once))
    return count / (time.monotonic() - start)


@contextmanager
def _clock() -> Iterator[list[float]]:
    """The CPU seconds that the context takes, in a list when it ends."""
    spent: list[float] = []
    start = time.process_time()
    yield spent
    spent.append(time.process_time() - start)


def _memory() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
