"""The cost of scoring: measured on this machine in a few seconds on a few rows of a tile, and extrapolated."""

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

#: Half-light radius of a galaxy whose size is unknown, in those of a point source.
TYPICAL = 2.0


#: Galaxies of two surveys, in round numbers: DES after six years, LSST after ten.
SURVEYS = {"DES": 300e6, "LSST": 10e9}


@dataclass(frozen=True)
class Costs:
    """The cost of scoring on this machine, as measured.

    Attributes
    ----------
    cores : of this machine.
    pixel : CPU seconds to read, decompress and mask a pixel in all bands.
    galaxy : CPU seconds to cut a galaxy and measure its pixels.
    detection : CPU seconds a pixel to detect galaxies; 0 where they come from a catalogue.
    answers : galaxies a second for which the model answers, on all cores or on the servers.
    remote : whether servers answer instead of this machine's cores.
    stored : bytes of a score file a galaxy.
    memory : bytes that this process used.
    size : pixels on a side of a stamp.
    detected : galaxies detected per pixel; NaN where they come from a catalogue.
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
) -> Costs:
    """Read and cut some rows of a tile, let the model answer, and write its answers into a temporary folder.

    Parameters
    ----------
    group : the tile's files.
    survey : the tile's.
    galaxies : a catalogue whose sizes are used; without one, or where the tile has none, twice a point source's.
    source : the model.
    find : whether galaxies are detected, on the whole tile.
    calibration : of the images; see `Tile.open`.

    Raises
    ------
    InputError : the tile cannot be read, or the model cannot be opened.
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
        return Costs(
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
    """Random positions on the rows `first` to `last`, and radii drawn from the catalogue: pixels, [CUT] each."""
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


@dataclass(frozen=True)
class CostEstimate:
    """The time and money to answer for `galaxies` with `servers`, each of which does `rate` galaxies a second.

    Attributes
    ----------
    galaxies : how many; rate : galaxies per second of one server; servers : how many run at once;
    price : of a server, per hour, in any currency; busy : share of the time in which a server computes (reading
        tiles, starting up and waiting take the rest).
    """

    galaxies: float
    rate: float
    servers: int = 1
    price: float = 0.0
    busy: float = 1.0

    @property
    def server_hours(self) -> float:
        """Hours of one server, however many share them."""
        return self.galaxies / (self.rate * self.busy) / 3600

    @property
    def hours(self) -> float:
        """Hours until it is done."""
        return self.server_hours / self.servers

    @property
    def cost(self) -> float:
        """In the currency of `price`."""
        return self.server_hours * self.price

    def __str__(self) -> str:
        """The arithmetic, written out."""
        busy = "" if self.busy == 1 else f" / {self.busy:g} of the time"
        cost = f" x {self.price:g} an hour = {self.cost:,.2f}" if self.price else ""
        wait = "" if self.servers == 1 else f"; {self.servers} servers take {in_words(self.hours)}"
        return (
            f"{self.galaxies / 1e6:,.6g} million galaxies / {self.rate:,g} a second{busy} / 3600"
            f" = {self.server_hours:,.1f} server hours{cost}{wait or f' ({in_words(self.hours)})'}"
        )


def in_words(hours: float) -> str:
    """Hours in the unit that reads best."""
    for unit, length in (("years", 24 * 365.25), ("days", 24.0), ("hours", 1.0)):
        if hours >= 2 * length:
            return f"{hours / length:.1f} {unit}"
    if hours * 60 >= 2:
        return f"{hours * 60:.0f} minutes"
    return f"{hours * 3600:.0f} seconds" if hours * 3600 >= 2 else "a second or two"
