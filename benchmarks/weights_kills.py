"""`make weights` under `kill -9`, over and over; ends with a verdict and status 1 where a file differs.

    python benchmarks/weights_kills.py [--times 10] [--seed 0] [--epochs 2] [--steps 3] [--limit 40] [--data FOLDER]

A part of the recipe runs once undisturbed. It then runs again, is killed so many times at random moments, each time
after the same command has gone on from where it was, and is let finish. The datasets must be the same to the byte, and
the weights of both models up to rounding; nothing may be published by halves, and no other file be left. It needs the
public images that `make weights` needs.
"""

import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.training.weights.killing import Run, differences


@click.command()
@click.option("--times", default=10, show_default=True, help="Kills.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--epochs", default=2, show_default=True)
@click.option("--steps", default=3, show_default=True)
@click.option("--limit", default=40, show_default=True, help="Galaxies of each set.")
@click.option("--data", type=click.Path(path_type=Path), default="../shared/data", envvar="MORPH_DATA")
def main(times: int, seed: int, epochs: int, steps: int, limit: int, data: Path) -> None:
    """Kill a small `make weights`, and compare its files with those of an undisturbed one."""
    random = np.random.default_rng(seed)
    part = ("--epochs", epochs, "--steps", steps, "--limit", limit)
    command = (
        sys.executable,
        "-m",
        "training.weights",
        "--data",
        data.resolve(),
        "--work",
        "work",
        "--out",
        "out",
        *part,
    )
    with tempfile.TemporaryDirectory() as name:
        whole, killed = (Run(Path(name) / each, command) for each in ("whole", "killed"))
        begun = time.monotonic()
        whole.finish()
        lasted = time.monotonic() - begun
        print(f"undisturbed: {lasted:.0f} s", flush=True)
        wrong: list[str] = []
        done = 0
        while done < times:
            # On average all kills together leave the work of one run to do.
            if not killed.kill_after(random.uniform(0, 2 * lasted / times)):
                break
            done += 1
            wrong += killed.half_published()
        killed.finish()
        wrong += differences(whole.work, killed.work)
        said = "; ".join(wrong[:5]) or "the same datasets, the same weights up to rounding, no other file"
        print(f"{'FAILED' if wrong else 'passed'}  killed {done} times: {said}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
