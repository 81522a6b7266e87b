"""The step that trains the restorer of all models on simulated scenes."""

import shutil
from pathlib import Path

from morph.model.store import SHIPPED_RESTORER
from training.weights.recipe import SIMULATE, Extent, Length
from training.weights.steps import Step

#: The length of its training, and how many simulated scenes it is trained on and validated with.
LENGTH, SCENES = Length(55, 100, 0.3), (2400, 160)


def restorer_step(work: Path, extent: Extent = Extent()) -> Step:
    """Train the restorer of all models on simulated galaxies."""
    length = Length(extent.epochs or LENGTH.epochs, extent.steps or LENGTH.steps, LENGTH.seconds)
    scenes = tuple(extent.number(each) for each in SCENES)
    to = work / "ship" / SHIPPED_RESTORER.name

    def train() -> None:
        from morph.model.restorer import Restorer
        from training.fitting.restorer import fit_restorer

        restorer = Restorer()
        # One folder for each length: the state of another one cannot be resumed.
        state = to.with_name(f".{to.stem}-{length.epochs}-{length.steps}-{scenes[0]}")
        fit_restorer(restorer, 1, length.epochs, length.steps, (scenes[0], scenes[1]), checkpoint=state)
        restorer.write(to)
        shutil.rmtree(state)

    words = ("restorer", *(f"{number}" for number in (length.epochs, length.steps, *scenes)), f"{to}")
    return Step("train restorer", words, (), (to,), length.total + SIMULATE * sum(scenes), train)
