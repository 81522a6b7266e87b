"""Models side by side, and the statistical significance of their differences.

Two accuracies with overlapping intervals can still differ significantly where both models classified the same
galaxies: a galaxy that is hard for one is mostly hard for the other. So every difference is measured on the galaxies
that the runs share, with a paired bootstrap (see `training.metrics.estimates`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from morph.console import listed
from morph.dataset import SPLITS
from morph.errors import InputError
from morph.votes import vote_counts
from training.evaluation.evaluate import Evaluation
from training.experiments.registry import Trained
from training.metrics import votes as metrics
from training.metrics.estimates import Estimate

#: The figures whose differences are reported, best known first; for the last two, less is better.
REPORTED = ("accuracy", "balanced-accuracy", "log-likelihood", "calibration-error", "rms")
LESS_IS_BETTER = ("calibration-error", "rms")
#: The figures that are reported in percent: shares of galaxies, and the error of vote fractions.
SHARES = ("accuracy", "balanced-accuracy", "rms")
#: With fewer galaxies than this, no difference counts as significant: their bootstrap is no guide to other galaxies.
FEWEST = 10


@dataclass(frozen=True)
class Compared:
    """One evaluation in a comparison.

    Attributes
    ----------
    id : of the MLflow run that holds it.
    name : the run or the registered version, as the user named it.
    params, tags : of that run.
    evaluation : the model's answers on a set of galaxies.
    version : the registered version that was evaluated, where there is one.
    trained : the settings of the model's training.
    group : the name shared by evaluations of one model that were selected together; empty for a single run.
    """

    id: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    evaluation: Evaluation
    version: int | None = None
    trained: Trained = field(default_factory=Trained)
    group: str = ""

    @property
    def run_name(self) -> str:
        """The name of the run itself."""
        return self.tags.get("mlflow.runName", self.name)


@dataclass(frozen=True)
class Comparison:
    """Several runs, measured on the galaxies that all of them share.

    Attributes
    ----------
    runs : in the order they were asked for.
    shared : the ids of the galaxies that every run was evaluated on.
    figures : one dict of figures a run, on the shared galaxies.
    differences : {(i, j): figures of run j minus run i}, for every i < j.
    """

    runs: tuple[Compared, ...]
    shared: np.ndarray
    figures: tuple[dict[str, Estimate], ...]
    differences: dict[tuple[int, int], dict[str, Estimate]]

    @property
    def title(self) -> str:
        """The galaxies in a few words: dataset, split, survey, and whether they are simulated."""
        about = self.runs[0].evaluation.about
        datasets = dict.fromkeys(run.evaluation.about["dataset"] for run in self.runs)
        splits = dict.fromkeys(_split(run.evaluation.about["split"]) for run in self.runs)
        simulated = "simulated " if self.simulated else ""
        return f"{' and '.join(datasets)} ({simulated}{about['survey']}, {' against '.join(splits)})"

    @cached_property
    def questions(self) -> list[str]:
        names = self.runs[0].evaluation.questions()
        return [name for name in names if f"{name}/accuracy" in self.figures[0]]

    @property
    def simulated(self) -> bool:
        return any(run.evaluation.about["simulated"] for run in self.runs)

    @cached_property
    def headline(self) -> str:
        """The main figure: the accuracy in the four classes, or on the first question."""
        question = metrics.FOUR_CLASS if metrics.FOUR_CLASS in self.questions else (self.questions or ["all"])[0]
        return f"{question}/accuracy" if self.questions else "all/rms"

    def leader(self, name: str) -> int:
        """The run with the best value of a figure."""
        values = [figures[name].value for figures in self.figures]
        return int(np.argmin(values) if is_less_better(name) else np.argmax(values))

    @property
    def best(self) -> int:
        """The run that leads on the headline figure."""
        return self.leader(self.headline)

    def clear_leader(self, name: str) -> int | None:
        """The run that is significantly better in a figure than every other; None where none is."""
        leader = self.leader(name)
        others = [i for i in range(len(self.runs)) if i != leader]
        return leader if others and all(is_significant(self.difference(i, leader, name)) for i in others) else None

    def significant(self) -> list[tuple[int, int, str, Estimate]]:
        """Differences whose interval excludes zero: (i, j, name of the figure, j minus i)."""
        return [
            (i, j, name, figure)
            for (i, j), figures in self.differences.items()
            for name, figure in figures.items()
            if is_reported(name) and is_significant(figure)
        ]

    def conclusion(self) -> str:
        """One sentence: which run leads on the headline figure, and whether significantly."""
        leader, rest = self.best, [i for i in range(len(self.runs)) if i != self.best]
        what = _question_in_words(self.headline.split("/")[0])
        name, n = self.runs[leader].name, f"{len(self.shared):,} {'simulated ' if self.simulated else ''}galaxies"
        if not rest:
            return f"{name}: {_percent(self.figures[leader][self.headline])} on {what}, {n}."
        ahead: list[str] = []
        level: list[str] = []
        for i in rest:
            difference = self.difference(i, leader, self.headline)
            text = f"{self.runs[i].name} ({points(difference, self.headline)})"
            (ahead if is_significant(difference) else level).append(text)
        parts = []
        if ahead:
            parts.append(f"better than {listed(ahead)}")
        if level:
            parts.append(f"not significantly better than {listed(level)}")
        return f"On {what}, {name} is {' and '.join(parts)}; {n}, 95 % intervals of paired differences."

    def difference(self, i: int, j: int, name: str) -> Estimate:
        """The difference of two runs, with the interval of the paired bootstrap.

        Parameters
        ----------
        i, j : the runs; run j minus run i.
        name : of the figure.
        """
        if (i, j) in self.differences:
            return self.differences[i, j][name]
        figure = self.differences[j, i][name]
        return Estimate(0 - figure.value, 0 - figure.high, 0 - figure.low, figure.n)

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "dataset": self.title,
            "galaxies": len(self.shared),
            "simulated": self.simulated,
            "conclusion": self.conclusion(),
            "runs": [
                {
                    "id": run.id,
                    "name": run.name,
                    "version": run.version,
                    "about": run.evaluation.about,
                    "params": run.params,
                    "trained": asdict(run.trained),
                    "figures": {name: asdict(figure) for name, figure in figures.items()},
                }
                for run, figures in zip(self.runs, self.figures, strict=True)
            ],
            "differences": [
                {
                    "from": self.runs[i].name,
                    "to": self.runs[j].name,
                    "figures": {
                        name: {**asdict(figure), "significant": is_significant(figure)}
                        for name, figure in figures.items()
                    },
                }
                for (i, j), figures in self.differences.items()
            ],
        }


def is_reported(name: str) -> bool:
    """Whether a figure is one of the few to compare runs by, not one answer's."""
    parts = name.split("/")
    return len(parts) == 2 and parts[1] in REPORTED


def figure_in_words(name: str) -> str:
    """The name of a figure in words.

    >>> figure_in_words("bar/balanced-accuracy")
    'balanced accuracy on bar'
    """
    question, figure = name.split("/")
    return f"{figure.replace('-', ' ')} on {_question_in_words(question)}"


def _question_in_words(question: str) -> str:
    return {"all": "all questions", metrics.FOUR_CLASS: "the four classes"}.get(question, question)


def is_less_better(name: str) -> bool:
    return name.split("/")[1] in LESS_IS_BETTER


def is_significant(difference: Estimate) -> bool:
    """Whether zero lies outside the interval of a difference, on `FEWEST` galaxies or more."""
    return bool(difference.significant and difference.n >= FEWEST)


def compare(runs: Sequence[Compared], resamples: int = metrics.RESAMPLES, seed: int = 0) -> Comparison:
    """Measure runs on the galaxies that they share.

    Parameters
    ----------
    runs : with their evaluations.
    resamples, seed : of the bootstrap.

    Raises
    ------
    InputError : they share none, or the same galaxy has other votes in another run.
    """
    ids = _shared(runs)
    if not len(ids):
        raise InputError(_no_shared_galaxies(runs))
    if "all/rms" not in runs[0].evaluation.figures:
        raise InputError(
            f"The galaxies of {place(runs[0].evaluation.about)} have no votes to compare with; evaluate on a "
            f"dataset with labels."
        )
    rows = [_rows(run.evaluation.ids, ids) for run in runs]
    votes = runs[0].evaluation.votes[rows[0]]
    for run, where in zip(runs[1:], rows[1:], strict=True):
        if not np.array_equal(vote_counts(run.evaluation.votes[where]), vote_counts(votes)):
            raise InputError(
                f"Runs '{runs[0].name}' and '{run.name}' have different votes for the same galaxies; "
                f"evaluate both on one version of the dataset."
            )
    models = [
        (run.evaluation.answers["probabilities"][where], run.evaluation.answers["concentration"][where])
        for run, where in zip(runs, rows, strict=True)
    ]
    figures = tuple(metrics.measure(votes, *model, resamples=resamples, seed=seed) for model in models)
    pairs = {
        (i, j): metrics.differences(votes, models[i], models[j], resamples, seed)
        for i, j in combinations(range(len(runs)), 2)
    }
    return Comparison(tuple(runs), ids, figures, pairs)


def _rows(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]


def compare_all(runs: Sequence[Compared], resamples: int = metrics.RESAMPLES, seed: int = 0) -> list[Comparison]:
    """One comparison for each set of galaxies that several of the models were evaluated on.

    Models with one evaluation each meet on the galaxies that all of them share. Otherwise evaluations of the very
    same galaxies belong together, in the order in which they come; what only one model was evaluated on is left out.

    Parameters
    ----------
    runs : with their evaluations, as `training.experiments.run_selection.find` returns them.
    resamples, seed : of the bootstrap.

    Returns
    -------
    One comparison for each set of galaxies.

    Raises
    ------
    InputError : no two models share galaxies; or see `compare`.
    """
    models = {run.group or run.id for run in runs}
    if len(models) == len(runs) and (len(runs) < 2 or len(_shared(runs))):
        return [compare(runs, resamples, seed)]
    groups: dict[tuple[str, ...], dict[str, Compared]] = {}
    for run in runs:
        groups.setdefault(tuple(sorted(run.evaluation.ids)), {}).setdefault(run.group or run.id, run)
    meeting = [list(group.values()) for group in groups.values() if len(group) > 1 or len(models) == 1]
    if not meeting:
        raise InputError(_no_shared_galaxies(runs))
    return [compare(group, resamples, seed) for group in meeting]


def _shared(runs: Sequence[Compared]) -> np.ndarray:
    ids = runs[0].evaluation.ids
    for run in runs[1:]:
        ids = ids[np.isin(ids, run.evaluation.ids)]
    return ids


def _no_shared_galaxies(runs: Sequence[Compared]) -> str:
    sets = dict.fromkeys(f"{run.name} on {place(run.evaluation.about)}" for run in runs)
    return f"These share no galaxies (evaluated: {', '.join(sets)}); evaluate them on one dataset and split."


def place(about: dict[str, Any]) -> str:
    """A dataset and its split in a few words."""
    return f"{about['dataset']}, {_split(about['split'])}"


def _split(split: str) -> str:
    if split == "all":
        return "all of it"
    return f"{split} split" if split in SPLITS else split


def _percent(figure: Estimate) -> str:
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def points(difference: Estimate, name: str) -> str:
    """A difference with its interval, in points of a percentage where the figure is a share."""
    if name.split("/")[1] not in SHARES:
        return f"{difference.value:+.3f}, {difference.low:+.3f} to {difference.high:+.3f}"
    value, low, high = (100 * number for number in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} points, {low:+.1f} to {high:+.1f}"
