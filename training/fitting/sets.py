"""Training sets: which galaxies a run is trained on, in which shares, and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS, question_of
from morph.errors import InputError
from morph.votes import has_votes, one_kind, vote_counts


@dataclass(frozen=True)
class Task:
    """What a run trains on.

    Attributes
    ----------
    kind : "pretrain" or "finetune".
    name : the run's.
    experiment : the MLflow experiment it belongs to.
    labelled, unlabelled : paths of datasets, with a weight behind a colon if wanted. Of the labelled ones, only the
        training split is trained on, and the validation split watched.
    pseudo_labelled : more datasets; their votes are the predictions of the model named `teacher`.
    labels : how many labelled galaxies to use; all when None.
    held_out : datasets of which nothing is trained on; with the validation splits they set the anomaly score's
        reference and the calibration.
    unlabelled_share : share of every batch that comes from the unlabelled sets.
    """

    kind: str
    name: str
    experiment: str
    labelled: Sequence[str]
    unlabelled: Sequence[str] = ()
    labels: int | None = None
    unlabelled_share: float = 0.25
    pseudo_labelled: Sequence[str] = ()
    teacher: str | None = None
    held_out: Sequence[str] = ()


def training_sets(task: Task, seed: int) -> tuple[list[tuple[Galaxies, float]], list[Galaxies]]:
    """The sets with their shares of every batch, and the galaxies held out of them: the labelled sets' validation
    splits, those of unlabelled sets that have one, and the sets that are held out whole.

    A set's share grows with the square root of its size, so that a large set does not drown a small one, times the
    weight written behind its name. Galaxies that look the same as one of the labelled sets' validation or test
    galaxies are left out of the unlabelled sets and of the other labelled ones.

    Raises
    ------
    InputError : a training galaxy has the very image of a validation or test galaxy of another labelled set.
    """
    from training.fitting.batches import unanswered

    names, weights = zip(*(weighted(name) for name in task.labelled), strict=True)
    labelled = [Galaxies.open(name).split() for name in names]
    whole = [Galaxies.open(name) for name in task.held_out]
    train = [_without(each, name, whole) for each, name in zip(_training_splits(names, labelled), names, strict=True)]
    held_out = [*(parts[name] for parts in labelled for name in ("validation", "test")), *whole]
    one_kind(train, "be trained on")
    if task.labels is not None:
        train = _budget(train, task.labels, seed)
    note = single_class_note(check_labels(train), "trained on them alone, a model always gives it")
    if note:
        click.echo(note, err=True)
    sets = [
        (galaxies, weight * float(np.sqrt(len(galaxies)))) for galaxies, weight in zip(train, weights, strict=True)
    ]
    more = [weighted(name) for name in (*task.unlabelled, *task.pseudo_labelled)]
    extra = [_without(_unlabelled(name), name, held_out) for name, _ in more]
    number = len(task.unlabelled)
    extra = [unanswered(galaxies) for galaxies in extra[:number]] + _pseudo_labelled(task, extra[number:])
    if extra:
        labelled_share = sum(share for _, share in sets)
        each = [weight * float(np.sqrt(len(galaxies))) for galaxies, (_, weight) in zip(extra, more, strict=True)]
        scale = labelled_share * task.unlabelled_share / (1 - task.unlabelled_share) / max(sum(each), 1e-9)
        sets += [(galaxies, share * scale) for galaxies, share in zip(extra, each, strict=True)]
    return sets, [
        *(parts["validation"] for parts in labelled),
        *_normal_of([name for name, _ in more[:number]]),
        *whole,
    ]


def _without(galaxies: Galaxies, name: str, held_out: Sequence[Galaxies]) -> Galaxies:
    """A dataset without the galaxies that look the same as one held out, and a note of how many those are."""
    from training.importers.overlap import without_duplicates

    kept = without_duplicates(galaxies, held_out)
    if len(kept) < len(galaxies):
        click.echo(
            f"{len(galaxies) - len(kept):,} of {len(galaxies):,} galaxies of '{name}' are left out: their images show "
            "galaxies that are held out.",
            err=True,
        )
    return kept


def _training_splits(names: Sequence[str], labelled: Sequence[dict[str, Galaxies]]) -> list[Galaxies]:
    """The training splits of labelled sets, without galaxies that are held out under another name.

    Parameters
    ----------
    names : of the sets.
    labelled : the splits of each.

    Raises
    ------
    InputError : a set holds images of another one's validation or test split.
    """
    from training.importers.overlap import same_stamps

    held_out = [[parts["validation"], parts["test"]] for parts in labelled]
    found = []
    for place, (name, parts) in enumerate(zip(names, labelled, strict=True)):
        train = parts["train"]
        others = [other for other in range(len(names)) if other != place]
        for other in others:
            if count := int(same_stamps(train, held_out[other]).sum()):
                raise InputError(
                    f"The training split of '{name}' has the images of {count:,} validation or test galaxies of "
                    f"'{names[other]}' under other names; give one of the two sets alone, or import both with the "
                    "same names."
                )
        if (twice := same_stamps(train, held_out[place])).any():
            click.echo(
                f"{twice.sum():,} images of '{name}' are in its validation or test split too; left out.", err=True
            )
            train = train.select(~twice)
        if not train.simulated:
            train = _without(train, name, [galaxies for other in others for galaxies in held_out[other]])
        found.append(train)
    return found


def _unlabelled(path: str) -> Galaxies:
    """A dataset whose votes are not read: all of it, or the training split where redshifts are known, since the model
    is trained on those too."""
    galaxies = Galaxies.open(path)
    return galaxies.split()["train"] if _measured(galaxies) else galaxies


def _measured(galaxies: Galaxies) -> bool:
    return bool(np.isfinite(galaxies.properties["redshift"]).any())


def _normal_of(unlabelled: Sequence[str]) -> list[Galaxies]:
    """The normal galaxies in the validation splits of unlabelled sets, without their votes, which are read only to
    leave out artifacts: one in a hundred would set the anomaly score's threshold at 1 %."""
    from training.fitting.batches import mostly_artifact, unanswered

    held_out = [g.split()["validation"] for g in map(Galaxies.open, unlabelled) if _measured(g)]
    return [unanswered(g.select(np.flatnonzero(~mostly_artifact(g.votes)))) for g in held_out]


def _pseudo_labelled(task: Task, sets: list[Galaxies]) -> list[Galaxies]:
    """The sets with the predictions of the task's teacher as their votes."""
    if not sets:
        return []
    from morph.model.store import load_model
    from training.fitting.adaptation import pseudo_label

    assert task.teacher is not None, "a task with pseudo-labelled sets names their teacher"
    teacher = load_model(task.teacher)
    return [pseudo_label(teacher, galaxies) for galaxies in sets]


def weighted(name: str) -> tuple[str, float]:
    """A dataset's path and the weight written behind it: ``gz1:2`` is drawn from twice as often."""
    path, colon, weight = name.rpartition(":")
    try:
        return (path, float(weight)) if colon else (name, 1.0)
    except ValueError:
        return name, 1.0


def _budget(train: list[Galaxies], labels: int, seed: int) -> list[Galaxies]:
    """`labels` labelled galaxies drawn at random from all sets together."""
    train = [galaxies.select(has_votes(galaxies.votes)) for galaxies in train]
    sizes = [len(galaxies) for galaxies in train]
    if labels > sum(sizes):
        raise InputError(
            f"The training splits hold {sum(sizes)} labelled galaxies; ask for that many --labels or fewer."
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(sum(sizes))[:labels])
    starts = np.cumsum([0, *sizes])
    return [
        galaxies.select(chosen[(chosen >= start) & (chosen < start + len(galaxies))] - start)
        for galaxies, start in zip(train, starts[:-1], strict=True)
    ]


def joined(sets: list[Galaxies]) -> Galaxies:
    """Validation sets as one. Those of another kind of image than the first cannot share its array, and are left out
    of the validation loss (never of the training)."""
    return Galaxies.concatenate([s for s in sets if (s.kind, s.size) == (sets[0].kind, sets[0].size)])


def single_class(votes: np.ndarray) -> dict[str, str]:
    """Questions on which every vote is for the same answer: {question: answer}.

    Parameters
    ----------
    votes : [n, vote columns], NaN where not asked.
    """
    given = [name for name, total in zip(VOTE_COLUMNS, vote_counts(votes).sum(axis=0), strict=True) if total > 0]
    answers = {question.name: [name for name in given if question_of(name) == question.name] for question in TREE}
    return {question: names[0].rsplit("_", 1)[1] for question, names in answers.items() if len(names) == 1}


def check_labels(sets: Sequence[Galaxies]) -> dict[str, str]:
    """`single_class` of training sets together. InputError when none of their galaxies has a vote."""
    votes = np.concatenate([galaxies.votes for galaxies in sets])
    if not vote_counts(votes).any():
        names = " and ".join(f"'{galaxies.about.get('path')}'" for galaxies in sets)
        raise InputError(
            f"There is no label to learn from in the training split of {names}; import with --labels, or give "
            f"unlabelled galaxies by --unlabelled beside a labelled set."
        )
    return single_class(votes)


def single_class_note(classes: dict[str, str], effect: str) -> str:
    """One sentence about questions with a single answer; empty if there are none."""
    if not classes:
        return ""
    listed = ", ".join(f"{question}: {answer}" for question, answer in classes.items())
    return f"All labels of a question are for the same answer ({listed}); {effect}."
