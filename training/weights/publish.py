"""Weights measured, and put where they ship from together with their card."""

import hashlib
import shutil
from pathlib import Path

import click

from morph.atomic import atomic_files
from morph.model.store import RECORD
from training.weights.recipe import LABELLED, SIMULATED, UNLABELLED

#: The names of the weights and of their card, in the folder that they ship from.
WEIGHTS, CARD = "sdss.keras", "MODEL_CARD.md"


def describe(weights: Path, work: Path, command: str, last: str, note: str = "") -> str:
    """The card of weights, measured on the test splits of the datasets in the folder `work`.

    Parameters
    ----------
    command, last : what made the weights, and the last verb of it, as typed.
    note : what else is to be said of how they were made; by default what is known of these very weights.
    """
    from morph.dataset import Galaxies
    from morph.model.store import load_model
    from training.evaluation.evaluate import evaluate
    from training.weights.card import HISTORY, card

    classifier = load_model(weights)
    measured = [name for _, _, name in LABELLED] + [*SIMULATED]
    sets = {name: Galaxies.open(work / name) for name in (*measured, *(name for _, name in UNLABELLED))}
    evaluations = []
    for name in measured:
        click.echo(f"Measuring the weights on {name}.", err=True)
        evaluations.append(evaluate(classifier, sets[name].split()["test"], "models:/morph@sdss", "test"))
    counts = {name.replace("-", "_"): len(galaxies) for name, galaxies in sets.items()}
    return card(classifier, evaluations, counts, command, last, note or HISTORY.get(digest(weights), ""))


def publish(weights: Path, card: str, to: Path) -> None:
    """Put weights and their card into the folder `to`, in place of those that are there."""
    with atomic_files(to / WEIGHTS, to / CARD) as (new_weights, new_card):
        new_card.write_text(card, encoding="utf-8")
        shutil.copyfile(weights, new_weights)
    # New weights keep the record of their training themselves.
    (to / RECORD.name).unlink(missing_ok=True)


def digest(weights: Path) -> str:
    """The first half of a file's SHA-256, in hexadecimal."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:32]
