"""Which row of a table speaks about which image."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.errors import BadInput
from training.sources.tables import Table

#: Columns that name a galaxy, the survey's own names first: they are the same in every release, so a split
#: by id keeps one galaxy on one side even where it stands in two datasets.
ID_COLUMNS = (
    "dr7objid",
    "iauname",
    "iau_name",
    "objid",
    "dr8objid",
    "coadd_object_id",
    "dr8_id",
    "id_str",
    "id",
    "galaxyid",
    "galaxy_id",
    "objectid",
    "object_id",
    "name",
    "asset_id",
    "filename",
    "file",
)

_SUFFIX = re.compile(r"\.(jpe?g|png|fits?|fits\.fz|fits\.gz)$", re.I)
_POSITION = re.compile(r"ra(?P<ra>\d+(?:\.\d+)?)_?dec(?P<dec>[-+]?\d+(?:\.\d+)?)", re.I)


@dataclass
class Match:
    """How a table's rows and a set of images belong together.

    Attributes
    ----------
    file_column, id_column : the columns that name the images and the galaxies.
    rows : image's stem -> the rows about it.
    ids : image's stem -> the galaxy's id.
    lost : file names in the table that no image has.
    """

    file_column: str
    id_column: str
    rows: dict[str, list[int]]
    ids: dict[str, str]
    lost: list[str]


def stem(name: str) -> str:
    """A file's name without folder and picture suffix: "images/J0004.1+02.jpeg" is "J0004.1+02"."""
    return _SUFFIX.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def stems_of(paths: list[Path]) -> dict[str, Path]:
    """Images by stem. BadInput when two share one."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        name = stem(path.name)
        if name in by_stem:
            raise BadInput(
                f"'{by_stem[name]}' and '{path}' are both called '{name}'; every galaxy needs its own name."
            )
        by_stem[name] = path
    return by_stem


def position(name: str) -> tuple[float, float]:
    """ra, dec in degrees from a name like `ra1.671_dec-8.746`; NaN where it has none."""
    found = _POSITION.search(name)
    return (float(found["ra"]), float(found["dec"])) if found else (np.nan, np.nan)


def match(table: Table, stems: set[str], id_column: str | None = None, repeats: bool = False) -> Match:
    """Join a table to images by the column whose values are the images' names.

    Parameters
    ----------
    id_column : the column of the galaxies' ids; by default the best of `ID_COLUMNS`, or else the images' names.
    repeats : whether several rows may speak about one image.

    Raises
    ------
    BadInput : no column names any image; `id_column` is not there; two rows or two images have one id.
    """
    if id_column is not None and (id_column := table.find((id_column,))) is None:
        raise BadInput(f"'{table.source}' has no column for --id-column; it has {', '.join(table.columns[:12])}.")
    values = {name: [stem(value) for value in table.text(name)] for name in table.names}
    hits = {name: len(stems.intersection(column)) for name, column in values.items()}
    file_column = max(hits, key=hits.__getitem__, default="")
    if not file_column or not hits[file_column]:
        example = next(iter(stems))
        likely = id_column or table.find(ID_COLUMNS) or table.columns[0]
        raise BadInput(
            f"No label in '{table.source}' belongs to any image: images are called like '{example}', "
            f"its column '{likely}' holds values like '{table.text(likely)[0]}'; the table needs a column with the "
            "images' names."
        )
    rows: dict[str, list[int]] = {}
    lost: dict[str, None] = {}
    for row, name in enumerate(values[file_column]):
        if name in stems:
            rows.setdefault(name, []).append(row)
        elif name:
            lost[name] = None
    if not repeats:
        _refuse_duplicates([name for name, of in rows.items() if len(of) > 1], file_column, table)
    id_column = id_column or _galaxy_column(table, values, file_column)
    ids = {name: values[id_column][of[0]] or name for name, of in rows.items()}
    counts = Counter(ids.values())
    _refuse_duplicates([name for name, count in counts.items() if count > 1], id_column, table)
    return Match(file_column, id_column, rows, ids, list(lost))


def _galaxy_column(table: Table, values: dict[str, list[str]], file_column: str) -> str:
    """The best id column that is filled in everywhere and tells the rows apart as well as the file names do."""
    for wanted in ID_COLUMNS:
        column = table.find((wanted,))
        if column == file_column:
            break
        if column in values and all(values[column]) and len(set(values[column])) == len(set(values[file_column])):
            return column
    return file_column


def _refuse_duplicates(names: list[str], column: str, table: Table) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise BadInput(
            f"In '{table.source}' the id '{names[0]}'{more} occurs twice in column '{column}'; "
            "keep one row a galaxy, or name another column with --id-column."
        )
