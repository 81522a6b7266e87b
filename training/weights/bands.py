"""The anomaly score of the shipped weights, fitted to galaxies in fewer than three bands.

`python -m training.weights.bands DATA`, where DATA is the folder of the recipe's datasets (see
`training.weights.recipe`), stores it in the shipped weights, which were trained before the score had sets of bands.
All other weights, and the answers for galaxies in three bands, stay the same to the bit. Models of `pretrain` and
`finetune` are fitted already.
"""

import json
import os
from pathlib import Path

import click
import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.store import RECORD
from morph.registry import SHIPPED
from training.weights.recipe import SIMULATED

#: More galaxies like those of the recipe's simulated sets, from other random seeds: the network was trained on none of
#: them. With the sets' validation splits, they determine a rate of 1 % to 0.2 points.
HELD_OUT = {
    "held-out-sdss": (1000, "--survey sdss --mix balanced --seed 12"),
    "held-out-des": (1000, "--survey des --mix survey --seed 22"),
}


def fit_bands(classifier, hosts: list[Galaxies], held_out: list[Galaxies]) -> None:
    """Fit the score to every set of fewer than three bands, with galaxies given as flux in all three.

    Parameters
    ----------
    classifier : the model, changed in place.
    hosts : galaxies that the network was trained on, to inject anomalies into.
    held_out : galaxies that it was not trained on, to set the p-value on.
    """
    from morph.model.anomaly import ALL_BANDS
    from training.fitting.anomaly_reference import NORMAL, learn_band_sets, normal_galaxies

    normal = [*normal_galaxies(held_out).values()]
    normal_hosts = [each for galaxies in hosts for each in normal_galaxies([galaxies], most=NORMAL).values()]
    learn_band_sets(classifier, normal, normal_hosts, range(ALL_BANDS))


def check_the_rest(before, after) -> None:
    """Raise InputError if two models differ in any weight but the anomaly score's."""
    for old, new in zip(_but_the_score(before), _but_the_score(after), strict=True):
        if not np.array_equal(np.asarray(old), np.asarray(new), equal_nan=True):
            raise InputError(f"The weights '{old.path}' changed, and only those of the anomaly score should.")


def _but_the_score(classifier) -> list:
    own = {id(weight) for weight in classifier.anomaly.weights}
    return [weight for weight in classifier.weights if id(weight) not in own]


@click.command()
@click.argument("work", type=click.Path(path_type=Path, exists=True, file_okay=False))
def command(work: Path) -> None:
    """Fit the shipped weights' anomaly score to sets of bands, with the simulated datasets in the folder WORK."""
    from morph.model.store import load_model
    from training.weights.card import digest
    from training.weights.recipe import run_verbs

    verbs = [
        ["simulate", "galaxies", "--number", f"{number}", *options.split(), "--to", f"{work / name}"]
        for name, (number, options) in HELD_OUT.items()
    ]
    run_verbs(verbs, work / "held-out")
    classifier = load_model(SHIPPED)
    parts = [Galaxies.open(work / name).split() for name in SIMULATED]
    held_out = [part["validation"] for part in parts] + [Galaxies.open(work / name) for name in HELD_OUT]
    fit_bands(classifier, [part["train"] for part in parts], held_out)
    check_the_rest(load_model(SHIPPED), classifier)
    record = json.loads(RECORD.read_text())
    # The record stands beside the weights.
    classifier.seen, classifier.about = "", {k: v for k, v in classifier.about.items() if k != "votes"}
    building = SHIPPED.with_name(f".building.{SHIPPED.name}")
    classifier.save(building)
    os.replace(building, SHIPPED)
    RECORD.write_text(json.dumps({**record, "weights": digest(SHIPPED)}, indent=1) + "\n")
    click.echo(f"Wrote {SHIPPED} ({digest(SHIPPED)}).")


if __name__ == "__main__":
    command()
