"""The step that learns the detail decoder of the small model."""

from pathlib import Path

from training.weights.recipe import Extent, Length
from training.weights.steps import Step

#: The length of its training. The large model has none: its critics would cost five times as much.
LENGTH = Length(20, 500, 0.17)

#: What it learns from, with weights, and the share of every batch that comes from the second kind: real galaxies as
#: SDSS shows them, and simulated ones as DES does. The spirals are shown at a scale of their own.
LABELLED, UNLABELLED, SHARE = ("gz1", "gz2"), ("unlabelled:0.5", "sim-des"), 0.5


def with_detail(work: Path, name: str) -> Path:
    """The file of a model with the detail decoder, where it has one."""
    return work / ("sdss-detail.keras" if name == "sdss" else f"{name}.keras")


def detail_step(work: Path, extent: Extent = Extent()) -> Step:
    """Learn the detail decoder of the small model, whose other parts stay as they are."""
    trained, to = work / "sdss.keras", with_detail(work, "sdss")
    epochs, steps = extent.epochs or LENGTH.epochs, extent.steps or LENGTH.steps
    labelled, unlabelled = ([f"{work / name}" for name in names] for names in (LABELLED, UNLABELLED))

    def learn() -> None:
        from training.evaluation.detail import judge_detail
        from training.fitting.detail import DetailRecipe, learn_detail
        from training.fitting.sets import Task

        task = Task("detail", "", "", labelled, unlabelled, unlabelled_share=SHARE)
        lengths = DetailRecipe(epochs, steps, precision="mixed_bfloat16")
        learn_detail(trained, to, task, lengths, 1, judge_detail)

    words = ("detail", f"{trained}", *labelled, *unlabelled, f"{SHARE}", f"{epochs}", f"{steps}", f"{to}")
    sets = tuple(work / name.partition(":")[0] for name in (*LABELLED, *UNLABELLED))
    return Step("train detail", words, (trained, *sets), (to,), epochs * steps * LENGTH.seconds + 60, learn)
