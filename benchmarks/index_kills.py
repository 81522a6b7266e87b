"""`morph index` under `kill -9`, over and over; ends with a verdict, and with status 1 where an index is another.

    python benchmarks/index_kills.py [--times 20] [--galaxies 1000000] [--seed 0]

An index is built, merged and coded. Each time the builder is killed at a random moment of the first third of what an
undisturbed one takes, and started again, until the index is whole: its hits and its files must be those of an
undisturbed one. Then the next is begun, until the builder has been killed so many times.
"""

import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.serving.similarity.killing import Trial, differences

#: Galaxies of a source.
EACH = 50_000


@click.command()
@click.option("--times", default=20, show_default=True, help="Kills.")
@click.option("--galaxies", default=1_000_000, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(times: int, galaxies: int, seed: int) -> None:
    """Kill builders of an index."""
    random, begun = np.random.default_rng(seed), time.monotonic()
    trial = Trial(sources=max(2, round(galaxies / EACH)), each=EACH, exact=EACH)
    wrong: list[str] = []
    killed, made = 0, 0
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole.index"
        lasted = trial.build(whole)
        while killed < times:
            to = Path(name) / f"{made}.index"
            while killed < times and trial.kill(to, random.uniform(0, lasted / 3)):
                killed += 1
            trial.build(to)
            wrong += [f"index {made}: {difference}" for difference in differences(to, whole)]
            made += 1
    said = "; ".join(wrong[:5]) or "the same hits and files as undisturbed"
    print(
        f"{'FAILED' if wrong else 'passed'}  {trial.sources * EACH:,} galaxies, {lasted:.0f} s undisturbed; killed "
        f"{killed} times, {made} {'indexes' if made > 1 else 'index'} made: {said}  ({time.monotonic() - begun:.0f} s)"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
