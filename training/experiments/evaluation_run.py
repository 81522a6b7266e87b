"""One evaluation, from the names of a model and datasets to a tracked run with figures, plots and predictions.

>>> run = evaluate_model("models:/morph@sdss", ["sample"], split="all", name="shipped")
>>> run.name, run.evaluation.about["galaxies"]
('shipped', 12)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import click
import numpy as np

from morph.checks import check_memory
from morph.dataset import Galaxies, dataset_name, find_dataset
from morph.domain_shift.compare import Shift
from morph.domain_shift.report import document, lines
from morph.model.classifier import Classifier
from morph.model.store import load_model
from morph.registry import find_model
from morph.training_record import TrainingRecord
from morph.votes import difference, one_kind, was_asked
from training.evaluation.anomalies import Anomalies, check_alphas, measure_anomalies
from training.evaluation.crossvalidate import cross_validate
from training.evaluation.evaluate import Evaluation, evaluate, log, part_of, record, title_of
from training.evaluation.photoz import Photoz, evaluate_photoz
from training.evaluation.prior import PriorFigures, check_prior, contact_sheet, measure_prior
from training.evaluation.retrieval import Retrieval, measure_retrieval
from training.evaluation.tables import (
    anomaly_lines,
    anomaly_table,
    calibration_lines,
    calibration_table,
    evaluation_lines,
    evaluation_table,
    retrieval_lines,
    retrieval_table,
)
from training.experiments import registry, tracking
from training.fitting.reference_sample import log as log_shift
from training.fitting.reference_sample import shift_of
from training.fitting.sets import single_class, single_class_note
from training.metrics.categories import expressed


@dataclass(frozen=True)
class RetrievalRun:
    """The results of `evaluate_retrieval`.

    Attributes
    ----------
    id, name, experiment : of the MLflow run.
    about : model, dataset, digest, split, survey and number of galaxies.
    retrieval : the figures.
    """

    id: str
    name: str
    experiment: str
    about: dict[str, object]
    retrieval: Retrieval

    def as_json(self) -> dict[str, object]:
        """Everything, as plain values."""
        return {"run": self.id, "about": self.about, "retrieval": self.retrieval.document()}

    def print(self) -> None:
        """Print a table and sentences to the terminal."""
        console = terminal()
        console.print(f"{self.about['model']} on {self.about['dataset']}, {self.about['split']} split", markup=False)
        if self.retrieval.figures:
            console.print(retrieval_table(self.retrieval), end="\n\n")
        for line in retrieval_lines(self.retrieval):
            console.print(line, markup=False)
        console.print(f"Run '{self.name}' ({self.id}) of experiment '{self.experiment}'.", markup=False)


def terminal():
    """The console that results are printed to."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    return console


@dataclass(frozen=True)
class EvaluationRun:
    """The results of `evaluate_model`.

    Attributes
    ----------
    id, name, experiment : of the MLflow run.
    evaluation : the figures and predictions.
    photoz, anomalies : the figures of both; None over folds, or without redshifts.
    prior : those of the latent prior; None where they were not asked for.
    shift : the domain shift between training set and galaxies, or why it was not measured.
    """

    id: str
    name: str
    experiment: str
    evaluation: Evaluation
    photoz: Photoz | None
    anomalies: Anomalies | None
    shift: Shift | str
    prior: PriorFigures | None = None

    def as_json(self) -> dict[str, object]:
        """Everything, as plain values."""
        return {
            "run": self.id,
            "about": self.evaluation.about,
            "figures": {name: asdict(figure) for name, figure in self.evaluation.figures.items()},
            "shift": document(self.shift),
            "anomalies": self.anomalies.document() if self.anomalies else None,
        }

    def print(self) -> None:
        """Print tables and sentences to the terminal."""
        console = terminal()
        evaluation, about = self.evaluation, self.evaluation.about
        console.print(f"{about['model']} on {title_of(evaluation)}", markup=False)
        if evaluation.questions():
            console.print(evaluation_table(evaluation), end="\n\n")
            console.print(calibration_table(evaluation))
            # Over folds the models are trained on these very votes.
            votes = about["votes"] if about["split"].endswith("folds") else about["model_votes"]
            console.print(difference(votes, about["votes"]), markup=False)
        else:
            console.print("These galaxies have no votes; only the anomaly score is measured.")
        sentences = [*evaluation_lines(evaluation), *calibration_lines(evaluation)]
        if note := single_class_note(single_class(evaluation.votes), "a model that always gives it is correct there"):
            sentences.insert(0, note)
        for line in sentences:
            console.print(line, markup=False)
        if self.anomalies:
            if self.anomalies.figures:
                console.print()
                console.print(anomaly_table(self.anomalies))
            for line in anomaly_lines(self.anomalies):
                console.print(line, markup=False)
        found = [part.lines() for part in (self.photoz, self.prior) if part]
        for line in (*(line for part in found for line in part), *lines(self.shift)):
            console.print(line, markup=False)
        console.print(f"Run '{self.name}' ({self.id}) of experiment '{self.experiment}'.", markup=False)


def evaluate_model(
    model: str,
    datasets: Sequence[str],
    split: str = "test",
    folds: int | None = None,
    alphas: Sequence[float] = (0.01, 0.05),
    name: str | None = None,
    experiment: str = tracking.DEFAULT_EXPERIMENT,
    prior: bool = False,
) -> EvaluationRun:
    """Evaluate a model on galaxies, and track figures, plots and predictions as a run.

    Parameters
    ----------
    model, datasets : as every verb takes them.
    split, folds : "test", "validation", "train" or "all"; or the folds of a cross-validation over all galaxies.
    alphas : false-alarm rates at which the anomaly score is measured.
    name, experiment : of the MLflow run; by default "MODEL on DATASET" in "morph".
    prior : whether to measure the latent prior too.

    Raises
    ------
    InputError : the model or a dataset cannot be read, a split is empty, or MLflow does not answer.
    """
    check_alphas(alphas)
    sets, galaxies, classifier = opened(model, datasets, "all" if folds else split)
    if prior:
        check_prior(classifier, galaxies)
    overlap = TrainingRecord.from_text(classifier.seen).overlap(galaxies)
    for line in (*_mixed_classes(sets), *overlap.notes(model, classifier.about.get("trained_on", ()))):
        click.echo(line, err=True)
    with tracking.run(experiment, name or f"{model} on {dataset_name(galaxies)}", "evaluate", parent=model) as run:
        run.log_dataset(galaxies, "evaluation")
        if not folds:
            run.tag(registry.identity(model, classifier.about))
        run.log_params({"model": model, "split": f"{folds} folds" if folds else split, "galaxies": len(galaxies)})
        evaluation = _evaluation(classifier, galaxies, model, split, folds, overlap.document())
        # Over folds there is no single model to measure redshifts and anomaly scores of.
        photoz = None if folds else evaluate_photoz(classifier, galaxies)
        if photoz:
            evaluation = replace(evaluation, figures=evaluation.figures | photoz.flat())
            photoz.log_plots(run, title_of(evaluation))
        measured = _prior_figures(run, classifier, sets, galaxies, split) if prior else None
        if measured:
            evaluation = replace(evaluation, figures=evaluation.figures | measured.flat())
        log(run, evaluation, galaxies)
        anomalies = None if folds else measure_anomalies(classifier, galaxies, _held_out(sets, split), alphas)
        if anomalies:
            anomalies.log(run, title_of(evaluation))
        shift = shift_of(classifier, galaxies)
        log_shift(run, shift, galaxies)
    return EvaluationRun(run.id, run.name, run.experiment, evaluation, photoz, anomalies, shift, measured)


def _evaluation(classifier, galaxies: Galaxies, model: str, split: str, folds: int | None, seen: dict) -> Evaluation:
    """The answers against the votes, with the kind of the model's votes and the training galaxies among these."""
    if folds:
        made = record(cross_validate(classifier, galaxies, folds), galaxies, model, f"{folds} folds")
    else:
        made = evaluate(classifier, galaxies, model, split)
    return replace(made, about={**made.about, "model_votes": classifier.about.get("votes", ""), "seen": seen})


def _prior_figures(run, classifier, sets: Sequence[Galaxies], galaxies: Galaxies, split: str) -> PriorFigures:
    """Measure the latent prior; its contact sheet goes to the run."""
    trained_on = [each.split()["train"] for each in sets] if split in ("test", "validation") else []
    run.log_figure(contact_sheet(classifier, galaxies), "plots/prior.png")
    return measure_prior(classifier, [galaxies], trained_on)


def evaluate_retrieval(
    model: str,
    datasets: Sequence[str],
    split: str = "test",
    paired: str | None = None,
    name: str | None = None,
    experiment: str = tracking.DEFAULT_EXPERIMENT,
) -> RetrievalRun:
    """Measure similarity search with a model among galaxies, and track the figures as a run.

    Parameters
    ----------
    model, datasets, split, name, experiment : as for `evaluate_model`.
    paired : a dataset of the same galaxies as another survey sees them.

    Raises
    ------
    InputError : as `evaluate_model`; or `paired` has none of the galaxies.
    """
    _, galaxies, classifier = opened(model, datasets, split)
    others = None if paired is None else Galaxies.open(paired)
    for line in TrainingRecord.from_text(classifier.seen).overlap(galaxies).notes(model, ()):
        click.echo(line, err=True)
    about = {
        "model": model,
        "dataset": dataset_name(galaxies),
        "digest": galaxies.digest,
        "split": split,
        "survey": galaxies.survey,
        "galaxies": len(galaxies),
    }
    name = name or f"retrieval by {model} on {about['dataset']}"
    with tracking.run(experiment, name, "evaluate", parent=model) as run:
        run.log_dataset(galaxies, "evaluation")
        run.tag(registry.identity(model, classifier.about))
        run.log_params({"model": model, "split": split, "galaxies": len(galaxies), "paired": paired or ""})
        retrieval = measure_retrieval(classifier, galaxies, others)
        retrieval.log(run)
    return RetrievalRun(run.id, run.name, run.experiment, about, retrieval)


def opened(model: str, datasets: Sequence[str], split: str) -> tuple[list[Galaxies], Galaxies, Classifier]:
    """The datasets, their galaxies in a part of the split, and the model. InputError where one cannot be read.

    Parameters
    ----------
    model, datasets, split : as for `evaluate_model`.
    """
    check_memory([find_dataset(path) for path in datasets])
    find_model(model)
    tracking.check_tracking()
    sets = [Galaxies.open(path) for path in datasets]
    galaxies = _distinct([part_of(each, split) for each in sets])
    one_kind(sets, "be measured against")
    return sets, galaxies, load_model(model)


def _held_out(sets: Sequence[Galaxies], split: str) -> Galaxies | None:
    """The validation galaxies, to set the anomaly reference on; None where they may be among those evaluated."""
    if split not in ("train", "test"):
        return None
    return Galaxies.concatenate([each.split()["validation"] for each in sets])


def _distinct(sets: Sequence[Galaxies]) -> Galaxies:
    """The galaxies of several datasets; one that is in several counts once."""
    galaxies = Galaxies.concatenate(sets)
    return galaxies.select(np.sort(np.unique(galaxies.ids, return_index=True)[1]))


def _mixed_classes(sets: Sequence[Galaxies]) -> list[str]:
    """A warning where the datasets' labels express different ones of the four classes."""
    if len({expressed(each.votes) for each in sets if was_asked(each.votes).any()}) < 2:
        return []
    return [
        "These datasets' labels do not all express the same of the four classes (elliptical, spiral, edge-on, "
        "merger); evaluate them one by one for figures on those."
    ]
