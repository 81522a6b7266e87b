"""The steps that make the weights that ship: which datasets, which trainings, which measurements."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morph.checks import check_folder
from morph.errors import InputError
from training.importers.pictures import find_pictures
from training.weights.steps import Step


@dataclass(frozen=True)
class Release:
    """A set of images of a public release.

    Attributes
    ----------
    folder : its folder in the folder of the data, with ``images/`` in it.
    labels : the file of its labels, if they are read.
    what, where : what it is, and where to get it.
    options : of ``morph import``.
    properties : a file, beside the folder, with measured properties of some of its galaxies.
    """

    folder: str
    labels: str
    what: str
    where: str
    options: tuple[str, ...] = ("--survey", "sdss")
    properties: str = ""

    def files(self, data: Path) -> list[Path]:
        """What is read of it, where `data` is the folder of the data."""
        tables = [self.folder + "/" + self.labels] if self.labels else []
        tables += [self.properties] if self.properties else []
        return [data / self.folder / "images", *(data / table for table in tables)]


@dataclass(frozen=True)
class Length:
    """How long to train: passes, batches in a pass, and seconds that a batch takes on two cores with bfloat16."""

    epochs: int
    steps: int
    seconds: float

    @property
    def total(self) -> float:
        return self.epochs * self.steps * self.seconds


#: The length of each training, in the order of training: the large model is the teacher of the small one.
TRAININGS = {"sdss-large": Length(32, 250, 0.8), "sdss": Length(60, 250, 0.25)}

#: Weight of the contrastive term of both (see `training.fitting.objective`).
CONTRAST = "0.5"

#: Seconds that the steps after the epochs take, from batch statistics to the reference sample.
AFTER_EPOCHS = {"sdss-large": 1800, "sdss": 600}

#: Pixels on a side of the stamps: the large model reads 128, and turning takes a margin.
STAMP_SIZE = 160

_GALAXY_ZOO = "https://data.galaxyzoo.org"
_SKYSERVER = "https://skyserver.sdss.org"
_EXAMPLES = "https://github.com/zooniverse/Galaxy-Zoo"
#: Redshifts from spectra, of galaxies in several sets.
_SPECTRA = "extra-labels.csv"

#: Training sets with labels, and without.
LABELLED = {
    "gz1": Release(
        "sdss-galaxyzoo1", "labels.csv", "SDSS composites with Galaxy Zoo 1 classes", _GALAXY_ZOO, properties=_SPECTRA
    ),
    "gz2": Release(
        "sdss-galaxyzoo2", "votes.csv", "SDSS composites with Galaxy Zoo 2 votes", _GALAXY_ZOO, properties=_SPECTRA
    ),
}
UNLABELLED = {
    "unlabelled": Release(
        "sdss-unlabelled",
        "",
        "SDSS composites of the Kaggle Galaxy Zoo challenge",
        "https://www.kaggle.com/c/galaxy-zoo-the-galaxy-challenge",
    ),
    "spirals": Release(
        "sdss-spirals", "", "SDSS composites of spirals at 0.2 arcsec a pixel", _SKYSERVER, properties=_SPECTRA
    ),
}

#: Simulated galaxies train the questions with few labels (bars, arms, rings, mergers, artefacts), magnitudes, sizes
#: and redshifts; the votes of those of DES are not used. The pairs are the same galaxies observed by two surveys.
SIMULATED = {
    "sim-sdss": (5000, "--survey sdss --mix balanced --seed 11"),
    "sim-des": (6000, "--survey des --mix survey --seed 21"),
    "pairs-sdss": (2000, "--survey sdss --population sdss --mix balanced --seed 31"),
    "pairs-des": (2000, "--survey des --population sdss --mix balanced --seed 31"),
}

#: Nothing is trained on these: with the validation splits they set the anomaly score's reference and the calibration,
#: which are too uncertain without them (docs/explanation/tried.md).
HELD_OUT = {"held-out-sdss": (1000, "--survey sdss --mix balanced --seed 12")}

#: Sets of surveys that no training uses; all of their galaxies are measured.
UNSEEN = {
    "examples": Release(
        "decals-galaxyzoo-examples",
        "labels.csv",
        "DECam composites, Galaxy Zoo's worked examples",
        _EXAMPLES,
        ("--survey", "decals"),
    ),
    "galaxy10": Release(
        "decals-galaxy10",
        "labels.csv",
        "DECam composites of Galaxy10 DECaLS",
        "https://github.com/henrysky/Galaxy10",
        ("--survey", "decals", "--pixel-scale", "0.262"),
    ),
    "rings": Release(
        "decals-rings", "labels.csv", "DECam composites with and without a ring", _GALAXY_ZOO, ("--survey", "decals")
    ),
    "kids": Release(
        "kids-galaxyzoo-examples",
        "labels.csv",
        "KiDS composites, Galaxy Zoo's worked examples",
        _EXAMPLES,
        ("--survey", "kids"),
    ),
    "lenses": Release(
        "cfhtls-lenses",
        "",
        "CFHTLS composites, lens candidates of Space Warps",
        "https://github.com/drphilmarshall/SpaceWarps",
        ("--survey", "cfhtls", "--pixel-scale", "0.1875"),
    ),
}


@dataclass(frozen=True)
class Measurement:
    """What is measured of the models.

    Attributes
    ----------
    title : unique.
    command : of a verb or of a script (``python ...``), in which {model} is the model, {gz1} the dataset of that name
        and {work} the folder of them all. What it prints stands in the card.
    seconds : that it takes for the small model, on two cores.
    models : of which it is measured.
    """

    title: str
    command: str
    seconds: float = 60.0
    models: tuple[str, ...] = tuple(TRAININGS)


#: What the large model is not measured by, since that would take hours: the table of the figures by which models are
#: compared has its rows of the same sets.
_SMALL = ("sdss",)

MEASURED: Sequence[Measurement] = (
    Measurement("SDSS, Galaxy Zoo 1", "morph evaluate {model} {gz1}"),
    Measurement("SDSS, Galaxy Zoo 2", "morph evaluate {model} {gz2}", models=_SMALL),
    Measurement("Simulated SDSS", "morph evaluate {model} {sim-sdss}", models=_SMALL),
    Measurement("Simulated DES, whose votes were not trained on", "morph evaluate {model} {sim-des}", models=_SMALL),
    Measurement("DECam, no label of it", "morph evaluate {model} {examples} {galaxy10} --split all", models=_SMALL),
    Measurement("DECam rings, no label of it", "morph evaluate {model} {rings} --split all", models=_SMALL),
    Measurement("KiDS, no label of it", "morph evaluate {model} {kids} --split all", models=_SMALL),
    Measurement(
        "The figures by which models are compared",
        "python benchmarks/accuracy.py {model} {work} --without-finetuning",
        seconds=300.0,
    ),
    Measurement(
        "After fine-tuning",
        "python benchmarks/accuracy.py {model} {work} --rows folds,labels",
        seconds=1800.0,
        models=_SMALL,
    ),
)
#: How many of these are measured when only a part of the recipe is run.
MEASURED_SHORT = 1

#: Seconds on two cores to import and to simulate a galaxy.
IMPORT, SIMULATE = 0.05, 0.06
#: How many times longer than the small model the large one takes to be measured.
LARGER = 6.0

#: Bytes of disk: for a galaxy of a release and for a simulated one, and for models, runs and the state of a training.
PICTURE, FLUX, REST = 80e3, 280e3, 1e9


@dataclass(frozen=True)
class Extent:
    """The part of the recipe to run; None stands for all of it.

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

    def length(self, name: str) -> Length:
        """That of a training."""
        usual = TRAININGS[name]
        return Length(self.epochs or usual.epochs, self.steps or usual.steps, usual.seconds)

    def number(self, galaxies: int) -> int:
        """That of the galaxies of a set."""
        return min(galaxies, self.limit or galaxies)


def releases(extent: Extent = Extent()) -> dict[str, Release]:
    """The releases that are read, by the names of their datasets."""
    return {**LABELLED, **UNLABELLED, **(UNSEEN if extent.whole else {})}


def check(data: Path, work: Path, out: Path, extent: Extent) -> None:
    """InputError where a set is missing, or a folder cannot be written to or lacks room.

    Parameters
    ----------
    data : the folder of survey images and labels.
    work : the folder of datasets and models.
    out : the folder of weights and card.
    extent : how much of everything.
    """
    if not data.is_dir():
        raise InputError(f"There are no survey images in '{data}'; set MORPH_DATA to the folder that holds them.")
    number = 0
    for release in releases(extent).values():
        folder = data / release.folder
        if missing := [path for path in release.files(data) if not path.exists()]:
            raise InputError(
                f"The set '{release.folder}' ({release.what}) is missing: there is no '{missing[0]}'. Get it from "
                f"{release.where}, or set MORPH_DATA to the folder that holds it."
            )
        found = len(find_pictures([folder / "images"]))
        if not found:
            raise InputError(
                f"The set '{release.folder}' ({release.what}) has no pictures in '{folder / 'images'}'; get them from "
                f"{release.where}."
            )
        number += extent.number(found)
    check_folder(work, "--work")
    check_folder(out, "--out")
    simulated = sum(extent.number(galaxies) for galaxies, _ in (SIMULATED | HELD_OUT).values())
    needed_bytes = number * PICTURE + simulated * FLUX + REST
    _check_room(work, needed_bytes)


def _check_room(work: Path, needed: float) -> None:
    """InputError unless there is room for what is to be made beside what is there already."""
    there = next(folder for folder in (work.absolute(), *work.absolute().parents) if folder.exists())
    used = sum(file.stat().st_size for file in work.rglob("*") if file.is_file()) if work.is_dir() else 0
    free = shutil.disk_usage(there).free
    if needed - used > free:
        raise InputError(
            f"Datasets and models take about {(needed - used) / 1e9:.1f} GB, and '{there}' has {free / 1e9:.1f} GB "
            "free; make room, or give another --work."
        )


def data_steps(data: Path, work: Path, extent: Extent = Extent()) -> list[Step]:
    """Import and simulate the datasets.

    Parameters
    ----------
    data, work, extent : as for `check`.
    """
    size = ("--stamp-size", f"{STAMP_SIZE}")
    steps = []
    for name, release in releases(extent).items():
        folder, to = data / release.folder, work / name
        labels = ("--labels", f"{folder / release.labels}") if release.labels else ()
        # A part of a set may hold no galaxy of the file, which `morph import` refuses.
        whole = release.properties and extent.limit is None
        properties = ("--properties", f"{data / release.properties}") if whole else ()
        pictures = find_pictures([folder / "images"])[: extent.limit]
        images = [folder / "images"] if extent.limit is None else pictures
        words = ("import", *map(str, images), *labels, *properties, *release.options, *size, "--to", f"{to}")
        read = tuple(release.files(data))
        steps.append(Step(f"import {name}", words, read, (to,), IMPORT * len(pictures)))
    for name, (galaxies, options) in (SIMULATED | HELD_OUT).items():
        number, to = extent.number(galaxies), work / name
        words = ("simulate", "galaxies", "--number", f"{number}", *options.split(), *size, "--to", f"{to}")
        steps.append(Step(f"simulate {name}", words, (), (to,), SIMULATE * number))
    return steps


def training_steps(work: Path, extent: Extent = Extent()) -> list[Step]:
    """Train the large model, and the small one with the large one as teacher."""
    unlabelled, spirals = f"{work / 'unlabelled'}", f"{work / 'spirals'}:0.55"
    teacher = work / "sdss-large.keras"
    large = ("--architecture", "large", "--unlabelled", unlabelled, "--unlabelled", spirals)
    small = ("--pseudo-labelled", unlabelled, "--pseudo-labelled", spirals, "--teacher", f"{teacher}")
    return [_pretrain(work, "sdss-large", extent, large), _pretrain(work, "sdss", extent, small, teacher)]


def _pretrain(work: Path, name: str, extent: Extent, more: tuple[str, ...], *read: Path) -> Step:
    labelled = (f"{work / 'gz1'}", f"{work / 'gz2'}:0.75", f"{work / 'sim-sdss'}:0.35")
    paired = [f"{work / each}:0.3" for each in SIMULATED if each.startswith("pairs-")]
    observed = [f"{work / 'sim-des'}:1.1", *paired]
    unlabelled = tuple(word for each in observed for word in ("--unlabelled", each))
    held_out = tuple(word for each in HELD_OUT for word in ("--held-out", f"{work / each}"))
    length = extent.length(name)
    # A short training has a name of its own, so that it does not resume the whole one.
    called = name if extent.whole else f"{name}-short"
    to = work / f"{name}.keras"
    words = (
        *("pretrain", *labelled, *unlabelled, *more, *held_out, "--unlabelled-share", "0.32"),
        *("--contrast", CONTRAST, "--epochs", f"{length.epochs}", "--steps", f"{length.steps}"),
        *("--seed", "1", "--precision", "mixed_bfloat16", "--name", called, "--to", f"{to}"),
    )
    sets = tuple(work / each for each in (*LABELLED, *UNLABELLED, *SIMULATED, *HELD_OUT))
    seconds = length.total + (AFTER_EPOCHS[name] if extent.whole else 60)
    return Step(f"train {name}", words, (*sets, *read), (to,), seconds)
