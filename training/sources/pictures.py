"""Colour pictures of single galaxies, and what is known about them, as a galaxies dataset."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from morph.errors import BadInput
from morph.galaxies import STAMP_SIZE, GalaxiesWriter, Galaxy
from morph.images import composite
from morph.questions import empty_votes
from training.sources.labels import Labels
from training.sources.matching import match, position, stems_of
from training.sources.progress import track
from training.sources.report import Report
from training.sources.tables import Table

#: Columns of a table that are kept as properties, under the names that they may have.
PROPERTY_COLUMNS = {
    "redshift": ("redshift", "specz", "zspec"),
    "mag_g": ("mag_g", "petromag_g", "mag_auto_g"),
    "mag_r": ("mag_r", "petromag_r", "mag_auto_r"),
    "mag_i": ("mag_i", "petromag_i", "mag_auto_i"),
}


@dataclass(frozen=True)
class Stamp:
    """A picture cut to its galaxy; `error` says why there is none.

    `radius` is the half-light radius in pixels of the picture, `scale` pixels of the picture per pixel of the
    stamp.
    """

    image: np.ndarray | None
    radius: float = np.nan
    scale: float = np.nan
    found: bool = False
    error: str = ""


@dataclass
class Known:
    """What a table knows about a set of images, by the image's stem."""

    votes: dict[str, np.ndarray] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    properties: dict[str, dict[str, float]] = field(default_factory=dict)


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The JPEG and PNG files among `paths` and below the folders among them, sorted."""
    found: set[Path] = set()
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        found.update(one for one in inside if one.suffix.lower() in composite.SUFFIXES)
    return sorted(found)


def import_pictures(
    pictures: list[Path],
    to: Path,
    survey: str,
    report: Report,
    table: Table | None = None,
    labels: Labels | None = None,
    id_column: str | None = None,
    pixel_scale: float | None = None,
    keep_unlabelled: bool = False,
) -> None:
    """Write the galaxies in `pictures` as a dataset of composites.

    Parameters
    ----------
    to : the dataset to make.
    table, labels : what is known about the pictures; without them the set is unlabelled.
    id_column : the table's column of galaxy ids, if it is not one of the usual ones.
    pixel_scale : arcsec per pixel of the pictures, if they share one; without it radii stay unknown.
    keep_unlabelled : keep pictures that no label speaks about.

    Raises
    ------
    BadInput : two pictures of one name, duplicate ids, labels that match no picture, or no picture left.
    """
    by_stem = stems_of(pictures)
    known = know(table, labels, set(by_stem), id_column, report) if table is not None else Known()
    wanted = [name for name in by_stem if labels is None or keep_unlabelled or name in known.votes]
    for name in by_stem.keys() - set(wanted):
        report.skip("pictures without a label (--keep-unlabelled keeps them)", name)
    with GalaxiesWriter(to, "composite", about={"source": "pictures"}) as writer:
        stamps = cut_all([by_stem[name] for name in wanted])
        written = guessed = 0
        for name, stamp in zip(wanted, track(stamps, "Cutting out galaxies", len(wanted)), strict=True):
            if stamp.image is None:
                report.skip("pictures that cannot be read", by_stem[name].name)
                continue
            guessed += not stamp.found
            writer.add(_galaxy(name, survey, stamp, known, pixel_scale))
            written += 1
        if not written:
            raise BadInput(f"None of the {len(wanted)} pictures can be read, the first being '{pictures[0]}'.")
    report.say(f"{written:,} galaxies of {survey}.")
    if guessed:
        report.say(f"In {guessed} pictures no galaxy stands out at the centre; they are cut by their own size.")


def _galaxy(name: str, survey: str, stamp: Stamp, known: Known, pixel_scale: float | None) -> Galaxy:
    properties = dict(known.properties.get(name, {}))
    if pixel_scale is not None:
        properties["radius"] = stamp.radius * pixel_scale
        properties["pixel_scale"] = stamp.scale * pixel_scale
    ra, dec = known.positions.get(name, (np.nan, np.nan))
    if np.isnan(ra):
        ra, dec = position(name)
    assert stamp.image is not None
    return Galaxy(
        known.ids.get(name, name), survey, stamp.image, known.votes.get(name, empty_votes()), ra, dec, properties
    )


def know(table: Table, labels: Labels | None, stems: set[str], id_column: str | None, report: Report) -> Known:
    """Join a table, and the labels read from it, to the images called `stems`."""
    matched = match(table, stems, id_column, repeats=labels is not None and labels.repeats)
    for name in matched.lost:
        report.skip("labels without a picture", name)
    named = "" if matched.file_column == matched.id_column else f", galaxies by '{matched.id_column}'"
    report.say(f"Pictures are named by column '{matched.file_column}'{named}.")
    if labels is not None:
        names = table.text(matched.file_column)
        for row in np.flatnonzero(~labels.labelled):
            report.skip("labels without any vote", names[row])
    known = Known(ids=matched.ids)
    columns = {name: table.numbers(column) for name, column in _property_columns(table).items()}
    place = [table.find((name,)) for name in ("ra", "dec")]
    ra, dec = (np.full(len(table), np.nan) if name is None else table.numbers(name) for name in place)
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


def cut(path: Path) -> Stamp:
    """The stamp of the galaxy in one file; never raises for a bad one."""
    try:
        image, shape, scale = composite.stamp_from_file(path, STAMP_SIZE)
    except BadInput as error:
        return Stamp(None, error=str(error))
    return Stamp(image, shape.radius, scale, shape.found)


def cut_all(paths: list[Path], workers: int | None = None) -> Iterator[Stamp]:
    """`cut` for many files, in order, on all cores."""
    workers = min(workers or os.cpu_count() or 1, max(1, len(paths) // 32))
    if workers == 1:
        yield from map(cut, paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(cut, paths, chunksize=16)
