"""FITS images of single galaxies, in files of their own or in cubes, as a galaxies dataset of flux."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from morph.console import track
from morph.dataset_writer import PROPERTIES
from morph.errors import InputError
from morph.fits.planes import Planes, is_fits
from morph.fits.zero_points import HEADERS, Calibration, describe
from morph.parallel import map_processes
from morph.sizes import STAMP_SIZE
from morph.stamps.cutout_files import Cutout, find_cutouts, read_cutouts
from morph.tiles.tile import tile_name
from training.importers.annotating import Tables
from training.importers.matching import position
from training.importers.writing import Annotations, ImportedGalaxy, Report, write

#: An image of one galaxy with more pixels on a side than this is a tile that lacks its catalogue.
LARGEST = 2048


@dataclass(frozen=True)
class Headers:
    """What the user states about the files; their headers give the rest.

    `bands` are those of a cube's planes, such as "grz"; `pixel_scale` is in arcsec.
    """

    survey: str
    bands: str | None = None
    calibration: Calibration = HEADERS
    pixel_scale: float | None = None


def find_fits(paths: Iterable[Path], leave: Sequence[Path | None] = ()) -> list[Path]:
    """The FITS files among `paths` and below the folders among them, sorted; without `leave`, which are tables."""
    found: set[Path] = set()
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        found.update(one for one in inside if is_fits(one) and one.is_file())
    tables = {path.resolve() for path in leave if path is not None}
    return sorted(path for path in found if path.resolve() not in tables)


def import_cutouts(
    paths: Sequence[Path],
    to: Path,
    headers: Headers,
    report: Report,
    tables: Tables = Tables(),
    size: int = STAMP_SIZE,
) -> None:
    """Write the galaxies in FITS files as a dataset of flux. A file that cannot be used is reported and left out.

    Parameters
    ----------
    paths : FITS files, or folders of them.
    headers : survey, bands, calibration and pixel scale, where the user states them.
    to, report, tables, size : as for `training.importers.pictures.import_pictures`.

    Raises
    ------
    InputError : no file can be used, two galaxies have one name, or labels match no image.
    """
    groups = find_cutouts(paths)
    _refuse_same_names(groups)
    annotations, keep = Annotations(), None
    if tables != Tables():
        names = [_names(group, headers) for group in groups]
        annotations = tables.annotations({name: position(name) for name in chain(*names)}, report)
        keep = set(annotations.wanted(chain(*names), tables.keep_unlabelled, report))
        groups = [group for group, inside in zip(groups, names, strict=True) if keep.intersection(inside)]
    stamps = map_processes(partial(_cut, headers=headers, size=size), groups)
    tracked = chain.from_iterable(track(stamps, "Cutting out galaxies", len(groups)))
    write(tracked, to, "flux", headers.survey, annotations, keep, report, size)


def _refuse_same_names(groups: list[list[Path]]) -> None:
    by_name: dict[str, Path] = {}
    for group in groups:
        other = by_name.setdefault(tile_name(group), group[0])
        if other != group[0]:
            raise InputError(
                f"'{other}' and '{group[0]}' are both called '{tile_name(group)}'; every galaxy needs its own name."
            )


def _names(group: list[Path], headers: Headers) -> list[str]:
    """The names of the galaxies in one group of files; only a cube has to be read for them."""
    try:
        if len(Planes.open(group[0]).shape) == 2:
            return [tile_name(group)]
        return [cutout.id for cutout in _read(group, headers)]
    except InputError:
        return [tile_name(group)]  # cutting it reports what is wrong


def _read(group: list[Path], headers: Headers) -> list[Cutout]:
    shape = Planes.open(group[0]).shape
    if max(shape[-2:]) > LARGEST:
        raise InputError(
            f"'{group[0]}' has {shape[-1]} x {shape[-2]} pixels, a tile and not one galaxy; "
            "name its galaxies with --catalog, or find them with --detect."
        )
    return read_cutouts(group, headers.survey, headers.bands, headers.calibration, headers.pixel_scale)


def _cut(group: list[Path], headers: Headers, size: int) -> list[ImportedGalaxy]:
    """The stamps of the galaxies in one group of files; never raises for a bad one."""
    try:
        return [_stamp(cutout, size) for cutout in _read(group, headers)]
    except InputError as error:
        return [ImportedGalaxy(tile_name(group), None, error=str(error))]


def _stamp(cutout: Cutout, size: int) -> ImportedGalaxy:
    stamp = cutout.stamp(size)
    bands = zip(cutout.channels, stamp.magnitudes, strict=True)
    properties = {f"mag_{band}": value for band, value in bands if f"mag_{band}" in PROPERTIES}
    properties["pixel_scale"] = stamp.pixel_scale
    if stamp.shape.found:
        properties["radius"] = stamp.radius
    place = (cutout.ra, cutout.dec) if np.isfinite(cutout.ra) else position(cutout.id)
    words = describe(cutout.zero_points)
    return ImportedGalaxy(
        cutout.id,
        stamp.image,
        *place,
        properties,
        stamp.shape.found,
        stamp.flags,
        zero_points=words,
        notes=cutout.notes,
    )
