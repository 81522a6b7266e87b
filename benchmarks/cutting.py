"""How fast galaxies are cut from a whole survey tile, and in how little memory.

    python benchmarks/cutting.py [--tile FOLDER] [--cutana-python /tmp/cutana/bin/python]

On a simulated tile (see `benchmarks/full_tile.py`), whose files are in the machine's memory after the first round:

- cutting, resizing and flagging in three bands on one core, of rows that are in memory, beside a loop over
  `astropy.nddata.Cutout2D` and `scipy.ndimage.zoom`, in turns, strip by strip;
- the whole job, from compressed files to stamps, beside ESA's Cutana in a Python of its own
  (`python -m venv /tmp/cutana && /tmp/cutana/bin/pip install cutana==0.4.0`), in turns. Cutana reads the images alone;
  morph reads the masks and the weights too, and once more a copy of the tile without them, for comparison;
- the memory of the whole job, from tile to tile, and that of finding the galaxies on the tile.

Ends by itself in some five minutes on two quiet cores; with status 1 where less is found than promised.
"""

import os
import sys

# Rates are those of one core.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import csv
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from full_tile import GALAXIES, full_tile
from scipy.ndimage import zoom

from morph.catalogs.catalog import read_catalog
from morph.catalogs.detection import detect
from morph.catalogs.spatial_index import locate
from morph.simulation.tile import LARGEST, SimulatedTile
from morph.sizes import NETWORK_SIZE
from morph.stamps.cutting import cut_from, rows_needed
from morph.stamps.flags import stamp_width
from morph.stamps.stamp_stream import stream_stamps
from morph.tiles.prefetch import Readers
from morph.tiles.strip_reader import read_strips
from morph.tiles.tile import Tile

PEER = Path(__file__).parent / "peers" / "cutana_cuts.py"

#: What is promised: galaxies of three bands a second and core, and how many times the loop's that is.
RATE = 3000
LOOP = 10
#: How many times faster than Cutana the whole job is.
AHEAD = {"orchestrated": 4.0, "direct": 1.5}
#: Processes that read the tile: starting them is a part of the job.
READERS = 2
#: What the process may take of memory, bytes: 3 GB less what TensorFlow and a model take; and how much more after many
#: tiles than after the first.
MEMORY = 1.8e9
GROWTH = 1.05

#: Of how many galaxies one is cut by the loop too, which is slow.
SPARSE = 10


def galaxies_of(catalogue: Table, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places and half-light radii of the catalogue's galaxies, pixels."""
    table = locate(tile, catalogue)
    x, y, radius = (np.asarray(table[name], dtype=float) for name in ("x", "y", "radius"))
    return x, y, radius / tile.pixel_scale


def cut_by_loop(planes: list[np.ndarray], x: np.ndarray, y: np.ndarray, sides: np.ndarray, order: int) -> np.ndarray:
    """Stamps by astropy and scipy, one galaxy and band after the other."""
    stamps = np.empty((len(x), NETWORK_SIZE, NETWORK_SIZE, len(planes)), dtype="float32")
    for k in range(len(x)):
        for band, plane in enumerate(planes):
            cutout = Cutout2D(plane, (x[k], y[k]), sides[k], mode="partial", fill_value=np.nan)
            factor = NETWORK_SIZE / sides[k]
            stamps[k, ..., band] = zoom(cutout.data, factor, order=order, grid_mode=True, mode="nearest")
    return stamps


def rates(made: SimulatedTile) -> bool:
    """Galaxies a second by one core; whether as promised."""
    spent = {"morph": 0.0, "cubic": 0.0, "linear": 0.0}
    count = dict.fromkeys(spent, 0)

    def timed(name: str, work, *arguments) -> None:
        # The threads that read the next rows spend time of their own.
        begin = time.thread_time()
        made = work(*arguments)
        spent[name] += time.thread_time() - begin
        count[name] += len(made)

    with Tile.open(made.paths) as tile:
        x, y, radius = galaxies_of(read_catalog(made.catalogue, "des"), tile)
        sides = np.maximum(np.rint(stamp_width(radius)), 1).astype(int)
        for strip, some in read_strips(tile, *rows_needed(tile, x, y, radius, NETWORK_SIZE)):
            timed("morph", lambda *which: cut_from(*which)[0], strip, x[some], y[some], radius[some])
            few, planes = some[::SPARSE], list(strip.flux.values())
            for name, order in {"cubic": 3, "linear": 1}.items():
                timed(name, cut_by_loop, planes, x[few], y[few] - strip.start, sides[few], order)
    speed = {name: count[name] / spent[name] for name in spent}
    times = speed["morph"] / speed["cubic"]
    fast, ahead = speed["morph"] >= RATE, times >= LOOP
    print(f"morph cuts {speed['morph']:,.0f} galaxies of three bands a second and core: {verdict(fast, f'{RATE:,}')}")
    print(
        f"a loop over Cutout2D and cubic zoom cuts {speed['cubic']:,.0f}: morph has {times:.1f} x "
        f"{verdict(ahead, f'{LOOP} x')}"
    )
    print(f"and with linear zoom {speed['linear']:,.0f}: morph has {speed['morph'] / speed['linear']:.1f} x")
    return fast and ahead


def job(made: SimulatedTile, turns: int) -> None:
    """Cut the tile so many times; print the seconds and the peak of memory (bytes) of each."""
    catalogue = read_catalog(made.catalogue, "des")
    for _ in range(turns):
        begin = time.perf_counter()
        with Readers.started(READERS) as readers, Tile.open(made.paths) as tile:
            done = sum(len(part.rows) for part in stream_stamps(tile, *galaxies_of(catalogue, tile), readers=readers))
        assert done == made.galaxies
        print(f"{time.perf_counter() - begin:.3f} {peak()}", flush=True)


def peak() -> int:
    """The most memory that this process had so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def whole_job(arguments: list[str], made: SimulatedTile, cutana: str, rounds: int) -> bool:
    """Seconds of the whole job, beside Cutana; whether as promised."""
    seconds: dict[str, list[float]] = {name: [] for name in ("morph", "alone", *AHEAD)}
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Path(folder) / "catalogue.csv"
        write_for_cutana(made, catalogue)
        alone = [*arguments, "--tile", str(images_alone(made, Path(folder) / "images"))]
        for _ in range(rounds):
            seconds["morph"].append(float(own(arguments, "--only", "job", "--turns", "1").split()[0]))
            seconds["alone"].append(float(own(alone, "--only", "job", "--turns", "1").split()[0]))
            for mode in AHEAD:
                command = [cutana, PEER, mode, catalogue, Path(folder) / "cutouts"]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                assert said[-3:-1] == [str(made.galaxies), "3"], said
                seconds[mode].append(float(said[-1]))
    print(f"the whole job takes morph {median(seconds['morph']):.2f} s (median of {rounds})")
    kept = True
    for mode, wanted in AHEAD.items():
        times, even = (
            median(theirs / ours for theirs, ours in zip(seconds[mode], seconds[own_side], strict=True))
            for own_side in ("morph", "alone")
        )
        kept = kept and times >= wanted
        took = median(seconds[mode])
        print(
            f"and Cutana {mode} {took:.2f} s: morph is {times:.2f} x faster {verdict(times >= wanted, f'{wanted} x')}"
        )
        print(f"or {even:.2f} x where it too reads the images alone")
    return kept


def images_alone(made: SimulatedTile, folder: Path) -> Path:
    """A folder with the same tile without masks and weights."""
    folder.mkdir()
    for path in made.paths:
        with fits.open(path, disable_image_compression=True) as hdus:
            fits.HDUList([hdu for hdu in hdus if hdu.name not in ("MSK", "WGT")]).writeto(folder / path.name)
    for path in (made.catalogue, made.truth):
        (folder / path.name).symlink_to(path.resolve())
    return folder


def write_for_cutana(made: SimulatedTile, path: Path) -> None:
    """The catalogue with Cutana's columns, of squares as large as morph's."""
    with Tile.open(made.paths) as tile, open(path, "w", newline="") as file:
        table = locate(tile, read_catalog(made.catalogue, "des"))
        across = np.maximum(np.rint(stamp_width(np.asarray(table["radius"]) / tile.pixel_scale)), 1).astype(int)
        rows = csv.writer(file)
        rows.writerow(["SourceID", "RA", "Dec", "diameter_pixel", "fits_file_paths"])
        files = str([str(path.resolve()) for path in made.paths])
        for row, pixels in zip(table, across, strict=True):
            rows.writerow([row["id"], row["ra"], row["dec"], pixels, files])


def memory(arguments: list[str], turns: int) -> bool:
    """The peak of memory of cutting tile after tile, and of finding galaxies; whether as promised."""
    peaks = [float(line.split()[1]) for line in own(arguments, "--only", "job", "--turns", str(turns)).splitlines()]
    found = float(own(arguments, "--only", "detect").split()[1])
    flat, small = peaks[-1] <= GROWTH * peaks[0], max(*peaks, found) <= MEMORY
    print(
        f"memory {peaks[0] / 1e9:.2f} GB after the first tile and {peaks[-1] / 1e9:.2f} GB after {turns} "
        f"{verdict(flat, f'{GROWTH} x')}; {found / 1e9:.2f} GB where galaxies are found "
        f"{verdict(small, f'{MEMORY / 1e9} GB')}"
    )
    return flat and small


def own(arguments: list[str], *more: str) -> str:
    """What this script prints in a process of its own."""
    command = [sys.executable, __file__, *arguments, *more]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def verdict(kept: bool, promised: str) -> str:
    return f"[as promised, {promised}]" if kept else f"[LESS THAN PROMISED, {promised}]"


@click.command()
@click.option("--tile", "folder", type=click.Path(path_type=Path), help="Where the tile is, or is kept once made.")
@click.option("--size", default=LARGEST, show_default=True, help="Pixels on a side of the tile.")
@click.option("--galaxies", default=GALAXIES, show_default=True, help="Galaxies to cut.")
@click.option("--cutana-python", "cutana", help="A Python with Cutana.")
@click.option("--rounds", default=3, show_default=True, help="Of the whole job.")
@click.option("--turns", default=20, show_default=True, help="Tiles after one another, for memory.")
@click.option("--only", type=click.Choice(["rates", "job", "detect"]), help="One part.")
def main(folder, size: int, galaxies: int, cutana, rounds: int, turns: int, only: str | None) -> None:
    """Print rates, ratios and memory, and whether they are as promised."""
    made = full_tile(folder, size, galaxies)
    if only == "job":
        return job(made, turns)
    if only == "detect":
        with Tile.open(made.paths) as tile:
            print(len(detect(tile)), peak())
        return None
    kept = [rates(made)]
    arguments = ["--size", str(size), "--galaxies", str(galaxies), *(["--tile", str(folder)] if folder else [])]
    if not only:
        if cutana and Path(cutana).exists():
            kept.append(whole_job(arguments, made, cutana, rounds))
        else:
            print("Cutana is left out: name a Python that has it with --cutana-python")
        kept.append(memory(arguments, turns))
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
