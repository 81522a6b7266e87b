"""Runs side by side, and which of their differences are more than noise.

Two accuracies with overlapping intervals can still differ for certain, when both models were asked about the same
galaxies: what is hard for one is mostly hard for the other. So every difference is measured on the galaxies that
the runs share, with a paired bootstrap (see `training.sums`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from morph.errors import BadInput
from training import metrics
from training.evaluate import FOLDER, Evaluation
from training.metrics import Figure

#: How many runs are compared when none is named.
NEWEST = 3
#: The figures whose differences are told, best known first; for the last two, less is better.
TOLD = ("accuracy", "balanced-accuracy", "log-likelihood", "calibration-error", "rms")
LESS_IS_BETTER = ("calibration-error", "rms")


@dataclass(frozen=True)
class Compared:
    """One run in a comparison."""

    id: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    evaluation: Evaluation


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
    figures: tuple[dict[str, Figure], ...]
    differences: dict[tuple[int, int], dict[str, Figure]]

    @cached_property
    def questions(self) -> list[str]:
        names = self.runs[0].evaluation.questions()
        return [name for name in names if f"{name}/accuracy" in self.figures[0]]

    @property
    def simulated(self) -> bool:
        return any(run.evaluation.about["simulated"] for run in self.runs)

    @cached_property
    def headline(self) -> str:
        """The one figure that stands for the whole: that of the four classes, or of the first question."""
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

    def beyond_noise(self) -> list[tuple[int, int, str, Figure]]:
        """Differences whose interval leaves out zero: (i, j, name of the figure, j minus i)."""
        return [
            (i, j, name, figure)
            for (i, j), figures in self.differences.items()
            for name, figure in figures.items()
            if is_told(name) and figure.exceeds_noise
        ]

    def differing_params(self) -> dict[str, list[str]]:
        """Parameters that are not the same in all runs: {name: one value a run, "" where it has none}."""
        names = sorted({name for run in self.runs for name in run.params})
        rows = {name: [run.params.get(name, "") for run in self.runs] for name in names}
        return {name: row for name, row in rows.items() if len(set(row)) > 1}

    def conclusion(self) -> str:
        """One sentence: which run leads on the headline figure, and whether by more than noise."""
        leader, rest = self.best, [i for i in range(len(self.runs)) if i != self.best]
        question, _ = self.headline.split("/")
        what = {"all": "all questions", metrics.FOUR_CLASS: "the four classes"}.get(question, question)
        name, n = self.runs[leader].name, f"{len(self.shared):,} {'simulated ' if self.simulated else ''}galaxies"
        if not rest:
            return f"{name}: {_percent(self.figures[leader][self.headline])} on {what}, {n}."
        ahead: list[str] = []
        level: list[str] = []
        for i in rest:
            difference = self.difference(i, leader, self.headline)
            text = f"{self.runs[i].name} ({_points(difference, self.headline)})"
            (ahead if difference.exceeds_noise else level).append(text)
        parts = []
        if ahead:
            parts.append(f"better than {_list(ahead)}")
        if level:
            parts.append(f"not beyond the noise ahead of {_list(level)}")
        return f"On {what}, {name} is {' and '.join(parts)}; {n}, 95 % intervals of paired differences."

    def difference(self, i: int, j: int, name: str) -> Figure:
        """Run j minus run i, with the interval of the paired bootstrap."""
        if (i, j) in self.differences:
            return self.differences[i, j][name]
        figure = self.differences[j, i][name]
        return Figure(0 - figure.value, 0 - figure.high, 0 - figure.low, figure.n)

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "galaxies": len(self.shared),
            "simulated": self.simulated,
            "conclusion": self.conclusion(),
            "runs": [
                {
                    "id": run.id,
                    "name": run.name,
                    "about": run.evaluation.about,
                    "params": run.params,
                    "figures": {name: asdict(figure) for name, figure in figures.items()},
                }
                for run, figures in zip(self.runs, self.figures, strict=True)
            ],
            "differences": [
                {
                    "from": self.runs[i].name,
                    "to": self.runs[j].name,
                    "figures": {
                        name: {**asdict(figure), "exceeds_noise": bool(figure.exceeds_noise)}
                        for name, figure in figures.items()
                    },
                }
                for (i, j), figures in self.differences.items()
            ],
        }


def is_told(name: str) -> bool:
    """Whether a figure is one of the few to compare runs by, not one answer's."""
    parts = name.split("/")
    return len(parts) == 2 and parts[1] in TOLD


def is_less_better(name: str) -> bool:
    return name.split("/")[1] in LESS_IS_BETTER


def compare(runs: Sequence[Compared], resamples: int = metrics.RESAMPLES, seed: int = 0) -> Comparison:
    """Measure runs on the galaxies that they share.

    BadInput when they share none, or when the same galaxy has other votes in another run.
    """
    ids = runs[0].evaluation.ids
    for run in runs[1:]:
        ids = ids[np.isin(ids, run.evaluation.ids)]
    if not len(ids):
        sets = " and ".join(dict.fromkeys(f"'{run.evaluation.about['dataset']}'" for run in runs))
        raise BadInput(
            f"These runs share no galaxies (they were evaluated on {sets}); evaluate them on one dataset and split."
        )
    rows = [_rows(run.evaluation.ids, ids) for run in runs]
    votes = runs[0].evaluation.votes[rows[0]]
    for run, where in zip(runs[1:], rows[1:], strict=True):
        if not np.array_equal(np.nan_to_num(run.evaluation.votes[where]), np.nan_to_num(votes)):
            raise BadInput(
                f"Runs '{runs[0].name}' and '{run.name}' saw other votes for the same galaxies; "
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


def find(names: Sequence[str], experiment: str | None = None) -> list[Compared]:
    """Runs by name or id; when none is named, the newest evaluated one and the newest that share galaxies with it.

    BadInput when a run is unknown or was never evaluated, or when there are none.
    """
    from training import tracking

    tracking.setup()
    if names:
        return [_load(tracking.find_run(name, experiment), name) for name in names]
    newest: list[Compared] = []
    for run in tracking.list_runs(experiment):
        if not _is_evaluated(run.info.run_id):
            continue
        candidate = _load(run.info.run_id, run.info.run_name)
        if not newest or np.isin(candidate.evaluation.ids, newest[0].evaluation.ids).any():
            newest.append(candidate)
        if len(newest) == NEWEST:
            break
    if not newest:
        where = f"in experiment '{experiment}'" if experiment else "here"
        raise BadInput(f"There are no evaluated runs {where}; make one with `morph evaluate MODEL DATASET`.")
    return newest[::-1]


def _is_evaluated(run_id: str) -> bool:
    import mlflow

    return bool(mlflow.MlflowClient().list_artifacts(run_id, FOLDER))


def _load(run_id: str, name: str) -> Compared:
    import tempfile

    import mlflow

    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    if not _is_evaluated(run_id):
        raise BadInput(f"Run '{name}' holds no evaluation; evaluate its model with `morph evaluate MODEL DATASET`.")
    with tempfile.TemporaryDirectory() as folder:
        evaluation = Evaluation.load(Path(client.download_artifacts(run_id, FOLDER, folder)))
    return Compared(run_id, str(run.info.run_name), dict(run.data.params), dict(run.data.tags), evaluation)


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _points(difference: Figure, name: str) -> str:
    if is_less_better(name):
        return f"{difference.value:+.3f}, {difference.low:+.3f} to {difference.high:+.3f}"
    value, low, high = (100 * number for number in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} points, {low:+.1f} to {high:+.1f}"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
