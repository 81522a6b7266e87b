"""What a set's labels can and cannot teach or measure."""

from collections.abc import Sequence

import numpy as np

from morph.dataset import Galaxies
from morph.decision_tree import TREE, VOTE_COLUMNS, question_of
from morph.errors import InputError
from morph.votes import vote_counts


def single_class(votes: np.ndarray) -> dict[str, str]:
    """Questions on which every vote is for the same answer: {question: answer}.

    Parameters
    ----------
    votes : [n, vote columns], NaN where nobody was asked.
    """
    given = [name for name, total in zip(VOTE_COLUMNS, vote_counts(votes).sum(axis=0), strict=True) if total > 0]
    answers = {question.name: [name for name in given if question_of(name) == question.name] for question in TREE}
    return {question: names[0].rsplit("_", 1)[1] for question, names in answers.items() if len(names) == 1}


def check_labels(sets: Sequence[Galaxies]) -> dict[str, str]:
    """`single_class` of the sets together, which are to teach. InputError when nobody voted on any of their
    galaxies."""
    votes = np.concatenate([galaxies.votes for galaxies in sets])
    if not vote_counts(votes).any():
        names = " and ".join(f"'{galaxies.about.get('path')}'" for galaxies in sets)
        raise InputError(
            f"There is no label to learn from in the training split of {names}; import with --labels, or give "
            f"unlabelled galaxies by --unlabelled beside a labelled set."
        )
    return single_class(votes)


def told(sides: dict[str, str], effect: str) -> str:
    """One sentence about one-sided questions; empty if there are none."""
    if not sides:
        return ""
    listed = ", ".join(f"{question}: {answer}" for question, answer in sides.items())
    return f"All labels of a question say the same ({listed}); {effect}."
