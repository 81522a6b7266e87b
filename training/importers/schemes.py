"""Which of the published kinds of labels a table holds.

A scheme is a function that takes a table and gives `Labels`, or None when the table is of another kind. A new
scheme is one new entry of `SCHEMES`.
"""

from collections.abc import Callable, Mapping
from functools import partial

from morph.errors import InputError
from training.importers import classes, galaxy_zoo_2, galaxy_zoo_decals, worked_examples
from training.importers.labels import Labels
from training.importers.tables import Table

#: Votes before classes: a table of votes often carries a class made from them as well.
SCHEMES: tuple[Callable[[Table], Labels | None], ...] = (
    worked_examples.question_and_answer,
    galaxy_zoo_2.published,
    galaxy_zoo_2.kaggle,
    galaxy_zoo_decals.published,
    classes.galaxy_zoo_1_fractions,
    classes.galaxy_zoo_1,
    classes.galaxy10,
    classes.rings,
)


#: Schemes whose tables can hold raw votes and debiased ones, so that they are told which to take.
_OF_BOTH_KINDS = (galaxy_zoo_2.published, galaxy_zoo_decals.published)


def recognise(table: Table, mapping: Mapping[str, tuple[str, ...]] | None = None, kind: str | None = None) -> Labels:
    """The labels in `table`, by the user's mapping or by the first scheme that fits.

    Parameters
    ----------
    kind : raw or debiased: the votes to take where the table has both, and what they are where it does not say.

    InputError names the columns that were found when nothing fits, and what votes there are when none are of `kind`.
    """
    if mapping is not None:
        return classes.mapped(table, mapping, kind)
    for scheme in SCHEMES:
        labels = (partial(scheme, kind=kind) if scheme in _OF_BOTH_KINDS else scheme)(table)
        if labels is not None:
            if kind not in (None, labels.kind):
                raise InputError(f"'{table.source}' has no {kind} votes, but {labels.kind} ones: {labels.scheme}.")
            return labels
    found = ", ".join(table.columns[:8]) + (" ..." if len(table.columns) > 8 else "")
    raise InputError(
        f"The columns of '{table.source}' ({found}) are no labels that morph knows; "
        "say what they mean with --mapping FILE (see `morph import --help`)."
    )
