"""What labels say, in votes of the shared decision tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from morph.decision_tree import VOTE_COLUMNS, question_of
from morph.votes import RAW, has_votes, vote_counts


@dataclass
class Labels:
    """Votes of every row of a table.

    Attributes
    ----------
    scheme : what the table was recognised as, in words.
    votes : float32 [rows, vote columns], NaN where nobody was asked.
    notes : what was left out and why, one sentence each.
    repeats : whether several rows may speak about one galaxy, so that their votes add up.
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
    not chosen. Where it has none, or one is not known, all are NaN: nobody was asked.
    """
    votes = np.full((rows, len(VOTE_COLUMNS)), np.nan, dtype="float32")
    for question in {question_of(column) for column in counts}:
        places = [j for j, column in enumerate(VOTE_COLUMNS) if question_of(column) == question]
        block = np.stack([counts.get(VOTE_COLUMNS[j], np.zeros(rows)) for j in places], axis=1)
        asked = block.sum(axis=1) > 0
        votes[np.ix_(asked, places)] = block[asked]
    return votes


def add(votes: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Votes of two groups of volunteers about the same galaxies: NaN only where neither was asked."""
    both = vote_counts(votes) + vote_counts(more)
    return np.where(np.isnan(votes) & np.isnan(more), np.nan, both).astype("float32")
