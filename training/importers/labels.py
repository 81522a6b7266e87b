"""Labels as votes of the shared decision tree: their type, and the choice between raw and debiased votes.

Raw votes are preferred: a network sees the same pixels as the volunteers did, and not the galaxy as it would look
nearer by.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from morph.decision_tree import VOTE_COLUMNS, question_of
from morph.errors import InputError
from morph.votes import DEBIASED, RAW, VOTE_KINDS, has_votes, vote_counts
from training.importers.tables import Table


@dataclass
class Labels:
    """Votes of every row of a table.

    Attributes
    ----------
    scheme : what the table was recognised as, in words.
    votes : float32 [rows, vote columns], NaN where not asked.
    notes : what was left out and why, one sentence each.
    repeats : whether several rows may describe one galaxy, so that their votes add up.
    kind : raw or debiased (see `morph.votes`); a hard class is a raw vote.
    """

    scheme: str
    votes: np.ndarray
    notes: list[str] = field(default_factory=list)
    repeats: bool = False
    kind: str = RAW

    @property
    def labelled(self) -> np.ndarray:
        """Whether each row holds any vote: bool [rows]."""
        return has_votes(self.votes)


def assemble(counts: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """Counts by vote column as one array.

    Parameters
    ----------
    counts : vote column -> votes [rows]; NaN where a table holds no possible number.
    rows : number of rows, for the case of no counts at all.

    Returns
    -------
    float32 [rows, vote columns]. Where a question has any vote, its other columns are 0: they were offered and
    not chosen. Where it has none, or one is not known, all are NaN: not asked.
    """
    votes = np.full((rows, len(VOTE_COLUMNS)), np.nan, dtype="float32")
    for question in {question_of(column) for column in counts}:
        places = [j for j, column in enumerate(VOTE_COLUMNS) if question_of(column) == question]
        block = np.stack([counts.get(VOTE_COLUMNS[j], np.zeros(rows)) for j in places], axis=1)
        asked = block.sum(axis=1) > 0
        votes[np.ix_(asked, places)] = block[asked]
    return votes


def columns_of(question: str, answers: str) -> dict[str, str]:
    """The vote columns of a question by a table's own names of the answers.

    >>> columns_of("bar", "a06 strong-or-weak, a07 no")
    {'a06': 'bar_strong-or-weak', 'a07': 'bar_no'}
    """
    return {name: f"{question}_{answer}" for name, answer in (pair.split() for pair in answers.split(", "))}


def add(votes: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Votes of two groups of volunteers about the same galaxies: NaN only where neither was asked."""
    both = vote_counts(votes) + vote_counts(more)
    return np.where(np.isnan(votes) & np.isnan(more), np.nan, both).astype("float32")


def kind_of(column: str) -> str:
    """Whether a column, or a measure at the end of its name, holds raw or debiased votes."""
    return DEBIASED if DEBIASED in column.lower() else RAW


def choose_kind(measures: Iterable[str], asked: str | None, table: Table) -> tuple[str, list[str]]:
    """The kind of votes to take from a table.

    Parameters
    ----------
    measures : names of the measures, or of the columns, that the table has.
    asked : the kind that the user asked for; None prefers raw.
    table : named in the message.

    Returns
    -------
    The kind, and a sentence where the table has both.

    Raises
    ------
    InputError : the table has none of the kind that was asked for.
    """
    found = {kind_of(name) for name in measures}
    kind = asked or (RAW if RAW in found else DEBIASED)
    if kind not in found:
        raise InputError(
            f"'{table.source}' has no {kind} votes, but {found.pop()} ones; import it without --votes {kind}."
        )
    other = next(name for name in VOTE_KINDS if name != kind)
    unasked = other in found and asked is None
    return kind, [f"its {kind} votes are taken; --votes {other} takes the {other} ones."] if unasked else []


def normalise(word: str) -> str:
    """A class name as it is compared: "Edge-on Galaxies with Bulge" is `edge_on_with_bulge`."""
    words = re.sub(r"[^a-z0-9]+", " ", word.lower())
    return "_".join(part for part in words.split() if part not in ("galaxy", "galaxies"))
