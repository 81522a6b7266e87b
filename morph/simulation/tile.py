"""A whole survey tile: files as the Dark Energy Survey releases its coadds, with their catalogue.

A tile holds the galaxies that a catalogue would keep, the fainter ones and the stars around them, saturated
stars and a satellite trail with their mask bits, and the noise of a coadd. The volunteers' votes on the catalogue's
galaxies, which no survey has, are in a file of their own, and so are the stars. Strips of the tile are drawn and
compressed by several processes and written one after the other, so that memory does not grow with the tile.
"""

import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from rich.console import Console
from rich.progress import Progress

from morph.atomic import atomic_files
from morph.checks import check_folder
from morph.decision_tree import ANSWER_COLUMNS
from morph.errors import InputError
from morph.parallel import process_pool
from morph.signals import sigterm_interrupts
from morph.simulation.coadd_files import PLANES, PackedStrip, StripWriter, Tilename, pack_band
from morph.simulation.field import MAGNITUDES, Conditions, Measured, Source, Star, divide, draw_field, draw_strip
from morph.simulation.haloes import HaloGalaxy, halo_columns, with_haloes
from morph.simulation.votes import answer_probabilities, draw_votes
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey, get_simulated

#: The tile that is simulated if no other is named: the one of the real cutout that the layout was read from.
TILENAME = "DES0356-5248"

#: Processing run in the files' names.
RUN = "r4163p01"

#: Catalogue galaxies per square arcsec if their number is not given: those with r < 20.5 or so.
DENSITY = 5.4e-4

#: Smallest and largest tile, pixels on a side: the field of one galaxy; a DES tile.
SMALLEST, LARGEST = 128, 10000

#: Rows of a strip: enough that few galaxies lie on two strips and are drawn twice, few enough for 0.5 GB a process.
STRIP = 400

#: The fewest strips for which starting processes pays.
FEWEST_STRIPS = 4

#: Bytes on disk per pixel of the tile, in all bands, with the heaps while a file is put together.
BYTES_PER_PIXEL = 4.0

#: First of the catalogue's identifiers, as long as those of DES DR2; and of the stars'.
FIRST_ID = 1_500_000_000
FIRST_STAR_ID = 1_600_000_000

#: SExtractor's flag of a source with saturated pixels.
SATURATED_FLAG = 4


@dataclass(frozen=True)
class SimulatedTile:
    """The files of a simulated tile: its bands, its catalogue, the truth, and how many galaxies they list."""

    paths: tuple[Path, ...]
    catalogue: Path
    truth: Path
    galaxies: int


def simulate_tile(
    out_dir: str | Path,
    size: int = 2000,
    survey: str = "des",
    galaxies: int | None = None,
    seed: int = 0,
    name: str = TILENAME,
    progress: bool = True,
    processes: int = 2,
    haloes: bool = False,
) -> SimulatedTile:
    """Write a tile, its catalogue and the truth into `out_dir`; all files appear, or none.

    Parameters
    ----------
    out_dir : folder; files of the same names in it are replaced.
    size : pixels on a side.
    survey : the survey to simulate; files are in the DES layout whatever the survey.
    galaxies : how many the catalogue lists; as many as the sky has if not given.
    seed : one seed gives the same tile with any number of processes.
    name : the tile's name, DES followed by its centre as HHMM+DDMM.
    progress : whether to show a progress bar on a terminal, and some lines elsewhere.
    processes : number of processes that draw a large tile; small tiles are drawn in this one.
    haloes : whether ellipticals have a diffuse outer halo and the point-spread function an aureole, see
        `morph.simulation.haloes`.

    Raises
    ------
    InputError : an unknown survey, a size out of range, fewer than one galaxy, a name of another form, or a folder
        that cannot be written or whose disk is full.

    Notes
    -----
    In a script, call this below ``if __name__ == "__main__":``, since it starts processes.

    Examples
    --------
    >>> tile = simulate_tile("tiles", size=256, survey="des", galaxies=3, progress=False)
    >>> [path.name[-9:] for path in sorted(Path("tiles").glob("*.fits.fz"))]
    ['g.fits.fz', 'i.fits.fz', 'r.fits.fz']
    """
    observer = get_simulated(survey)
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"A tile of {size} pixels cannot be made; give {SMALLEST} to {LARGEST} pixels on a side.")
    count = max(1, round(DENSITY * (size * observer.pixel_scale) ** 2)) if galaxies is None else galaxies
    if count < 1:
        raise InputError(f"The number of galaxies is {count}; it must be at least 1.")
    tilename = Tilename(name)
    out_dir = Path(out_dir)
    check_folder(out_dir)
    paths = tuple(out_dir / f"{name}_{RUN}_{letter}.fits.fz" for letter in observer.bands)
    tables = (out_dir / f"{name}_{what}" for what in ("catalogue.fits", "stars.fits", "truth.parquet"))
    catalogue, stars, truth = tables
    with sigterm_interrupts(), _together([*paths, stars, truth, catalogue], BYTES_PER_PIXEL * size**2) as building:
        _write_tile(building, draw_tile(observer, size, count, seed, haloes), count, tilename, progress, processes)
    return SimulatedTile(paths, catalogue, truth, count)


@contextmanager
def _together(files: list[Path], needed: float) -> Iterator[Path]:
    """A folder in which to make these files, which all move to their places when the block ends well.

    InputError when they cannot be written or their disk has fewer than `needed` bytes.
    """
    folder = files[0].parent
    try:
        with atomic_files(*files, what="The tile") as building:
            if (free := shutil.disk_usage(building[0].parent).free) < needed:
                raise InputError(
                    f"The tile needs {needed / 1e6:,.1f} MB on the disk of '{folder}', which has {free / 1e6:,.1f} MB "
                    "left; make room, or give a smaller --size."
                )
            yield building[0].parent
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped; no tile was written.") from None


def draw_tile(survey: Survey, size: int, count: int, seed: int, haloes: bool) -> tuple[Conditions, list[Source]]:
    """The conditions and the sources of a tile; see `simulate_tile`.

    Parameters
    ----------
    survey, size, count, seed, haloes : as for `simulate_tile`, with `count` galaxies in the catalogue.
    """
    conditions, sources = draw_field(survey, size, count, seed)
    return conditions, with_haloes(conditions, sources) if haloes else sources


def _write_tile(
    folder: Path,
    drawn: tuple[Conditions, list[Source]],
    count: int,
    tile: Tilename,
    progress: bool,
    processes: int,
) -> None:
    """Write all files of a tile into an empty folder."""
    conditions, sources = drawn
    survey, size = conditions.survey, conditions.size
    wcs = tile.wcs(size, survey.pixel_scale)
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
    with bar, ExitStack() as files:
        task = bar.add_task(f"simulating tile {tile.name}", total=size)
        strips = divide(conditions, sources, STRIP)
        writers = [
            files.enter_context(StripWriter(folder / f"{tile.name}_{RUN}_{band}.fits.fz", [p.name for p in PLANES]))
            for band in survey.bands
        ]
        measured: dict[int, Measured] = {}
        for number, strip in enumerate(_made(conditions, tile, strips, processes), start=1):
            for writer, packed in zip(writers, strip.bands, strict=True):
                writer.write(packed)
            measured |= strip.measured
            done = strips[number - 1][0]
            bar.advance(task, len(done))
            if progress and not console.is_terminal and len(strips) >= 2 * FEWEST_STRIPS and number % 5 == 0:
                console.print(f"simulated {done.stop:,} of {size:,} rows of tile {tile.name}")
    rows = [measured[index] for index in range(count)]
    stars = [source for source in sources if isinstance(source, Star) and source.magnitude < MAGNITUDES[1]]
    haloes = {source.index: source for source in sources if isinstance(source, HaloGalaxy)}
    _write_catalogue(folder / f"{tile.name}_catalogue.fits", rows, tile.name, wcs)
    _write_stars(folder / f"{tile.name}_stars.fits", stars, conditions, tile.name, wcs)
    _write_truth(folder / f"{tile.name}_truth.parquet", rows, conditions, haloes)


@dataclass(frozen=True, eq=False)
class _FinishedStrip:
    """A strip as it goes to disk, [band][plane], and the catalogue's galaxies whose centres are on it."""

    bands: list[list[PackedStrip]]
    measured: dict[int, Measured]


def _make(conditions: Conditions, tile: Tilename, strip: tuple[range, list[Source]]) -> _FinishedStrip:
    drawn = draw_strip(conditions, *strip)
    wcs = tile.wcs(conditions.size, conditions.survey.pixel_scale)
    bands = [
        pack_band(drawn.image[..., band], drawn.mask, conditions.survey, band, tile, wcs, conditions.size, drawn.top)
        for band in range(3)
    ]
    return _FinishedStrip(bands, drawn.measured)


def _made(conditions: Conditions, tile: Tilename, strips: list, processes: int) -> Iterator[_FinishedStrip]:
    """The strips of a tile from top to bottom, made by so many processes."""
    make = partial(_make, conditions, tile)
    if processes == 1 or len(strips) < FEWEST_STRIPS:
        yield from map(make, strips)
        return
    with process_pool(processes) as pool:
        started: deque[Future] = deque()
        for strip in strips:
            started.append(pool.submit(make, strip))
            # Finished strips do not pile up where the disk is slower than the processors.
            if len(started) > 2 * processes:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()


def _write_stars(path: Path, stars: list[Star], conditions: Conditions, name: str, wcs: WCS) -> None:
    """The stars as bright as the catalogue's galaxies, and brighter, with the names and units of DES DR2's tables."""
    x, y = np.array([star.x for star in stars]), np.array([star.y for star in stars])
    table = Table(meta={"EXTNAME": "STARS"})
    table["COADD_OBJECT_ID"] = FIRST_STAR_ID + np.array([star.index for star in stars], dtype="int64")
    table["TILENAME"] = np.full(len(stars), name)
    table["RA"], table["DEC"] = wcs.all_pix2world(x, y, 0)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = x + 1, y + 1
    fluxes = np.array([star.fluxes(conditions) for star in stars]).reshape(-1, 3)
    for band, letter in enumerate("GRI"):
        table[f"MAG_AUTO_{letter}"] = (NANOMAGGY_ZERO_POINT - 2.5 * np.log10(fluxes[:, band])).astype("float32")
    # 0 is "high-confidence star" in DES DR2.
    table["EXTENDED_CLASS_COADD"] = np.zeros(len(stars), dtype="int16")
    table["FLAGS"] = np.array([SATURATED_FLAG if star.saturated else 0 for star in stars], dtype="int16")
    _write_table(path, table)


def _write_catalogue(path: Path, rows: list[Measured], name: str, wcs: WCS) -> None:
    """The catalogue with the names and units of DES DR2's tables."""
    x, y = np.array([row.x for row in rows]), np.array([row.y for row in rows])
    ra, dec = wcs.all_pix2world(x, y, 0)
    table = Table(meta={"EXTNAME": "CATALOGUE"})
    table["COADD_OBJECT_ID"] = FIRST_ID + np.arange(len(rows), dtype="int64")
    table["TILENAME"] = [name] * len(rows)
    table["RA"], table["DEC"] = ra, dec
    # FITS counts pixels from one.
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = x + 1, y + 1
    for band, letter in enumerate("GRI"):
        flux = np.array([row.fluxes[band] for row in rows])
        table[f"MAG_AUTO_{letter}"] = (NANOMAGGY_ZERO_POINT - 2.5 * np.log10(flux)).astype("float32")
        table[f"FLUX_RADIUS_{letter}"] = np.array([row.radii[band] for row in rows], dtype="float32")
    for k, column in enumerate(("A_IMAGE", "B_IMAGE", "THETA_IMAGE")):
        table[column] = np.array([row.axes[k] for row in rows], dtype="float32")
    # 3 is "high-confidence galaxy" in DES DR2.
    table["EXTENDED_CLASS_COADD"] = np.full(len(rows), 3, dtype="int16")
    _write_table(path, table)


def _write_table(path: Path, table: Table) -> None:
    """Write a table with the units that its columns have by their names."""
    units = {"RA": "deg", "DEC": "deg", "THETA_IMAGE": "deg", "XWIN_IMAGE": "pix", "YWIN_IMAGE": "pix"}
    units = {column: unit for column, unit in units.items() if column in table.colnames}
    for column in table.colnames:
        if column.startswith("MAG"):
            units[column] = "mag"
        elif column.startswith("FLUX_RADIUS") or column in ("A_IMAGE", "B_IMAGE"):
            units[column] = "pix"
    for column, unit in units.items():
        table[column].unit = unit
    fits.table_to_hdu(table).writeto(path, overwrite=True)


def _write_truth(path: Path, rows: list[Measured], conditions: Conditions, haloes: dict[int, HaloGalaxy]) -> None:
    """Kind, redshift, votes and haloes: Parquet, one row for each galaxy of the catalogue."""
    probabilities = np.array([answer_probabilities(row.scene, conditions.survey) for row in rows])
    votes = np.array(
        [draw_votes(p, np.random.default_rng([conditions.seed, k, 8])) for k, p in enumerate(probabilities)]
    )
    columns = {
        "id": [str(FIRST_ID + k) for k in range(len(rows))],
        "kind": ["merger" if row.scene.companions else row.scene.kind for row in rows],
        "redshift": np.array([row.scene.redshift for row in rows], dtype="float32"),
    }
    columns |= {answer: pa.array(votes[:, k], from_pandas=True) for k, answer in enumerate(ANSWER_COLUMNS)}
    if haloes:
        columns |= halo_columns(haloes, len(rows))
    pq.write_table(pa.table(columns), path)
