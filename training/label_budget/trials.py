"""The trainings of a transfer, and their evaluations.

For each budget and repeat the heads alone are trained on the frozen encoder, the whole model is fine-tuned, and a
model is trained from scratch on the same galaxies; without labels the source is evaluated as it is. All are evaluated
on the target's test split, on which nothing is chosen. Each trial is a child run of MLflow that holds its own
evaluation; a finished trial is never trained again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.votes import has_votes
from training.evaluation.evaluate import FOLDER, Evaluation, ask, log, record
from training.experiments import tracking
from training.fitting.adaptation import adapted_to, refit
from training.fitting.fit import fit
from training.fitting.objective import FINETUNING, Recipe
from training.label_budget.plan import Trial

#: Passes through the labelled galaxies, and the bounds on the batches of a training. Few galaxies are seen more often,
#: so that a model from scratch is not judged before it has learned anything.
EPOCHS, FEWEST_STEPS, MOST_STEPS = 30, 300, 1500
BATCH = 32
#: Bootstrap resamples of each trial's own intervals.
RESAMPLES = 200
#: The tag that identifies a finished trial.
_KEY = "morph.transfer_key"

#: Called after every trial with the trial, its cost in batches, its evaluation, and whether it was trained just now.
Report = Callable[[Trial, int, Evaluation, bool], None]
#: Trains a model for a trial by a recipe and returns its predictions for the test galaxies.
Answer = Callable[[Trial, Recipe], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Setting:
    """How every trial of a transfer is trained; `epochs` and `steps` are `EPOCHS` and its bounds when None."""

    epochs: int | None = None
    steps: int | None = None

    def recipe(self, trial: Trial) -> Recipe:
        """The recipe of one trial; fine-tuned or from scratch, a model sees the galaxies equally often."""
        if trial.method == "direct":
            return FINETUNING
        steps = self.steps or round((self.epochs or EPOCHS) * trial.labels / BATCH)
        if self.steps is None and self.epochs is None:
            steps = min(max(steps, FEWEST_STEPS), MOST_STEPS)
        epochs = min(10, max(1, steps))
        each = max(1, round(steps / epochs))
        base = FINETUNING if trial.method == "finetuned" else Recipe()
        return replace(base, epochs=epochs, steps=each, batch_size=min(BATCH, trial.labels), seed=trial.repeat)

    def cost(self, trial: Trial) -> int:
        """Batches that a trial trains on; the heads alone and no training at all count as ten."""
        recipe = self.recipe(trial)
        return 10 if trial.method in ("direct", "frozen") else recipe.epochs * int(recipe.steps or 1)


@dataclass(frozen=True)
class Target:
    """The galaxies of a transfer: the labelled ones to draw budgets from, and those to evaluate on."""

    train: Galaxies
    test: Galaxies

    @classmethod
    def of(cls, galaxies: Galaxies) -> "Target":
        """The labelled galaxies of a dataset's training and test split. InputError when there are none of either."""
        parts = galaxies.split()
        train, test = (_labelled(parts[name]) for name in ("train", "test"))
        name = galaxies.about.get("path")
        if not len(train) + len(test):
            raise InputError(f"'{name}' has no labelled galaxies; a transfer is measured on labels.")
        for part, what in ((train, "training"), (test, "test")):
            if len(part) < 2:
                raise InputError(
                    f"'{name}' has {len(part)} labelled galaxies in its {what} split, too few to measure a transfer "
                    f"on; for so small a set use `morph evaluate --folds 5`."
                )
        return cls(train, test)

    def drawn(self, labels: int, repeat: int) -> Galaxies:
        """The galaxies of a budget. Smaller budgets of the same repeat are part of larger ones."""
        order = np.random.default_rng(repeat).permutation(len(self.train))
        return self.train.select(np.sort(order[:labels]))


def _labelled(galaxies: Galaxies) -> Galaxies:
    return galaxies.select(has_votes(galaxies.votes))


def fitting_budgets(budgets: Sequence[int], target: Target) -> tuple[list[int], list[str]]:
    """Budgets that the data can fill, and one sentence for each that they cannot."""
    available = len(target.train)
    notes = [
        f"{budget:,} labels become {available:,}, all there are to train on."
        for budget in budgets
        if budget > available
    ]
    return sorted({min(budget, available) for budget in budgets}), notes


def weights_digest(classifier: Classifier) -> str:
    """What identifies a model: a hash of its weights."""
    sha = hashlib.sha256()
    for weight in classifier.get_weights():
        sha.update(np.ascontiguousarray(weight).tobytes())
    return sha.hexdigest()[:16]


def fingerprint(trial: Trial, source: str, target: Target, recipe: Recipe) -> str:
    """The key of a trial: a hash of its source, its galaxies, the galaxies it is evaluated on, and its recipe.

    Parameters
    ----------
    trial, recipe : the training.
    source : the `weights_digest` of the source.
    target : the galaxies.

    Returns
    -------
    24 hexadecimal digits.
    """
    # A model trained from scratch is the same for every source.
    origin = "" if trial.method == "scratch" else source
    how = {"direct": {}, "frozen": {"seed": trial.repeat}}.get(trial.method, recipe.parameters())
    text = json.dumps([asdict(trial), origin, target.train.digest, target.test.digest, how], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def train_trial(trial: Trial, source: Classifier, target: Target, recipe: Recipe) -> Classifier:
    """Train the classifier of a trial.

    Parameters
    ----------
    trial, recipe : method, labels and seed, and how to train.
    source, target : the model to start from, and the galaxies.

    Returns
    -------
    The trained classifier; the source itself for "direct".
    """
    survey = target.train.survey
    if trial.method == "direct":
        return source
    galaxies = target.drawn(trial.labels, trial.repeat)
    if trial.method == "scratch":
        import keras

        keras.utils.set_random_seed(trial.repeat)
        classifier = Classifier.from_config({**source.get_config(), "survey": survey, "about": {}, "seen": ""})
    else:
        classifier = adapted_to(source, survey)
    if trial.method == "frozen":
        refit(classifier, [galaxies], seed=trial.repeat)
    else:
        fit(classifier, [(galaxies, 1.0)], None, recipe)
    return classifier


def train_and_predict(trial: Trial, recipe: Recipe, source: Classifier, target: Target) -> dict[str, np.ndarray]:
    """Train the classifier of a trial and predict the test galaxies.

    Parameters
    ----------
    trial, source, target, recipe : as for `train_trial`.
    """
    return ask(train_trial(trial, source, target, recipe), target.test.images)


def run_trials(
    plan: Sequence[Trial],
    source: Classifier,
    model: str,
    target: Target,
    setting: Setting,
    experiment: str,
    report: Report | None = None,
    answer: Answer | None = None,
) -> dict[Trial, Evaluation]:
    """Train and evaluate every trial that is not finished yet, each in a run below the active one.

    Parameters
    ----------
    plan : as `trials_of` returns it.
    source, model : the classifier to transfer, and its name.
    target : the galaxies.
    setting : how to train.
    experiment : the MLflow experiment of the runs.
    report : called after every trial.
    answer : trains the model of a trial and predicts the test galaxies; by default in this process.

    Returns
    -------
    {trial: evaluation}, in the order of the plan.
    """
    answer = answer or partial(train_and_predict, source=source, target=target)
    digest = weights_digest(source)
    known = finished(experiment)
    evaluations: dict[Trial, Evaluation] = {}
    for trial in plan:
        recipe = setting.recipe(trial)
        key = fingerprint(trial, digest, target, recipe)
        evaluation = _kept(known[key]) if key in known else None
        trained = evaluation is None
        if evaluation is None:
            with tracking.run(experiment, trial.name, "transfer", parent=model) as run:
                run.log_params({**asdict(trial), "model": model, "split": "test", **_how(trial, recipe)})
                run.log_dataset(target.test, "evaluation")
                answers = answer(trial, recipe)
                evaluation = record(answers, target.test, f"{model}, {trial.title}", "test", RESAMPLES)
                log(run, evaluation, plots=False)
                # Last, so that only a trial whose evaluation is stored counts as finished.
                run.tag({"transfer_key": key})
        evaluations[trial] = evaluation
        if report:
            report(trial, setting.cost(trial), evaluation, trained)
    return evaluations


def _how(trial: Trial, recipe: Recipe) -> dict:
    """A trial's parameters beside its own fields."""
    trained = {name: value for name, value in recipe.parameters().items() if name != "seed"}
    return trained if trial.method in ("scratch", "finetuned") else {}


def finished(experiment: str) -> dict[str, str]:
    """{fingerprint: run id} of the finished trials."""
    import mlflow

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    runs: dict[str, str] = {}
    token = None
    while True:
        page = client.search_runs(
            [found.experiment_id],
            "attributes.status = 'FINISHED' and tags.`morph.kind` = 'transfer'",
            page_token=token,
        )
        tagged = [run for run in page if _KEY in run.data.tags]
        runs |= {run.data.tags[_KEY]: run.info.run_id for run in tagged}
        token = page.token
        if not token:
            return runs


def _kept(run_id: str) -> Evaluation | None:
    """The evaluation of a finished trial; None when its artifacts were removed or damaged, so that it is repeated."""
    import tempfile
    from pathlib import Path

    import mlflow
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Evaluation.load(Path(mlflow.MlflowClient().download_artifacts(run_id, FOLDER, folder)))
        except (InputError, MlflowException, OSError):
            return None
