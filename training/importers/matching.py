"""Cross-matching a table with images, by name or by position, and joining what it contains to them."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from morph.catalogs.base import is_nameless
from morph.catalogs.column_mapping import ID_COLUMNS, MAGNITUDE_COLUMNS, PICTURE_COLUMNS, SPECTRUM_COLUMNS
from morph.errors import InputError
from training.importers.labels import Labels
from training.importers.tables import Table
from training.importers.writing import Annotations, Report

#: Columns that name a galaxy, the survey's own names first.
_ID_COLUMNS = (*ID_COLUMNS, *PICTURE_COLUMNS)

#: Where names say nothing, a row and an image this close together (arcsec) are one galaxy: well within any galaxy
#: that shows its shape, and several times the astrometry's error.
NEAR = 1.0

_SUFFIX = re.compile(r"\.(jpe?g|png|tiff?|webp|fits?|fits?\.fz|fits?\.gz)$", re.I)
_POSITION = re.compile(r"ra(?P<ra>\d+(?:\.\d+)?)_?dec(?P<dec>[-+]?\d+(?:\.\d+)?)", re.I)


@dataclass
class Match:
    """How a table's rows and a set of images belong together.

    Attributes
    ----------
    how : in words.
    name_column : the column by which the table's rows are called in reports.
    rows : image's name -> the rows that describe it.
    ids : image's name -> the galaxy's id.
    lost : names of the rows that match no image.
    """

    how: str
    name_column: str
    rows: dict[str, list[int]]
    ids: dict[str, str]
    lost: list[str]


def stem(name: str) -> str:
    """A file's name without folder and picture suffix: "images/J0004.1+02.jpeg" is "J0004.1+02"."""
    return _SUFFIX.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def stems_of(paths: list[Path]) -> dict[str, Path]:
    """Images by stem. InputError when two share one."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        name = stem(path.name)
        if name in by_stem:
            raise InputError(
                f"'{by_stem[name]}' and '{path}' are both called '{name}'; every galaxy needs its own name."
            )
        by_stem[name] = path
    return by_stem


def position(name: str) -> tuple[float, float]:
    """ra, dec in degrees from a name like `ra1.671_dec-8.746`; NaN where it has none."""
    found = _POSITION.search(name)
    return (float(found["ra"]), float(found["dec"])) if found else (np.nan, np.nan)


def match(
    table: Table, positions: Mapping[str, tuple[float, float]], id_column: str | None = None, repeats: bool = False
) -> Match:
    """Join a table to images by the column whose values are the images' names, or else by position.

    Parameters
    ----------
    table : of annotations.
    positions : image's name -> its ra, dec in degrees, NaN where unknown.
    id_column : the column of the galaxies' ids; by default the best of `_ID_COLUMNS`, or else the images' names.
    repeats : whether several rows may describe one image.

    Returns
    -------
    Which rows belong to which image.

    Raises
    ------
    InputError : the table names no image and no position in it is that of one; `id_column` is not there; two rows or
        two images have one id.
    """
    if id_column is not None and (id_column := table.find((given := id_column,))) is None:
        raise InputError(f"'{table.source}' has no column '{given}'; it has {', '.join(table.columns[:12])}.")
    columns = dict.fromkeys([*table.names, *((id_column,) if id_column else ())])
    values = {name: [stem(value) for value in table.identifiers(name)] for name in columns}
    name_column = _naming_column(values, positions)
    if name_column is None:
        return _match_by_position(table, positions, id_column)
    rows: dict[str, list[int]] = {}
    lost: dict[str, None] = {}
    for row, name in enumerate(values[name_column]):
        if name in positions:
            rows.setdefault(name, []).append(row)
        elif name:
            lost[name] = None
    if not repeats:
        _refuse_duplicates([name for name, of in rows.items() if len(of) > 1], name_column, table)
    id_column = id_column or _galaxy_column(table, values, name_column)
    for column in {name_column, id_column}:
        table.check_digits(column)
    ids = {name: values[id_column][of[0]] or name for name, of in rows.items()}
    counts = Counter(ids.values())
    _refuse_duplicates([name for name, count in counts.items() if count > 1], id_column, table)
    named = "" if name_column == id_column else f", galaxies by '{id_column}'"
    return Match(f"Images are named by column '{name_column}'{named}.", name_column, rows, ids, list(lost))


def _naming_column(values: Mapping[str, list[str]], positions: Mapping) -> str | None:
    """The column that names the most images: of two, one that is meant for it, and last one without a name, which may
    be nothing but the rows' numbers."""
    hits = {name: len(positions.keys() & set(column)) for name, column in values.items()}

    def rank(name: str) -> tuple[bool, int, bool]:
        return not is_nameless(name), hits[name], name.lower() in _ID_COLUMNS

    return max((name for name in hits if hits[name]), key=rank, default=None)


def _match_by_position(table: Table, positions: Mapping[str, tuple[float, float]], id_column: str | None) -> Match:
    """Each image with the row that is its nearest, and whose nearest it is, within `NEAR` arcsec."""
    places = np.array(list(positions.values()), dtype=float).reshape(-1, 2)
    own = np.stack(table.position(), axis=1)
    here, there = np.flatnonzero(np.isfinite(places).all(axis=1)), np.flatnonzero(np.isfinite(own).all(axis=1))
    name_column = id_column or table.find(_ID_COLUMNS) or table.columns[0]
    called = table.identifiers(name_column)
    rows: dict[str, list[int]] = {}
    if len(here) and len(there):
        images, labels = (SkyCoord(*p[w].T, unit="deg") for p, w in ((places, here), (own, there)))
        nearest, distance, _ = images.match_to_catalog_sky(labels)
        back, _, _ = labels.match_to_catalog_sky(images)
        names = list(positions)
        for i in np.flatnonzero((distance.arcsec < NEAR) & (back[nearest] == np.arange(len(here)))):
            rows[names[here[i]]] = [int(there[nearest[i]])]
    if not rows:
        raise InputError(
            f"No row of '{table.source}' belongs to any image: images are called like '{next(iter(positions))}', "
            f"its column '{name_column}' holds values like '{called[0]}'; the table needs a column with the images' "
            "names, or their positions in ra and dec."
        )
    used = {row for of in rows.values() for row in of}
    lost = [name for row, name in enumerate(called) if row not in used]
    table.check_digits(name_column)
    distinct = id_column or (name_column in table.names and all(called) and len(set(called)) == len(called))
    ids = {name: called[of[0]] if distinct else name for name, of in rows.items()}
    return Match(f"Images and labels are matched by position, within {NEAR:g} arcsec.", name_column, rows, ids, lost)


def _galaxy_column(table: Table, values: dict[str, list[str]], name_column: str) -> str:
    """The best id column that is complete and has as many distinct values as the images' names."""
    for wanted in _ID_COLUMNS:
        column = table.find((wanted,))
        if column == name_column:
            break
        if column in values and all(values[column]) and len(set(values[column])) == len(set(values[name_column])):
            return column
    return name_column


def _refuse_duplicates(names: list[str], column: str, table: Table) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(
            f"In '{table.source}' the id '{names[0]}'{more} occurs twice in column '{column}'; "
            "keep one row a galaxy, or name another column with --id-column."
        )


#: Columns of a table that are kept as properties, under the names that they may have. A redshift guessed from colours
#: is not one to learn redshifts from.
PROPERTY_COLUMNS = {"redshift": SPECTRUM_COLUMNS, **MAGNITUDE_COLUMNS}


def join(
    table: Table,
    labels: Labels | None,
    positions: Mapping[str, tuple[float, float]],
    id_column: str | None,
    report: Report,
) -> Annotations:
    """Join a table, and the labels read from it, to images.

    Parameters
    ----------
    table : of annotations.
    labels : recognised in the table; None where it has none.
    positions : image's name -> its ra, dec in degrees, NaN where unknown.
    id_column : the table's column of galaxy ids, if it is not one of the usual ones.
    report : collects how they match, and what does not.

    Returns
    -------
    The annotations by the images' names.

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
    annotations = Annotations(ids=matched.ids, labelled=labels is not None, vote_kind=labels.kind if labels else "")
    columns = _properties(table)
    ra, dec = table.position()
    for note in table.notes:
        report.say(f"Note: {note}")
    for name, rows in matched.rows.items():
        first = rows[0]
        annotations.positions[name] = (ra[first], dec[first])
        annotations.properties[name] = {column: values[first] for column, values in columns.items()}
        if labels is not None and labels.labelled[rows].any():
            annotations.votes[name] = _merged(labels.votes[rows])
    return annotations


def add_properties(
    annotations: Annotations, table: Table, positions: Mapping[str, tuple[float, float]], report: Report
) -> None:
    """Complete annotations by the redshifts, magnitudes and positions in another table.

    Parameters
    ----------
    annotations : changed in place. What they contain already is kept, and so are the galaxies' ids.
    table : of properties; rows about other galaxies are passed over.
    positions : image's name -> its ra, dec in degrees, NaN where unknown.
    report : collects what was found.

    Raises
    ------
    InputError : the table has none of the properties, names a galaxy twice, or belongs to no image.
    """
    columns, places = _properties(table), np.stack(table.position(), axis=1)
    if not columns and np.isnan(places).all():
        raise InputError(
            f"'{table.source}' has no column of redshifts, magnitudes or positions; "
            "name those that it has redshift, mag_g, mag_r, mag_i, ra and dec."
        )
    matched = match(table, positions)
    for name, (row,) in matched.rows.items():
        own = annotations.properties.setdefault(name, {})
        for column, values in columns.items():
            if not np.isfinite(own.get(column, np.nan)):
                own[column] = values[row]
        if not np.isfinite(annotations.positions.get(name, (np.nan,))).all():
            annotations.positions[name] = (places[row, 0], places[row, 1])
    for note in table.notes:
        report.say(f"Note: {note}")
    report.say(f"Properties in '{table.source}' of {len(matched.rows):,} images: {', '.join(columns) or 'positions'}.")


def _properties(table: Table) -> dict[str, np.ndarray]:
    """The properties in a table: float64 [rows] each, NaN where unknown."""
    found = {name: table.find(others) for name, others in PROPERTY_COLUMNS.items()}
    return {
        name: table.measured(column, "redshift" if name == "redshift" else "magnitude")
        for name, column in found.items()
        if column is not None
    }


def _merged(votes: np.ndarray) -> np.ndarray:
    """Votes of several rows about one galaxy: what they imply on the way counts once."""
    merged = votes[0]
    for more in votes[1:]:
        merged = np.fmax(merged, more)
    return merged
