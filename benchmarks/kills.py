"""A scoring job under `kill -9`, over and over; ends by itself, with a verdict a victim and status 1 where one failed.

    python benchmarks/kills.py [--times 20] [--seed 0] [job|worker|scheduler ...]

Each time the whole job, one of its workers, or the scheduler of its cluster is killed at a random moment, and the same
command is given again. The catalogue must then be row for row that of an undisturbed run: nothing twice, nothing
missing, no other file. The tiles are small simulated ones and the model sleeps: what is tried here is all the rest.
"""

import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from astropy.table import Table, vstack

sys.path.insert(0, str(Path(__file__).parents[1]))

from morph.simulation.tile import simulate_tile
from tests.serving.scoring.killing import Trial, cluster, differences

VICTIMS = ("job", "worker", "scheduler")


def tiles(folder: Path, count: int) -> tuple[Path, Path]:
    """Simulated tiles of 256 pixels with 8 galaxies each, and one catalogue of all."""
    made = [
        simulate_tile(folder / f"{i}", 256, galaxies=8, seed=i, name=f"DES{i:02d}00-5248", progress=False)
        for i in range(count)
    ]
    galaxies = vstack([Table.read(tile.catalogue) for tile in made])
    galaxies["COADD_OBJECT_ID"] = 1_600_000_000 + np.arange(len(galaxies))
    galaxies.write(folder / "all.fits")
    return folder, folder / "all.fits"


@click.command()
@click.argument("victims", nargs=-1, type=click.Choice(VICTIMS))
@click.option("--times", default=20, show_default=True, help="Kills a victim.")
@click.option("--tiles", "count", default=12, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(victims: tuple[str, ...], times: int, count: int, seed: int) -> None:
    """Kill scoring jobs."""
    random = np.random.default_rng(seed)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sky, catalogue = tiles(folder / "tiles", count)
        for victim in victims or VICTIMS:
            begun = time.monotonic()
            whole = folder / f"whole-{victim}"
            # Jobs of one process and of two are killed in turn.
            trials = [Trial(sky, catalogue, workers) for workers in ((1, 2) if victim == "job" else (2,))]
            lasted = [_lasted(trial, folder / f"{whole.name}-{trial.workers}", victim) for trial in trials]
            wrong, resumed = [], 0
            for attempt in range(times):
                trial, limit = (each[attempt % len(trials)] for each in (trials, lasted))
                out = folder / f"{victim}-{attempt}"
                status = getattr(trial, f"kill_{victim}")(out, random.uniform(0, limit))
                found = differences(out, folder / f"{whole.name}-{trial.workers}")
                wrong += [f"kill {attempt}: exit status {status}"] if status else []
                wrong += [f"kill {attempt}: {difference}" for difference in found]
                resumed += 1
            failed |= bool(wrong)
            said = "; ".join(wrong[:5]) or "row for row the undisturbed catalogue, no other file"
            print(
                f"{'FAILED' if wrong else 'passed'}  {victim:9} killed {resumed} times within "
                f"{'/'.join(f'{limit:.1f}' for limit in lasted)} s: {said}  ({time.monotonic() - begun:.0f} s)",
                flush=True,
            )
    sys.exit(failed)


def _lasted(trial: Trial, out: Path, victim: str) -> float:
    """Seconds that an undisturbed job takes."""
    if victim == "scheduler":
        with cluster(trial.workers) as (address, _):
            begun = time.monotonic()
            trial.run(out, address)
            return time.monotonic() - begun
    begun = time.monotonic()
    trial.run(out)
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
