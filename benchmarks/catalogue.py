"""What writing a catalogue costs beside answering, and whether its memory stays flat.

    python benchmarks/catalogue.py [MODEL] [--tiles N]

CPU time a galaxy of everything that is written in every run (score files with thumbnails, the value-added table, the
report's aggregate), as a share of reading, cutting and answering in the same process; the report's figures, once a
run; then HATS and FITS. MODEL is named as everywhere [models:/morph@sdss]. Rows are invented; the tile is simulated,
with as many galaxies as lie on so much sky of the Dark Energy Survey. The last line is the verdict. Ends by itself in
about three minutes.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from morph.stamps.signal_to_noise import signal_to_noise
from serving.scores.fits_table import write_fits
from serving.scores.hats import write_hats
from serving.scores.publish import publish
from serving.scores.schema import TileScores, write_scores
from serving.scores.score_files import ScoreFiles
from serving.scoring.measurements import Thumbnails, masked_part
from tests.serving.scores.invented import ABOUT, DESCRIPTION, invented_scores, summary_of

#: Galaxies of a tile of the Dark Energy Survey of which 27 million were classified, and its side in degrees.
GALAXIES, SIDE = 2_650, 0.73

#: Pixels on a side of such a tile, and of the piece that is cut.
FULL, PIECE = 10_000, 2_000

#: What writing may take of all the rest.
LIMIT = 0.02

#: Rounds of each, of which the quickest counts.
ROUNDS = 3


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def answering(name: str) -> float:
    """CPU seconds a galaxy of a model's forward passes."""
    from serving.scoring.backends import LocalModel

    stamps = np.random.default_rng(0).normal(0.02, 0.02, (512, 64, 64, 3)).astype("float32")
    with LocalModel(name).open() as backend:
        backend.answer(stamps)
        return min(cpu(lambda: backend.answer(stamps)) for _ in range(ROUNDS)) / len(stamps)


def cutting(folder: Path) -> float:
    """CPU seconds a galaxy of reading a tile and cutting its stamps."""
    from morph.catalogs.catalog import read_catalog
    from morph.catalogs.spatial_index import locate
    from morph.simulation.tile import simulate_tile
    from morph.stamps.stamp_stream import stream_stamps
    from morph.tiles.tile import Tile

    piece = simulate_tile(folder, PIECE, galaxies=round(GALAXIES * PIECE**2 / FULL**2), progress=False)
    catalogue = read_catalog(piece.catalogue, "des")

    def cut() -> int:
        with Tile.open(piece.paths) as tile:
            rows = locate(tile, catalogue)
            found = stream_stamps(tile, rows["x"], rows["y"], np.asarray(rows["radius"]) / tile.pixel_scale)
            return sum(len(some.rows) for some in found)

    return min(cpu(cut) for _ in range(ROUNDS)) / cut()


def tile(number: int, stamps: np.ndarray) -> tuple[str, TileScores]:
    random = np.random.default_rng(number)
    ra, dec = (SIDE * (place + random.random(GALAXIES)) for place in (number % 8, number // 8))
    return f"DES{number:04d}-0000", invented_scores(f"T{number}", ra, dec, stamps)


def keeping(folder: Path, tiles: int) -> float:
    """CPU seconds a galaxy of all that is done while a tile is scored: thumbnails, measurements, its file."""
    stamps, radius = np.random.default_rng(0).random((256, 64, 64, 3), "float32"), np.full(256, 4.0)
    folder.mkdir()
    spent = []
    for number in range(tiles):
        name, scores = tile(number, stamps[:4])
        outputs = {key: scores.outputs[key] for key in ("anomaly_score", "reconstruction_error")}

        def work(name=name, scores=scores, outputs=outputs) -> None:
            thumbnails = Thumbnails()
            for start in range(0, GALAXIES, len(stamps)):
                rows = np.arange(start, min(start + len(stamps), GALAXIES))
                count = len(rows)
                some = {key: each[rows] for key, each in outputs.items()}
                thumbnails.add(rows, stamps[:count], scores.flags[rows], some)
                masked_part(stamps[:count])
                signal_to_noise(stamps[:count], radius[:count])
            thumbnails.files()
            write_scores(folder / f"{name}.parquet", name, scores, DESCRIPTION, {**ABOUT, "tile": name})

        spent.append(cpu(work))
    return float(np.median(spent)) / GALAXIES


def publishing(folder: Path, few: Path) -> tuple[float, float]:
    """CPU seconds a galaxy, and once a run, of the value-added table and the report: from folders of two sizes."""
    spent = []
    for out in (few, folder):
        publish(summary_of(out), out)
        each = []
        for _ in range(ROUNDS):
            (out.parent / f"{out.name}-catalogue" / "about.json").unlink()
            each.append(cpu(lambda out=out: publish(summary_of(out), out)))
        spent.append(min(each))
    rows = [ScoreFiles.open(out).galaxies for out in (few, folder)]
    a_galaxy = (spent[1] - spent[0]) / (rows[1] - rows[0])
    return a_galaxy, spent[0] - a_galaxy * rows[0]


def apart(work: str, folder: Path) -> tuple[float, float]:
    """CPU seconds a galaxy and peak memory (MB) of HATS or FITS, in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_apart, (work, folder))


def _apart(work: str, folder: Path) -> tuple[float, float]:
    scores = ScoreFiles.open(folder)
    with tempfile.TemporaryDirectory() as there:
        if work == "HATS":
            # A partition for every four tiles, so that there are as many in a small run as in a large one's corner.
            spent = cpu(lambda: write_hats(scores, Path(there) / "hats", {}, rows=4 * GALAXIES))
        else:
            spent = cpu(lambda: write_fits(scores, Path(there) / "scores.fits"))
    return spent / scores.galaxies, _peak()


def _peak() -> float:
    """Megabytes that this process held at most; what its parent held counts in `getrusage`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="models:/morph@sdss")
    parser.add_argument("--tiles", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as there:
        few, many = Path(there) / "few", Path(there) / "many"
        keeping(few, options.tiles // 2)
        kept = keeping(many, options.tiles)
        made, once = publishing(many, few)
        answered = answering(options.model)
        cut = cutting(Path(there) / "tile")
        print(f"reading and cutting:       {1e6 * cut:8.1f} us of CPU a galaxy")
        print(f"the model answers:         {1e6 * answered:8.1f}")
        print(f"score files, pictures:     {1e6 * kept:8.1f}")
        print(f"value-added table, sums:   {1e6 * made:8.1f}   and {once:.1f} s once a run, for the report's figures")
        flat = True
        for work in ("HATS", "FITS"):
            (_, small), (spent, large) = apart(work, few), apart(work, many)
            flat &= large < 1.3 * small
            memory = f"peak {small:.0f} MB, {large:.0f} with twice the tiles"
            print(f"{work}, on request:          {1e6 * spent:8.1f}   {memory}")
    share = (kept + made) / (cut + answered)
    verdict = "within" if share <= LIMIT and flat else "NOT within"
    print(f"as a share of answering alone: {100 * (kept + made) / answered:.1f} %")
    print(f"writing takes {100 * share:.2f} % of all the rest: {verdict} {100 * LIMIT:g} % and flat memory")


if __name__ == "__main__":
    main()
