"""One measurement of rate and distortion, from the names of a model and datasets to a tracked run."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from morph.dataset import Galaxies, dataset_name
from morph.training_record import TrainingRecord
from training.evaluation.rate_distortion import RateDistortion, measure_rate_distortion
from training.evaluation.rate_distortion_report import decoded_table, points_table
from training.experiments import registry, tracking
from training.experiments.evaluation_run import opened, terminal


@dataclass(frozen=True)
class RateDistortionRun:
    """The results of `evaluate_rate_distortion`.

    Attributes
    ----------
    id, name, experiment : of the MLflow run.
    about : model, dataset, digest, split, survey and number of galaxies.
    measured : the figures.
    """

    id: str
    name: str
    experiment: str
    about: dict[str, object]
    measured: RateDistortion

    def as_json(self) -> dict[str, object]:
        """Everything, as plain values."""
        return {"run": self.id, "about": self.about, "rate-distortion": self.measured.document()}

    def print(self) -> None:
        """Print tables and sentences to the terminal."""
        console = terminal()
        console.print(f"{self.about['model']} on {self.about['dataset']}, {self.about['split']} split", markup=False)
        console.print(points_table(self.measured), end="\n\n")
        if self.measured.decoded:
            console.print(decoded_table(self.measured), end="\n\n")
        console.print(self.measured.note, markup=False)
        console.print(f"Run '{self.name}' ({self.id}) of experiment '{self.experiment}'.", markup=False)


def evaluate_rate_distortion(
    model: str,
    datasets: Sequence[str],
    split: str = "test",
    name: str | None = None,
    experiment: str = tracking.DEFAULT_EXPERIMENT,
) -> RateDistortionRun:
    """Measure codes of all lengths by a model, and track the figures and the curve as a run.

    Parameters
    ----------
    model, datasets, split, name, experiment : as for `training.experiments.evaluation_run.evaluate_model`.

    Returns
    -------
    RateDistortionRun

    Raises
    ------
    InputError : as for `evaluate_model`; or the model has no components for codes, or there are too few galaxies.
    """
    sets, galaxies, classifier = opened(model, datasets, split)
    for line in TrainingRecord.from_text(classifier.seen).overlap(galaxies).notes(model, ()):
        click.echo(line, err=True)
    training = Galaxies.concatenate([each.split()["train"] for each in sets])
    about = {
        "model": model,
        "dataset": dataset_name(galaxies),
        "digest": galaxies.digest,
        "split": split,
        "survey": galaxies.survey,
        "galaxies": len(galaxies),
    }
    name = name or f"codes by {model} on {about['dataset']}"
    with tracking.run(experiment, name, "evaluate", parent=model) as run:
        run.log_dataset(galaxies, "evaluation")
        run.tag(registry.identity(model, classifier.about))
        run.log_params({"model": model, "split": split, "galaxies": len(galaxies)})
        measured = measure_rate_distortion(classifier, galaxies, training)
        measured.log(run)
    return RateDistortionRun(run.id, run.name, run.experiment, about, measured)
