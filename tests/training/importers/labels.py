"""The votes that labels hold, for tests."""

from morph.decision_tree import VOTE_COLUMNS, question_of
from training.importers.labels import Labels


def votes(labels: Labels, row: int = 0) -> dict[str, float]:
    """The votes that a row holds, without the answers of no vote."""
    found = {column: float(value) for column, value in zip(VOTE_COLUMNS, labels.votes[row], strict=True)}
    return {column: value for column, value in found.items() if value > 0}


def asked(labels: Labels, row: int = 0) -> set[str]:
    return {question_of(column) for column, value in zip(VOTE_COLUMNS, labels.votes[row], strict=True) if value >= 0}
