"""How the weights that ship were made: `make weights`, or `python -m training.weights`.

Every step is a verb that anybody can type. Needs the survey images and labels in the folder that `MORPH_DATA` names,
and about two hours on two cores; what is done already is not done again.
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
#: Simulated galaxies teach the questions that the labels are thin on (bars, arms, rings, mergers, artefacts) and what
#: magnitudes, sizes and redshifts have to do with looks. Those of DES teach no votes.
SIMULATED = {
    "sim-sdss": "--survey sdss --number 5000 --mix balanced --seed 11",
    "sim-des": "--survey des --number 6000 --mix survey --seed 21",
}
SHARED = "--steps 250 --seed 1 --precision mixed_bfloat16"


def commands(data: Path, work: Path, to: Path) -> list[str]:
    """The verbs in order, as they would be typed."""
    steps = [
        f"import {data / folder / 'images'} --labels {data / folder / labels} --survey sdss --to {work / name}"
        for folder, labels, name in LABELLED
    ]
    steps += [f"import {data / folder / 'images'} --survey sdss --to {work / name}" for folder, name in UNLABELLED]
    steps += [f"simulate galaxies {options} --to {work / name}" for name, options in SIMULATED.items()]
    sets = f"{work / 'gz1'} {work / 'gz2'}:0.75 {work / 'sim-sdss'}:0.35 --unlabelled {work / 'sim-des'}:1.1"
    extra, teacher = (work / "unlabelled", f"{work / 'spirals'}:0.55"), work / "teacher.keras"
    looked_at, taught = (" ".join(f"--{how} {name}" for name in extra) for how in ("unlabelled", "taught"))
    steps.append(
        f"pretrain {sets} {looked_at} --unlabelled-share 0.32 --epochs 32 {SHARED} --name teacher --to {teacher}"
    )
    steps.append(
        f"pretrain {sets} {taught} --teacher {teacher} --unlabelled-share 0.32 --epochs 60 {SHARED} "
        f"--name sdss --alias sdss --to {to}"
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
        if made.exists() and made != SHIPPED:
            click.echo(f"{made} is there already.")
            continue
        click.echo(f"morph {step}")
        door.main(words, prog_name="morph", standalone_mode=False)
    describe(SHIPPED, work, steps[-1])


def describe(weights: Path, work: Path, last: str) -> None:
    """Measure the weights on the test splits and write their card beside them."""
    from morph.galaxies import Galaxies
    from morph.model.store import load_model
    from training.evaluation.evaluate import evaluate
    from training.weights.card import card, write

    classifier = load_model(weights)
    sets = {name: Galaxies.open(work / name) for name in ("gz1", "gz2", "unlabelled", "spirals", *SIMULATED)}
    counts = {name.replace("-", "_"): len(galaxies) for name, galaxies in sets.items()}
    evaluations = [
        evaluate(classifier, sets[name].split()["test"], "models:/morph@sdss", "test")
        for name in ("gz1", "gz2", *SIMULATED)
    ]
    last = last.replace(str(SHIPPED), "sdss.keras")
    write(weights.with_name("MODEL_CARD.md"), card(classifier, evaluations, counts, "make weights", f"morph {last}"))


if __name__ == "__main__":
    main()
