"""What a table knows about a set of images: the galaxies' own names, positions, votes and properties."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from morph.catalogs.column_mapping import MAGNITUDE_COLUMNS, SPECTRUM_COLUMNS
from training.importers.labels import Labels
from training.importers.matching import match
from training.importers.report import Report
from training.importers.tables import Table

#: Columns of a table that are kept as properties, under the names that they may have. A redshift guessed from colours
#: is not one to learn redshifts from.
PROPERTY_COLUMNS = {"redshift": SPECTRUM_COLUMNS, **MAGNITUDE_COLUMNS}


@dataclass
class Known:
    """By the name of the image.

    `labelled` is False where no labels were given at all, so that no image can be without one. `vote_kind` is that of
    all the votes, raw or debiased; empty where there are none.
    """

    votes: dict[str, np.ndarray] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    properties: dict[str, dict[str, float]] = field(default_factory=dict)
    labelled: bool = False
    vote_kind: str = ""

    def wanted(self, names: Iterable[str], keep_unlabelled: bool, report: Report) -> list[str]:
        """Those of the images that belong into the dataset; the others are reported."""
        names = list(names)
        if not self.labelled or keep_unlabelled:
            return names
        for name in names:
            if name not in self.votes:
                report.skip("images without a label (--keep-unlabelled keeps them)", name)
        return [name for name in names if name in self.votes]


def know(
    table: Table,
    labels: Labels | None,
    positions: Mapping[str, tuple[float, float]],
    id_column: str | None,
    report: Report,
) -> Known:
    """Join a table, and the labels read from it, to images.

    Parameters
    ----------
    positions : image's name -> its ra, dec in degrees, NaN where unknown.
    id_column : the table's column of galaxy ids, if it is not one of the usual ones.

    Raises
    ------
    InputError : duplicate ids, or labels that match no image.
    """
    matched = match(table, positions, id_column, repeats=labels is not None and labels.repeats)
    for name in matched.lost:
        report.skip("labels without an image", name)
    report.say(matched.how)
    if labels is not None:
        names = table.identifiers(matched.name_column)
        for row in np.flatnonzero(~labels.labelled):
            report.skip("labels without any vote", names[row])
    known = Known(ids=matched.ids, labelled=labels is not None, vote_kind=labels.kind if labels else "")
    columns = {
        name: table.measured(column, "redshift" if name == "redshift" else "magnitude")
        for name, column in _property_columns(table).items()
    }
    ra, dec = table.position()
    for note in table.notes:
        report.say(f"Note: {note}")
    for name, rows in matched.rows.items():
        first = rows[0]
        known.positions[name] = (ra[first], dec[first])
        known.properties[name] = {column: values[first] for column, values in columns.items()}
        if labels is not None and labels.labelled[rows].any():
            known.votes[name] = _merged(labels.votes[rows])
    return known


def _property_columns(table: Table) -> dict[str, str]:
    found = {name: table.find(others) for name, others in PROPERTY_COLUMNS.items()}
    return {name: column for name, column in found.items() if column is not None}


def _merged(votes: np.ndarray) -> np.ndarray:
    """Votes of several rows about one galaxy: what they imply on the way counts once."""
    merged = votes[0]
    for more in votes[1:]:
        merged = np.fmax(merged, more)
    return merged
