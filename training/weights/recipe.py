"""The verbs that make the weights that ship, in order."""

from dataclasses import dataclass
from pathlib import Path

from training.importers.pictures import find_pictures

#: Labelled pictures: folder, its labels, and the name of the dataset.
LABELLED = (("sdss-galaxyzoo1", "labels.csv", "gz1"), ("sdss-galaxyzoo2", "votes.csv", "gz2"))
UNLABELLED = (("sdss-unlabelled", "unlabelled"), ("sdss-spirals", "spirals"))
#: Simulated galaxies teach the questions that the labels are thin on (bars, arms, rings, mergers, artefacts) and what
#: magnitudes, sizes and redshifts have to do with looks. Those of DES teach no votes.
SIMULATED = {
    "sim-sdss": (5000, "--survey sdss --mix balanced --seed 11"),
    "sim-des": (6000, "--survey des --mix survey --seed 21"),
}
#: Passes of each training, and batches in a pass.
EPOCHS = {"teacher": 32, "sdss": 60}
STEPS = 250


@dataclass(frozen=True)
class Extent:
    """How much of the recipe to do; None is all of it.

    Attributes
    ----------
    epochs, steps : of both trainings.
    limit : galaxies of each set.
    """

    epochs: int | None = None
    steps: int | None = None
    limit: int | None = None

    @property
    def whole(self) -> bool:
        return self == Extent()


def verbs(data: Path, work: Path, extent: Extent = Extent()) -> list[list[str]]:
    """The words of every verb, as they would be typed after ``morph``; each ends with what it makes.

    Parameters
    ----------
    data : the folder of survey images and labels.
    work : the folder for datasets and models; the last verb makes ``sdss.keras`` in it.
    """
    steps = [
        _import(data / folder, extent.limit, work / name, "--labels", f"{data / folder / labels}")
        for folder, labels, name in LABELLED
    ]
    steps += [_import(data / folder, extent.limit, work / name) for folder, name in UNLABELLED]
    for name, (number, options) in SIMULATED.items():
        number = min(number, extent.limit or number)
        steps.append(["simulate", "galaxies", "--number", f"{number}", *options.split(), "--to", f"{work / name}"])
    unlabelled, spirals = f"{work / 'unlabelled'}", f"{work / 'spirals'}:0.55"
    steps.append(_pretrain(work, "teacher", extent, "--unlabelled", unlabelled, "--unlabelled", spirals))
    teacher = f"{work / 'teacher.keras'}"
    pseudo_labelled = ("--pseudo-labelled", unlabelled, "--pseudo-labelled", spirals, "--teacher", teacher)
    steps.append(_pretrain(work, "sdss", extent, *pseudo_labelled))
    return steps


def _import(folder: Path, limit: int | None, to: Path, *labels: str) -> list[str]:
    """Import a folder's images, or the first few of them by name."""
    images = [folder / "images"] if limit is None else find_pictures([folder / "images"])[:limit]
    return ["import", *map(str, images), *labels, "--survey", "sdss", "--to", f"{to}"]


def _pretrain(work: Path, name: str, extent: Extent, *more: str) -> list[str]:
    sets = [f"{work / 'gz1'}", f"{work / 'gz2'}:0.75", f"{work / 'sim-sdss'}:0.35"]
    share = ["--unlabelled", f"{work / 'sim-des'}:1.1", *more, "--unlabelled-share", "0.32"]
    length = ["--epochs", f"{extent.epochs or EPOCHS[name]}", "--steps", f"{extent.steps or STEPS}"]
    # A short training has a name of its own: it is neither what the registry knows by this one, nor goes on with it.
    called = ["--name", name if extent.whole else f"{name}-short"]
    if name == "sdss" and extent.whole:
        called += ["--alias", name]
    same = ["--seed", "1", "--precision", "mixed_bfloat16"]
    return ["pretrain", *sets, *share, *length, *same, *called, "--to", f"{work / name}.keras"]
