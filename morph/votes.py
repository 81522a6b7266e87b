"""Raw and debiased votes: what the volunteers saw, and what they would have seen nearer by.

A galaxy farther away is fainter and smaller in its picture, so fewer volunteers see its arms and bars. *Debiased*
fractions are corrected for that (Willett et al. 2013; Hart et al. 2016): they describe the galaxy and no longer its
picture. A model is trained on one kind, answers in that kind, and is measured against that kind.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from morph.decision_tree import VOTE_COLUMNS, question_of
from morph.errors import InputError

if TYPE_CHECKING:
    from morph.dataset import Galaxies

RAW, DEBIASED = "raw", "debiased"
VOTE_KINDS = (RAW, DEBIASED)


def empty_votes() -> np.ndarray:
    """Votes of a galaxy about which no volunteer was asked: NaN [vote columns]."""
    return np.full(len(VOTE_COLUMNS), np.nan, dtype="float32")


def set_votes(row: np.ndarray, counts: dict[str, float]) -> np.ndarray:
    """Put `counts` (vote column -> votes) into `row`; every other column of a question that is
    answered becomes 0 rather than NaN, since it was offered and not chosen."""
    answered = {question_of(column) for column in counts}
    for j, column in enumerate(VOTE_COLUMNS):
        if column in counts:
            row[j] = counts[column]
        elif question_of(column) in answered and np.isnan(row[j]):
            row[j] = 0.0
    return row


def vote_counts(votes: np.ndarray) -> np.ndarray:
    """Votes [..., vote columns] as counts: 0 in place of NaN, where the question was not asked."""
    return np.nan_to_num(votes)


def has_votes(votes: np.ndarray) -> np.ndarray:
    """Whether each galaxy has at least one vote: bool [...] for votes [..., vote columns]."""
    return np.nansum(votes, axis=-1) > 0


def was_asked(votes: np.ndarray) -> np.ndarray:
    """Whether volunteers were asked anything about each galaxy: bool [...] for votes [..., vote columns]."""
    return np.isfinite(votes).any(axis=-1)


def kinds_of(sets: "Iterable[Galaxies]") -> set[str]:
    """The kinds of all votes in some sets of galaxies; votes that do not state theirs have the empty kind."""
    kinds: set[str] = set()
    for galaxies in sets:
        kinds.update(np.unique(galaxies.vote_kind[np.isfinite(galaxies.votes).any(axis=1)]).tolist())
    return kinds


def one_kind(sets: "Iterable[Galaxies]", purpose: str) -> str:
    """The kind of all votes in some sets; empty where there are none, or they do not state it.

    InputError when some are raw and others debiased; `purpose` names what that forbids, for instance "be trained on".
    """
    sets = list(sets)
    of = {kind: [galaxies for galaxies in sets if kind in kinds_of([galaxies])] for kind in VOTE_KINDS}
    if all(of.values()):
        raw, debiased = (" and ".join(f"'{g.about.get('path')}'" for g in of[kind]) for kind in VOTE_KINDS)
        raise InputError(
            f"Raw votes ({raw}) and debiased ones ({debiased}) cannot {purpose} together; use sets of one kind, or "
            f"import them anew with --votes raw."
        )
    return next((kind for kind, found in of.items() if found), "")


def difference(model: str, votes: str, what: str = "these votes") -> str:
    """One sentence on how a model's answers and some votes compare, each of a kind or empty where it is not known.

    Parameters
    ----------
    model : the kind of votes that the model was trained on; votes : the kind of those it is held against.
    """
    if not model or not votes:
        unknown = [name for name, kind in (("the model's answers", model), (what, votes)) if not kind]
        return f"Whether {' and '.join(unknown)} are raw or debiased is not recorded."
    if model == votes:
        return f"The model's answers and {what} are both {model}."
    return (
        f"The model's answers are {model} and {what} are {votes}: the two differ, the more the farther away the "
        f"galaxy, so part of what counts as error here is none."
    )
