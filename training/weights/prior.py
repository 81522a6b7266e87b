"""The steps that fit the latent priors of both models once more, since their conditions are the models' answers."""

from pathlib import Path

from morph.atomic import atomic
from training.weights.heads import SETS, with_heads
from training.weights.recipe import HELD_OUT, SIMULATED, TRAININGS, UNLABELLED, Extent
from training.weights.steps import Step

#: What they are fitted to beside the sets that the heads are fitted to: galaxies of which the model's own answers are
#: conditions (`training.fitting.prior.answered`).
ANSWERED = (*UNLABELLED, *(name for name in SIMULATED if name not in SETS))

#: Seconds that it takes: five views of all galaxies pass through the encoder.
SECONDS = {"sdss-large": 2400.0, "sdss": 420.0}


def finished(work: Path, name: str) -> Path:
    """The file of a model that has learned everything."""
    return work / f"{name}-prior.keras"


def prior_steps(work: Path, extent: Extent = Extent()) -> list[Step]:
    """Fit the latent priors of both models, whose other parts stay as they are.

    Parameters
    ----------
    work : the folder of datasets and models.
    extent : the part of the recipe.
    """
    return [_step(work, name, extent) for name in TRAININGS]


def _step(work: Path, name: str, extent: Extent) -> Step:
    trained, to = with_heads(work, name), finished(work, name)
    sets, more, held_out = ([f"{work / each}" for each in names] for names in (SETS, ANSWERED, HELD_OUT))

    def fit() -> None:
        from morph.model.store import load_model
        from training.fitting.prior import fit_prior
        from training.fitting.sets import Task, training_sets

        classifier = load_model(trained)
        fitted_on, others = training_sets(Task("prior", "", "", sets, more, held_out=held_out), seed=1)
        fit_prior(classifier, [galaxies for galaxies, _ in fitted_on], others, seed=1)
        with atomic(to) as building:
            classifier.save(building)

    words = ("prior", f"{trained}", *sets, *more, *held_out, f"{to}")
    read = (trained, *(work / each for each in (*SETS, *ANSWERED, *HELD_OUT)))
    return Step(f"fit prior of {name}", words, read, (to,), SECONDS[name] if extent.whole else 60.0, fit)
