"""What tables contain about images, for an import; and their other columns, for an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.dataset import Galaxies
from morph.errors import InputError
from training.importers.labels import Labels
from training.importers.matching import add_properties, join, match
from training.importers.tables import Table, read_table
from training.importers.writing import Annotations, Report


@dataclass(frozen=True)
class Tables:
    """The tables that a user gives with images.

    Attributes
    ----------
    table : of labels; it may have properties as well.
    labels : what it was recognised as.
    id_column : its column of galaxy ids, if it is not one of the usual ones.
    properties : another table, of redshifts, magnitudes and positions.
    keep_unlabelled : keep images that have no label.
    """

    table: Table | None = None
    labels: Labels | None = None
    id_column: str | None = None
    properties: Table | None = None
    keep_unlabelled: bool = False

    def annotations(self, positions: Mapping[str, tuple[float, float]], report: Report) -> Annotations:
        """What the tables contain about images.

        Parameters
        ----------
        positions : image's name -> its ra, dec in degrees, NaN where unknown.
        report : collects how they match, and what does not.

        Raises
        ------
        InputError : duplicate ids, or a table that belongs to no image.
        """
        found = Annotations()
        if self.table is not None:
            found = join(self.table, self.labels, positions, self.id_column, report)
        if self.properties is not None:
            add_properties(found, self.properties, positions, report)
        return found


def read_columns(path: str | Path, galaxies: Galaxies, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table about the galaxies of a dataset that are neither votes nor properties.

    They are what a model is measured by and never trained on: grades of lens candidates, shares of bad pixels,
    debiased fractions beside raw votes.

    Parameters
    ----------
    path : of the table: CSV, Parquet or FITS. Its rows belong to galaxies by name or else by position, as labels do.
    galaxies : of the dataset.
    names : of the columns.

    Returns
    -------
    {name: [galaxies]}, float64 with NaN where nothing is known if all values are numbers, else text, empty where
    nothing is known. Of several rows about one galaxy the first that has a value counts.

    Raises
    ------
    InputError : the table or a column is missing, or no row belongs to any galaxy.
    """
    table = read_table(Path(path))
    places = zip(galaxies.ra.tolist(), galaxies.dec.tolist(), strict=True)
    ids = [str(name) for name in galaxies.ids]
    rows = match(table, dict(zip(ids, places, strict=True)), repeats=True).rows
    found = {}
    for name in names:
        column = table.find((name,))
        if column is None:
            raise InputError(f"'{path}' has no column '{name}'; it has {', '.join(table.columns)}.")
        texts, numbers = np.array([*table.text(column), ""]), np.append(table.numbers(column), np.nan)
        # The last entry stands for galaxies of which nothing is known.
        first = [next((row for row in rows.get(one, ()) if texts[row]), -1) for one in ids]
        numeric = np.isfinite(numbers[first]) | (texts[first] == "")
        found[name] = numbers[first] if numeric.all() else texts[first]
    return found
