"""The trials of a transfer: methods, numbers of labels, repeats, and the three questions that it reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph import checks
from morph.decision_tree import COARSE, VOTE_COLUMNS, question_of
from morph.errors import InputError

#: Ways of training, with their titles. "direct" needs no label, the others at least one.
METHODS = {"direct": "as it is", "frozen": "frozen encoder", "scratch": "from scratch", "finetuned": "fine-tuned"}
#: What a transfer's folder holds; a folder that holds anything else is not written over.
FILES = ("label-budget.png", "figures.csv", "figures.parquet", "transfer.json")
#: The three questions of Dominguez Sanchez et al. (2019), by their names in the shared tree. They transferred models
#: from SDSS to DES and measured them on these, on galaxies whose volunteers agree. Strong and weak bars are one
#: answer.
THREE_QUESTIONS = {"smooth-or-featured": "smooth or disk", "disk-edge-on": "edge-on", "bar": "bar"}
_BAR = "bar_strong-or-weak"
_ARTIFACT = VOTE_COLUMNS.index("smooth-or-featured_artifact")


@dataclass(frozen=True)
class Trial:
    """One training: a method, how many labels, and which repeat (it gives the seed and the galaxies)."""

    method: str
    labels: int
    repeat: int

    @property
    def name(self) -> str:
        if self.method == "direct":
            return "transfer direct"
        return f"transfer {self.method} {self.labels} #{self.repeat}"

    @property
    def title(self) -> str:
        if self.method == "direct":
            return "as it is, no labels"
        return f"{METHODS[self.method]}, {self.labels:,} labels, repeat {self.repeat + 1}"


def budgets_of(text: str) -> list[int]:
    """``0,50,100`` as numbers, in order and each once. InputError on anything else.

    >>> budgets_of("300,50,50")
    [50, 300]
    """
    try:
        budgets = sorted({int(word.replace("_", "")) for word in text.split(",") if word.strip()})
    except ValueError:
        budgets = []
    if not budgets or budgets[0] < 0:
        raise InputError(f"--labels '{text}' should be numbers of labels with commas between them, such as 0,50,300.")
    if budgets == [0]:
        raise InputError("--labels 0 alone trains nothing; `morph evaluate` measures a model as it is.")
    return budgets


def methods_of(text: str) -> list[str]:
    """``scratch,finetuned`` as names in the order of `METHODS`. InputError on any other name, or none."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    trained = [method for method in METHODS if method != "direct"]
    unknown = [word for word in words if word not in trained]
    if unknown or not words:
        what = f"has no method '{unknown[0]}'" if unknown else "names no method"
        raise InputError(f"--methods {what}; take one or several of {', '.join(trained)}.")
    return [method for method in trained if method in words]


def check_folder(to: Path) -> None:
    """InputError unless a transfer's folder can be written at `to`, which is new or holds an older transfer."""
    if to.exists() and (not to.is_dir() or any(path.name not in FILES for path in to.iterdir())):
        raise InputError(f"'{to}' exists and holds something other than a transfer; choose another --to.")
    checks.check_folder(to)


def trials_of(budgets: Sequence[int], methods: Sequence[str], repeats: int) -> list[Trial]:
    """All trials, small budgets first, so that a curve takes shape early.

    Parameters
    ----------
    budgets, methods : as `budgets_of` and `methods_of` return them.
    repeats : random samples of galaxies for each.

    Returns
    -------
    One trial for each of them, after that of the source as it is, where 0 is a budget.

    Examples
    --------
    >>> [trial.name for trial in trials_of([0, 50], ["finetuned"], 2)]
    ['transfer direct', 'transfer finetuned 50 #0', 'transfer finetuned 50 #1']
    """
    direct = [Trial("direct", 0, 0)] if 0 in budgets else []
    return direct + [
        Trial(method, labels, repeat)
        for labels in budgets
        if labels
        for repeat in range(repeats)
        for method in METHODS
        if method in methods and method != "direct"
    ]


def three_questions(votes: np.ndarray) -> np.ndarray:
    """Votes on `THREE_QUESTIONS` alone, strong and weak bars as one answer, mostly artefacts left out.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.

    Returns
    -------
    The same shape, which `training.metrics.votes.measure` takes.
    """
    asked = [question_of(column) in THREE_QUESTIONS for column in VOTE_COLUMNS]
    kept = np.where(asked, votes, np.nan).astype("float32")
    members = [VOTE_COLUMNS.index(name) for name in COARSE[_BAR]]
    union = VOTE_COLUMNS.index(_BAR)
    bars = np.nansum(kept[:, [*members, union]], axis=1)
    kept[:, union] = np.where(np.isfinite(kept[:, [*members, union]]).any(axis=1), bars, np.nan)
    kept[:, members] = np.where(np.isfinite(kept[:, members]), 0.0, np.nan)
    root = kept[:, _ARTIFACT - 2 : _ARTIFACT + 1]
    artefact = np.nan_to_num(root[:, 2]) > np.nan_to_num(root[:, :2]).max(axis=1)
    kept[artefact] = np.nan
    kept[:, _ARTIFACT] = np.where(np.isfinite(kept[:, _ARTIFACT]), 0.0, np.nan)
    return kept
