"""How the weights that ship were made: `make weights`, or `python -m training.weights`.

Every step is a verb that anybody can type. Needs the survey images and labels in the folder that `MORPH_DATA` names,
and about an hour on two cores; what is done already is not done again.
"""

import os
import shlex
from pathlib import Path

import click

from morph.errors import BadInput
from morph.model.store import SHIPPED

#: Labelled pictures: folder, its labels, and the name of the dataset.
LABELLED = (("sdss-galaxyzoo1", "labels.csv", "gz1"), ("sdss-galaxyzoo2", "votes.csv", "gz2"))
UNLABELLED = (("sdss-unlabelled", "unlabelled"), ("sdss-spirals", "spirals"))
#: Simulated galaxies teach the questions that the labels are thin on: bars, arms, rings, mergers, artefacts.
SIMULATED = ("sim-sdss", 5000, 11)


def commands(data: Path, work: Path, to: Path) -> list[str]:
    """The verbs in order, as they would be typed."""
    steps = [
        f"import {data / folder / 'images'} --labels {data / folder / labels} --survey sdss --to {work / name}"
        for folder, labels, name in LABELLED
    ]
    steps += [f"import {data / folder / 'images'} --survey sdss --to {work / name}" for folder, name in UNLABELLED]
    name, number, seed = SIMULATED
    steps.append(f"simulate galaxies --survey sdss --number {number} --mix balanced --seed {seed} --to {work / name}")
    sets = f"{work / 'gz1'}:2 {work / 'gz2'}:1.5 {work / 'sim-sdss'}:0.75"
    extra = " ".join(f"--unlabelled {work / name}" for _, name in UNLABELLED)
    steps.append(
        f"pretrain {sets} {extra} --unlabelled-share 0.2 --epochs 32 --steps 250 --seed 1 "
        f"--precision mixed_bfloat16 --name sdss --alias sdss --to {to}"
    )
    return steps


def main() -> None:
    """Run what is not done yet, then measure and write the card."""
    from morph.__main__ import door

    data = Path(os.environ.get("MORPH_DATA", "../shared/data"))
    if not data.is_dir():
        raise BadInput(f"There are no survey images in '{data}'; set MORPH_DATA to the folder that holds them.")
    work = Path("data")
    steps = commands(data, work, SHIPPED)
    for step in steps:
        words = shlex.split(step)
        made = Path(words[words.index("--to") + 1])
        if made.exists() and words[0] != "pretrain":
            click.echo(f"{made} is there already.")
            continue
        click.echo(f"morph {step}")
        door.main(words, prog_name="morph", standalone_mode=False)
    describe(SHIPPED, work, steps[-1])


def describe(weights: Path, work: Path, last: str) -> None:
    """Measure the weights on the test splits and write their card beside them."""
    from morph.galaxies import Galaxies
    from morph.model.store import load_model
    from training.card import card, write
    from training.evaluate import evaluate

    classifier = load_model(weights)
    sets = {name: Galaxies.open(work / name) for name in ("gz1", "gz2", "unlabelled", "spirals", SIMULATED[0])}
    counts = {name: len(galaxies) for name, galaxies in sets.items()}
    counts["simulated"] = counts.pop(SIMULATED[0])
    evaluations = [
        evaluate(classifier, sets[name].split()["test"], "models:/morph@sdss", "test")
        for name in ("gz1", "gz2", SIMULATED[0])
    ]
    last = last.replace(str(SHIPPED), "sdss.keras")
    write(weights.with_name("MODEL_CARD.md"), card(classifier, evaluations, counts, "make weights", f"morph {last}"))


if __name__ == "__main__":
    main()
