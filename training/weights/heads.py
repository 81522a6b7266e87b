"""The step that fits the small model's heads to the labels of real galaxies, each label for what it is worth."""

from pathlib import Path

from morph.atomic import atomic
from training.weights.detail import with_detail
from training.weights.recipe import HELD_OUT, LABELLED, Extent
from training.weights.steps import Step

#: What they are fitted to: the training splits of the labelled sets, and of the simulated one, which has votes on the
#: questions that few real galaxies were asked.
SETS = (*LABELLED, "sim-sdss")

#: How strongly the heads are held, how much more often rare answers count, and how many volunteers a class of Galaxy
#: Zoo 1 stands for. In the trainings it is one vote, and the forty of a simulated galaxy drown it. Chosen on
#: validation galaxies, where the large model lost by it (docs/explanation/tried.md).
STRENGTH, BALANCE, VOLUNTEERS = 10.0, 0.6, 20.0

#: Seconds that it takes: eight views of all galaxies pass through the encoder.
SECONDS = 240.0


def with_heads(work: Path, name: str) -> Path:
    """The file of a model with the heads that it ships with."""
    return work / ("sdss-heads.keras" if name == "sdss" else f"{name}.keras")


def heads_step(work: Path, extent: Extent = Extent()) -> Step:
    """Fit the heads of the small model, whose other parts stay as they are, and its calibration to held-out galaxies.

    Parameters
    ----------
    work : the folder of datasets and models.
    extent : the part of the recipe.
    """
    trained, to = with_detail(work, "sdss"), with_heads(work, "sdss")
    sets, held_out = ([f"{work / each}" for each in names] for names in (SETS, HELD_OUT))

    def fit() -> None:
        from morph.model.store import load_model
        from training.fitting.adaptation import refit
        from training.fitting.calibrate import calibrate
        from training.fitting.reference_sample import store_reference_sample
        from training.fitting.sets import Task, training_sets

        classifier = load_model(trained)
        labelled, others = training_sets(Task("heads", "", "", sets, held_out=held_out), seed=1)
        number = refit(classifier, [galaxies for galaxies, _ in labelled], STRENGTH, 1, BALANCE, VOLUNTEERS)
        calibrate(classifier, others)
        # It holds how certain the answers to held-out galaxies are.
        store_reference_sample(classifier, *others)
        classifier.about = {**classifier.about, "heads": {"galaxies": number, "class_counts_as": VOLUNTEERS}}
        with atomic(to) as building:
            classifier.save(building)

    words = ("heads", f"{trained}", *sets, *held_out, f"{STRENGTH}", f"{BALANCE}", f"{VOLUNTEERS}", f"{to}")
    read = (trained, *(work / each for each in (*SETS, *HELD_OUT)))
    return Step("fit heads", words, read, (to,), SECONDS if extent.whole else 60.0, fit)
