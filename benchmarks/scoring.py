"""A whole scoring job against the work that it cannot do without; ends by itself, with a verdict for each part.

    python benchmarks/scoring.py [--tile FOLDER] [--model NAME] [--repeats 3] [PART ...]

`whole`: wall time of scoring a simulated full tile, over the CPU seconds of reading its planes and of the model's
passes on prepared stamps, shared by the cores; and the part of it that goes into writing the catalogue. The sides
take turns. `measures`: processor time of a whole job over that of one which measures nothing of its galaxies (flux,
shape, point sources, noise), in turns too. `memory`: the peak, and whether it grows over 20 such tiles. `workers`: two
Dask workers with a core and a thread each against one. `scaling`: clusters of 1 to 16 workers whose model sleeps, as
many tiles for each. The status is 1 where a part misses its mark.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from full_tile import full_tile

from morph.catalogs.catalog import read_catalog
from morph.simulation.tile import SimulatedTile
from morph.stamps.measurements import COLUMNS
from morph.stamps.stamp_stream import StampBatch, stream_stamps
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile
from serving.scoring import measurements, pipeline
from serving.scoring.backends import LocalModel, ModelRef
from serving.scoring.measurements import Photometry
from serving.scoring.run import score

#: The marks: wall time over what cannot be done without, the catalogue's part of it, the time with measures over that
#: without, GB, and shares of ideal scaling.
WHOLE, WRITING, MEASURES, PEAK, TWO, SCALING = 1.2, 0.02, 1.05, 3.0, 1.8, 0.9

#: Rows that are read at once where nothing but reading is timed.
ROWS = 1000

#: Workers of the clusters whose model sleeps, tiles for each, and seconds that a galaxy takes; eight are on a tile.
#: They do all else on one machine's few cores, a tenth of a second of it a tile, which must not be what limits them.
CLUSTERS, EACH, SLEEP = (1, 2, 4, 8, 16), 2, 2.5

Verdict = tuple[bool, str]


class Watch:
    """The times at which tiles were finished, as `score` reports them."""

    def __init__(self, then: Callable[[], None] = lambda: None):
        self.begun, self.tiles = 0.0, []
        self._then = then

    def __call__(self, tiles: int, galaxies: int) -> None:
        if not tiles and not galaxies:
            self.begun = time.monotonic()
        self.tiles += [time.monotonic()] * tiles
        if tiles:
            self._then()

    @property
    def seconds(self) -> float:
        """From when the model was ready to the last tile."""
        return self.tiles[-1] - self.begun

    def rate(self, workers: int) -> float:
        """Tiles a second, once each worker has finished one: the first loads the model."""
        return (len(self.tiles) - workers) / (self.tiles[-1] - self.tiles[workers - 1])


def whole(made: SimulatedTile, source: ModelRef, repeats: int, out: Path) -> Verdict:
    """Reading, the model's passes and the whole job, in turns."""
    cores = len(os.sched_getaffinity(0))
    galaxies = read_catalog(made.catalogue, "des")
    ratios, parts, lines = [], [], []
    with source.open() as answerer, Tile.open(list(made.paths)) as tile:
        x, y = tile.wcs.wcs_world2pix(galaxies["ra"], galaxies["dec"], 0)
        radius = np.asarray(galaxies["radius"]) / tile.pixel_scale
        prepared = np.concatenate(
            [piece.stamps for piece in stream_stamps(tile, x, y, radius, answerer.description["size"])]
        )
        answerer.answer(prepared[: pipeline.BATCH])
        for attempt in range(repeats):
            reading = _cpu(lambda: _read(tile))
            passes = _cpu(lambda: _answer(prepared, answerer.answer))
            watch = Watch()
            with _timed_writing() as writing:
                begun = time.process_time()
                score([list(made.paths)], made.catalogue, source, out / str(attempt), advance=watch)
                cpu = time.process_time() - begun
            ratios.append(watch.seconds * cores / (reading + passes))
            parts.append(writing[0] / watch.seconds)
            lines.append(f"{watch.seconds:.1f} s for {reading:.1f} + {passes:.1f} CPU s (all: {cpu:.1f})")
    ratio, part = float(np.median(ratios)), float(np.median(parts))
    return ratio <= WHOLE and part <= WRITING, (
        f"{len(prepared)} galaxies, {cores} cores: {ratio:.2f} of reading and passes (at most {WHOLE}); writing "
        f"{100 * part:.1f} % (at most {100 * WRITING:.0f} %); {'; '.join(lines)}"
    )


def measures(made: SimulatedTile, source: ModelRef, repeats: int, out: Path) -> Verdict:
    """Whole jobs that measure their galaxies and others that do not, in turns."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    _scored(made, source, out / "warm")
    for attempt in range(repeats):
        # Whichever comes second finds the processor warmer; they change places.
        for measured in (True, False) if attempt % 2 else (False, True):
            with nullcontext() if measured else _nothing_measured():
                folder = out / f"{attempt}-{measured}"
                spent[measured].append(_cpu(partial(_scored, made, source, folder)))
    with_them, without = (float(np.median(spent[measured])) for measured in (True, False))
    return with_them <= MEASURES * without, (
        f"{with_them / without:.3f} times the processor time without (at most {MEASURES}): {with_them:.2f} and "
        f"{without:.2f} CPU s, medians of {repeats}"
    )


def memory(made: SimulatedTile, source: ModelRef, count: int, folder: Path) -> Verdict:
    """The memory of one process over `count` tiles."""
    resident: list[float] = []
    watch = Watch(lambda: resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e9))
    score(_copies(made, count, folder / "tiles"), made.catalogue, source, folder / "scores", advance=watch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    early, late = max(resident[count // 4 : count // 2]), max(resident[-count // 4 :])
    return peak < PEAK and late <= 1.05 * early, (
        f"peak {peak:.2f} GB (less than {PEAK:g}); after {count // 4} to {count // 2} of {count} tiles at most "
        f"{early:.2f} GB, after the last {count // 4} {late:.2f} GB"
    )


def workers(made: SimulatedTile, source: ModelRef, count: int, folder: Path) -> Verdict:
    """Tiles a second of one and of two workers, each on a core of its own."""
    tiles = _copies(made, count, folder / "tiles")
    rates = {}
    for number in (1, 2):
        with _cluster(number, pinned=True) as address:
            watch = Watch()
            score(tiles, made.catalogue, source, folder / f"scores-{number}", scheduler=address, advance=watch)
            rates[number] = watch.rate(number)
    return rates[2] >= TWO * rates[1], (
        f"{rates[2] / rates[1]:.2f} times one (at least {TWO}): {rates[1]:.3f} and {rates[2]:.3f} tiles a second"
    )


def scaling(made: SimulatedTile, folder: Path) -> Verdict:
    """As many tiles for each worker, on clusters of several sizes: the time should be the same."""
    from tests.serving.scoring.sleeping import Sleeping

    tiles = _copies(made, EACH * max(CLUSTERS), folder / "tiles")
    lasted = {}
    for number in CLUSTERS:
        with _cluster(number) as address:
            # Workers import what they need with their first tile.
            score(tiles[:number], made.catalogue, Sleeping(), folder / f"first-{number}", scheduler=address)
            watch, chosen = Watch(), tiles[: EACH * number]
            score(chosen, made.catalogue, Sleeping(SLEEP), folder / f"{number}", scheduler=address, advance=watch)
            lasted[number] = watch.seconds
    shares = {number: lasted[CLUSTERS[0]] / seconds for number, seconds in lasted.items()}
    return min(shares.values()) >= SCALING, (
        f"at least {min(shares.values()):.2f} of ideal (at least {SCALING}): "
        + ", ".join(f"{number} workers {share:.2f}" for number, share in shares.items())
    )


def _read(tile: Tile) -> None:
    """Unpack the planes that a job needs."""
    for band in tile.bands:
        planes = tile.stored(band)
        needed = (planes.science, planes.mask, None if planes.mask_is_whole else planes.weights)
        for plane in needed:
            if plane is None:
                continue
            with plane.opened() as rows:
                for start in range(0, plane.shape[0], ROWS):
                    rows(start, min(start + ROWS, plane.shape[0]))


def _answer(prepared: np.ndarray, answer: Callable) -> None:
    for start in range(0, len(prepared), pipeline.BATCH):
        answer(prepared[start : start + pipeline.BATCH])


def _cpu(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _scored(made: SimulatedTile, source: ModelRef, out: Path) -> None:
    """Score the tile. SystemExit when it cannot be."""
    summary = score([list(made.paths)], made.catalogue, source, out)
    if summary.failed:
        sys.exit(summary.failed[0].reason)


class _NoPhotometry(Photometry):
    """Measurements nothing."""

    def observe(self, strip: Strip) -> None:
        pass

    def add(self, cut: StampBatch, signal: np.ndarray) -> np.ndarray:
        return np.zeros(len(cut.rows), dtype="int32")

    def flags(self, signal: np.ndarray, radius: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flags, np.zeros(len(flags), dtype=bool)

    def columns(self, signal: np.ndarray) -> dict[str, np.ndarray]:
        return dict.fromkeys(COLUMNS, np.full(len(signal), np.nan))


@contextmanager
def _nothing_measured() -> Iterator[None]:
    photometry, measurements.Photometry = measurements.Photometry, _NoPhotometry
    try:
        yield
    finally:
        measurements.Photometry = photometry


@contextmanager
def _timed_writing() -> Iterator[list[float]]:
    """The seconds that score files take to write, as they add up."""
    spent, write = [0.0], pipeline.write_scores

    def timed(*arguments):
        begun = time.monotonic()
        written = write(*arguments)
        spent[0] += time.monotonic() - begun
        return written

    pipeline.write_scores = timed
    try:
        yield spent
    finally:
        pipeline.write_scores = write


def _copies(made: SimulatedTile, count: int, folder: Path) -> list[list[Path]]:
    """The tile under so many names."""
    groups = []
    for number in range(count):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        for path in made.paths:
            (place / f"DES{number:04d}-0000_{path.name.rpartition('_')[2]}").symlink_to(path)
        groups.append(sorted(place.iterdir()))
    return groups


@contextmanager
def _cluster(number: int, pinned: bool = False) -> Iterator[str]:
    """The address of a Dask cluster of processes, each kept to one core if `pinned`."""
    from distributed import Client, LocalCluster

    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    with LocalCluster(
        n_workers=number, threads_per_worker=1, memory_limit=0, dashboard_address=None, env=threads
    ) as cluster:
        with Client(cluster) as client:
            cores = sorted(os.sched_getaffinity(0))
            for place, worker in enumerate(client.scheduler_info(n_workers=-1)["workers"]):
                if pinned:
                    client.run(os.sched_setaffinity, 0, {cores[place % len(cores)]}, workers=[worker])
        yield cluster.scheduler_address


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["whole", "measures", "memory", "workers", "scaling"]))
@click.option("--tile", "folder", type=click.Path(path_type=Path), help="The full tile's folder; made if not there.")
@click.option("--model", default="models:/morph@sdss", show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Rounds of `whole` and `measures`.")
@click.option("--tiles", "count", default=20, show_default=True, help="Tiles of `memory`, and of `workers`.")
def main(parts: tuple[str, ...], folder: Path | None, model: str, repeats: int, count: int) -> None:
    """Time whole scoring jobs."""
    source = LocalModel(model)
    jobs: dict[str, Callable[[Path], Verdict]] = {
        "whole": lambda out: whole(full_tile(folder), source, repeats, out),
        "measures": lambda out: measures(full_tile(folder), source, repeats, out),
        "memory": lambda out: memory(full_tile(folder), source, count, out),
        "workers": lambda out: workers(full_tile(None, 3000, 450), source, count, out),
        "scaling": lambda out: scaling(full_tile(None, 256, 8), out),
    }
    failed = False
    for part in parts or jobs:
        with tempfile.TemporaryDirectory() as out:
            begun = time.monotonic()
            fine, said = jobs[part](Path(out))
            failed |= not fine
            print(f"{'passed' if fine else 'FAILED'}  {part:8} {said}  ({time.monotonic() - begun:.0f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
