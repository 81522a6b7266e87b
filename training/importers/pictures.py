"""Colour pictures of single galaxies, and what is known about them, as a galaxies dataset."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from morph.console import track
from morph.errors import InputError
from morph.parallel import map_processes
from morph.sizes import STAMP_SIZE
from morph.stamps import composite
from morph.stamps.flags import Flag
from morph.stamps.photometry import Shape
from training.importers.annotations import Known, know
from training.importers.labels import Labels
from training.importers.matching import position, stem, stems_of
from training.importers.report import Report
from training.importers.stamps import Stamp, write
from training.importers.tables import Table


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
    InputError : two pictures of one name, duplicate ids, labels that match no picture, or no picture left.
    """
    by_stem = stems_of(pictures)
    positions = {name: position(name) for name in by_stem}
    known = know(table, labels, positions, id_column, report) if table is not None else Known()
    wanted = known.wanted(by_stem, keep_unlabelled, report)
    stamps = map_processes(partial(_cut_file, pixel_scale=pixel_scale), [by_stem[name] for name in wanted])
    write(track(stamps, "Cutting out galaxies", len(wanted)), to, "composite", survey, known, None, report)


def cut(name: str, pixels: np.ndarray, pixel_scale: float | None) -> Stamp:
    """The stamp of the galaxy in one picture (uint8 [h, w, 3], `pixel_scale` arcsec per pixel if known)."""
    image, shape, scale = composite.crop(pixels, STAMP_SIZE)
    return _stamp(name, image, shape, scale, composite.flags_of(pixels, shape, scale, STAMP_SIZE), pixel_scale)


def _cut_file(path: Path, pixel_scale: float | None) -> Stamp:
    """As `cut`, for a file; never raises for a bad one."""
    name = stem(path.name)
    try:
        return _stamp(name, *composite.stamp_from_file(path), pixel_scale)
    except InputError as error:
        return Stamp(name, None, error=str(error))


def _stamp(name: str, image: np.ndarray, shape: Shape, scale: float, flags: Flag, pixel_scale: float | None) -> Stamp:
    ra, dec = position(name)
    measured = {}
    if pixel_scale is not None:
        measured["pixel_scale"] = scale * pixel_scale
        if shape.found:
            measured["radius"] = shape.radius * pixel_scale
    return Stamp(name, image, ra, dec, measured, shape.found, flags)
