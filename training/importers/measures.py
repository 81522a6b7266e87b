"""What a table publishes about each answer: counts or fractions of the volunteers, raw or debiased.

Raw votes are preferred: a network sees the same pixels as the volunteers did, and not the galaxy as it would look
nearer by.
"""

from collections.abc import Iterable

from morph.errors import InputError
from morph.votes import DEBIASED, RAW, VOTE_KINDS
from training.importers.tables import Table


def kind_of(column: str) -> str:
    """Whether a column, or a measure at the end of its name, holds raw or debiased votes."""
    return DEBIASED if DEBIASED in column.lower() else RAW


def choose_kind(measures: Iterable[str], asked: str | None, table: Table) -> tuple[str, list[str]]:
    """The kind of votes to take from a table, and what there is to report of the choice.

    Parameters
    ----------
    measures : names of the measures, or of the columns, that the table has.
    asked : the kind that the user asked for; None prefers raw.

    InputError when the table has none of the kind that was asked for.
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
