"""`transfer`: train the trials, join their figures, track and save them.

>>> summary = transfer("models:/morph@sdss", "sample", [0, 4], ["frozen"], repeats=1, steps=1)
>>> summary.labels("frozen"), Path("transfer").is_dir()
([4], True)
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from morph.console import Display
from morph.dataset import Galaxies, dataset_name
from morph.model.store import load_model
from morph.parallel import run_in_process
from morph.registry import find_model
from morph.training_record import TrainingRecord
from morph.votes import difference, one_kind
from training.evaluation.evaluate import Evaluation
from training.experiments import tracking
from training.fitting.objective import Recipe
from training.label_budget.plan import Trial, trials_of
from training.label_budget.report import save
from training.label_budget.summary import Summary, summarise
from training.label_budget.trials import (
    Setting,
    Target,
    fingerprint,
    fitting_budgets,
    run_trials,
    train_and_predict,
    weights_digest,
)


def transfer(
    model: str,
    dataset: str,
    budgets: Sequence[int],
    methods: Sequence[str],
    repeats: int = 3,
    epochs: int | None = None,
    steps: int | None = None,
    experiment: str = "transfer",
    to: Path = Path("transfer"),
) -> Summary:
    """Measure the accuracy of a model on another survey against the number of labels; track and save the result.

    The parent run is found again by its model and its galaxies, so that an interrupted transfer goes on in it.

    Parameters
    ----------
    model, dataset : the source, and the labelled galaxies of the target.
    budgets : numbers of labels, see `training.label_budget.plan.budgets_of`.
    methods : see `training.label_budget.plan.methods_of`.
    repeats : random samples of galaxies, each with its own seed.
    epochs, steps : length of each training; see `Setting`.
    experiment : the MLflow experiment.
    to : the folder to write.

    Raises
    ------
    InputError : the target has too few labels, or no question with two answers.
    """
    galaxies, source = Galaxies.open(dataset), load_model(model)
    target, name = Target.of(galaxies), dataset_name(galaxies)
    budgets, notes = fitting_budgets(budgets, target)
    title = f"{model if ':/' in model else Path(model).stem} to {name}"
    for sentence in (*notes, *_beforehand(source, model, target, name)):
        click.echo(sentence, err=True)
    setting = Setting(epochs, steps)
    plan = trials_of(budgets, methods, repeats)
    tracking.setup()
    # The parent run has no recipe of its own; the key of "direct" identifies source and galaxies.
    key = fingerprint(Trial("direct", 0, 0), weights_digest(source), target, setting.recipe(Trial("direct", 0, 0)))
    params = {"model": model, "target": name}
    with tracking.run(experiment, title, "transfer", resume=_parent(experiment, key, params), parent=model) as run:
        run.tag({"transfer": key})
        run.log_params(params)
        run.log_dataset(target.train, "training")
        costs = {trial: setting.cost(trial) for trial in plan}
        with Display("trainings", sum(costs.values()), timed=False) as display:
            answer = partial(run_in_process, _answer, str(find_model(model)), dataset)
            report = _Report(display, costs)
            evaluations = run_trials(plan, source, model, target, setting, experiment, report, answer)
        summary = summarise(evaluations)
        _log_metrics(run, summary)
        save(summary, to, f"{title}{', simulated' if summary.simulated else ''}")
        run.log_folder(to, "transfer")
    return summary


def _log_metrics(run: tracking.Run, summary: Summary) -> None:
    """Log every figure as a metric, with the number of labels as the step."""
    for (method, labels), figures in summary.points.items():
        metrics = {f"{method}/{figure}": point.value for figure, point in figures.items()}
        run.log_metrics({name: value for name, value in metrics.items() if np.isfinite(value)}, step=labels)


def _beforehand(source, model: str, target: Target, name: str) -> list[str]:
    """Notes on test galaxies that the source was trained on, and on another kind of votes."""
    notes = TrainingRecord.from_text(source.seen).overlap(target.test).notes(model, source.about.get("trained_on", ()))
    votes, answers = one_kind([target.train, target.test], "be transferred to"), source.about.get("votes", "")
    if votes and answers and votes != answers:
        notes.append(difference(answers, votes, f"the votes of '{name}'"))
    return notes


def _answer(model: str, dataset: str, trial: Trial, recipe: Recipe) -> dict[str, np.ndarray]:
    """`train_and_predict` in a process that has loaded nothing yet."""
    return train_and_predict(trial, recipe, load_model(model), Target.of(Galaxies.open(dataset)))


def _parent(experiment: str, key: str, params: dict[str, str]) -> str | None:
    """The run of an earlier transfer of the same model to the same galaxies, under the same names."""
    import mlflow

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], f"tags.`morph.transfer` = '{key}'")
    return next((run.info.run_id for run in runs if run.data.params == params), None)


class _Report:
    """Shows each finished trial, with the time left."""

    def __init__(self, display: Display, costs: dict[Trial, int]):
        self.display, self.costs, self.start = display, costs, time.monotonic()
        self.done, self.trained, self.spent = 0, 0, 0

    def __call__(self, trial: Trial, cost: int, evaluation: Evaluation, trained: bool) -> None:
        self.done += 1
        self.spent += cost
        self.trained += cost if trained else 0
        left = sum(self.costs.values()) - self.spent
        text = f"{self.done} of {len(self.costs)}: {trial.title}{'' if trained else ' (finished earlier)'}"
        if self.trained and left:
            text += f"; {_duration(left * (time.monotonic() - self.start) / self.trained)} left"
        self.display.update(self.spent, text, text)


def _duration(seconds: float) -> str:
    """A duration in words: ``about 12 minutes``."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} seconds"
    return f"about {round(seconds / 60)} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"
