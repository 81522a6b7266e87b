"""The record of the galaxies that the shipped weights were trained on, which were trained before models held one.

`python -m training.weights.record DATA`, where DATA is the folder of the recipe's datasets (see
`training.weights.recipe`), writes it beside the weights.
"""

import json
from pathlib import Path

import click

from morph.model.store import RECORD
from morph.registry import SHIPPED
from morph.votes import RAW


def record(weights: Path, work: Path) -> dict[str, str]:
    """Make the record that `morph.model.store` reads: the digest of the weights, the kind of votes, and the galaxies.

    Parameters
    ----------
    work : the folder of the recipe's datasets, imported and simulated by the same commands as for the training.
    """
    from training.experiments.training_record import TrainingRecord
    from training.fitting.sets import Task, training_sets
    from training.weights.card import digest
    from training.weights.recipe import LABELLED, SIMULATED, UNLABELLED

    labelled = [f"{work / name}" for name in (*(name for _, _, name in LABELLED), "sim-sdss")]
    others = [name for name in SIMULATED if name != "sim-sdss"] + [name for _, name in UNLABELLED]
    task = Task("pretrain", "sdss", "", labelled, [f"{work / name}" for name in others])
    sets, held_out = training_sets(task, seed=1)
    galaxies = [galaxies for galaxies, _ in sets]
    n = len(labelled)
    seen = TrainingRecord.of({"labelled": galaxies[:n], "unlabelled": galaxies[n:], "held out": held_out})
    return {"weights": digest(weights), "votes": RAW, "seen": seen.to_text()}


@click.command()
@click.argument("work", type=click.Path(path_type=Path, exists=True, file_okay=False))
def command(work: Path) -> None:
    """Write the record of the weights that ship, from the recipe's datasets in the folder WORK."""
    RECORD.write_text(json.dumps(record(SHIPPED, work), indent=1) + "\n")
    click.echo(f"Wrote {RECORD} ({RECORD.stat().st_size / 1e3:.0f} kB).")


if __name__ == "__main__":
    command()
