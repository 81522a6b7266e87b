"""A transfer from its arguments to its run: the children trained, their figures joined, tracked and saved."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np

from morph.dataset import Galaxies, dataset_name
from morph.model.store import find_model, load_model
from morph.parallel import run_in_process
from morph.votes import difference, one_kind
from training.evaluation.evaluate import Evaluation
from training.experiments import tracking
from training.experiments.seen import Seen
from training.fitting.fit import Recipe
from training.label_budget.plan import Trial, children
from training.label_budget.report import save
from training.label_budget.summary import Summary, summarise
from training.label_budget.trials import Setting, Target, answer_of, fingerprint, run_trials, weights_digest, within


def carry_over(
    model: str,
    dataset: str,
    budgets: Sequence[int],
    methods: Sequence[str],
    repeats: int,
    epochs: int | None,
    steps: int | None,
    experiment: str,
    to: Path,
) -> Summary:
    """Train, measure, track and save a transfer; see `morph transfer --help` for the arguments.

    The parent run is found again by what is carried over to what, so that an interrupted transfer goes on in it.
    """
    galaxies = Galaxies.open(dataset)
    target = Target.of(galaxies)
    budgets, said = within(budgets, target)
    source = load_model(model)
    name = dataset_name(galaxies)
    title = f"{model if ':/' in model else Path(model).stem} to {name}"
    said += Seen.from_text(source.seen).among(target.test).lines(model, source.about.get("trained_on", ()))
    votes, answers = one_kind([target.train, target.test], "be carried over to"), source.about.get("votes", "")
    if votes and answers and votes != answers:
        said.append(difference(answers, votes, f"the votes of '{name}'"))
    for sentence in said:
        click.echo(sentence, err=True)
    setting = Setting(epochs, steps)
    plan = children(budgets, methods, repeats)
    tracking.setup()
    # A parent has no recipe of its own; the direct child's key says which source met which galaxies.
    key = fingerprint(Trial("direct", 0, 0), weights_digest(source), target, setting.recipe(Trial("direct", 0, 0)))
    params = {"model": model, "target": name}
    with tracking.run(experiment, title, "transfer", resume=_parent(experiment, key, params), parent=model) as run:
        run.tag({"transfer": key})
        run.log_params(params)
        run.log_dataset(target.train, "training")
        with _Display(plan, setting) as report:
            answer = partial(run_in_process, _answer, str(find_model(model)), dataset)
            evaluations = run_trials(plan, source, model, target, setting, experiment, report, answer)
        summary = summarise(evaluations)
        for (method, labels), figures in summary.points.items():
            metrics = {f"{method}/{figure}": point.value for figure, point in figures.items()}
            run.log_metrics({name: value for name, value in metrics.items() if value == value}, step=labels)
        save(summary, to, f"{title}{', simulated' if summary.simulated else ''}")
        run.log_folder(to, "transfer")
    return summary


def _answer(model: str, dataset: str, child: Trial, recipe: Recipe) -> dict[str, np.ndarray]:
    """`training.label_budget.trials.answer_of` in a process that has read nothing yet."""
    return answer_of(child, recipe, load_model(model), Target.of(Galaxies.open(dataset)))


def _parent(experiment: str, key: str, params: dict[str, str]) -> str | None:
    """The run of an earlier transfer of the same model to the same galaxies, under the same names."""
    import mlflow

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], f"tags.`morph.transfer` = '{key}'")
    return next((run.info.run_id for run in runs if run.data.params == params), None)


class _Display:
    """A context that shows children as they end, with the time left: a bar on a terminal, else a line each."""

    def __init__(self, plan: Sequence[Trial], setting: Setting):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.costs = {child: setting.cost(child) for child in plan}
        self.done, self.trained, self.spent = 0, 0, 0
        console = Console(stderr=True)
        self.terminal = console.is_terminal
        columns = (TextColumn("trainings"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.progress = Progress(*columns, console=console, disable=not self.terminal)

    def __enter__(self):
        self.start = time.monotonic()
        self.progress.start()
        self.task = self.progress.add_task("trainings", total=sum(self.costs.values()), text="")
        return self.show

    def __exit__(self, *_) -> None:
        self.progress.stop()

    def show(self, child: Trial, cost: int, evaluation: Evaluation, trained: bool) -> None:
        self.done += 1
        self.spent += cost
        self.trained += cost if trained else 0
        left = sum(self.costs.values()) - self.spent
        text = f"{self.done} of {len(self.costs)}: {child.title}{'' if trained else ' (kept from before)'}"
        if self.trained and left:
            text += f"; {_duration(left * (time.monotonic() - self.start) / self.trained)} left"
        self.progress.update(self.task, completed=self.spent, text=text)
        if not self.terminal:
            click.echo(text, err=True)


def _duration(seconds: float) -> str:
    """A time for people: ``about 12 minutes``."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} seconds"
    return f"about {round(seconds / 60)} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"
