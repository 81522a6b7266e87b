"""Colour pictures of single galaxies, in files of their own or in Galaxy10's one file, as a galaxies dataset."""

import glob
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from morph.console import track
from morph.errors import InputError
from morph.parallel import map_processes
from morph.sizes import STAMP_SIZE
from morph.stamps import composite
from morph.stamps.flags import Flag
from morph.stamps.photometry import Shape
from training.importers import schemes
from training.importers.annotating import Tables
from training.importers.matching import join, position, stem, stems_of
from training.importers.tables import Table
from training.importers.writing import ImportedGalaxy, Report, write

#: Of a Galaxy10 file: columns beside the pictures and their classes, and pictures that are held in memory at once.
GALAXY10_PROPERTIES = ("ra", "dec", "redshift")
GALAXY10_CHUNK = 512
#: Pixels on a side in the first Galaxy10, of SDSS, whose classes have other meanings.
GALAXY10_SDSS_SIZE = 69


def expand(given: Iterable[str]) -> list[Path]:
    """Every path that `given` names; a name with ``*``, ``?`` or ``[`` is a pattern.

    InputError when a path does not exist or a pattern matches nothing.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.exists():
            found.append(path)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            what = "matches" if glob.has_magic(name) else "is at"
            raise InputError(
                f"Nothing {what} '{name}'; give image files, their folder, or a pattern such as 'images/*.png'."
            )
        found.extend(Path(match) for match in matches)
    return found


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
    tables: Tables = Tables(),
    pixel_scale: float | None = None,
    size: int = STAMP_SIZE,
) -> None:
    """Write the galaxies in `pictures` as a dataset of composites.

    Parameters
    ----------
    pictures : JPEG and PNG files of one galaxy each.
    to : the dataset to make.
    survey : that the pictures are from.
    report : collects what is understood and what is left out.
    tables : what is known about the pictures; without labels the dataset is unlabelled.
    pixel_scale : arcsec per pixel of the pictures, if they share one; without it radii stay unknown.
    size : pixels on a side of the stamps.

    Raises
    ------
    InputError : two pictures of one name, duplicate ids, labels that match no picture, or no picture left.
    """
    by_stem = stems_of(pictures)
    positions = {name: position(name) for name in by_stem}
    annotations = tables.annotations(positions, report)
    wanted = annotations.wanted(by_stem, tables.keep_unlabelled, report)
    galaxies = map_processes(
        partial(_cut_file, pixel_scale=pixel_scale, size=size), [by_stem[name] for name in wanted]
    )
    galaxies = track(galaxies, "Cutting out galaxies", len(wanted))
    write(galaxies, to, "composite", survey, annotations, None, report, size)


def _cut_file(path: Path, pixel_scale: float | None, size: int) -> ImportedGalaxy:
    """The galaxy in one file; never raises for a bad one."""
    name = stem(path.name)
    try:
        return _galaxy(name, *composite.stamp_from_file(path, size), pixel_scale)
    except InputError as error:
        return ImportedGalaxy(name, None, error=str(error))


def _galaxy(
    name: str, image: np.ndarray, shape: Shape, scale: float, flags: Flag, pixel_scale: float | None
) -> ImportedGalaxy:
    measured = {}
    if pixel_scale is not None:
        measured["pixel_scale"] = scale * pixel_scale
        if shape.found:
            measured["radius"] = shape.radius * pixel_scale
    return ImportedGalaxy(name, image, *position(name), measured, shape.found, flags)


def import_galaxy10(
    path: Path, to: Path, survey: str, report: Report, pixel_scale: float | None = None, size: int = STAMP_SIZE
) -> None:
    """Write the galaxies of a Galaxy10 DECaLS file (HDF5; Leung & Bovy) as a dataset of composites.

    Parameters
    ----------
    path : the file: `images` uint8 [n, h, w, 3], `ans` [n].
    to, survey, report, pixel_scale, size : as for `import_pictures`; the file's own pixel scales are used where it has
        them.

    Raises
    ------
    InputError : the file is damaged or is not Galaxy10 DECaLS's.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if not {"images", "ans"} <= file.keys() or file["images"].shape[0] != len(file["ans"]):
                raise InputError(
                    f"'{path}' is not Galaxy10's: it needs 'images' and as many 'ans' (it has {', '.join(file)})."
                )
            if file["images"].shape[1] == GALAXY10_SDSS_SIZE:
                raise InputError(
                    f"'{path}' is the first Galaxy10, of SDSS, whose ten classes mean other things; "
                    "get Galaxy10_DECals.h5."
                )
            count = len(file["ans"])
            names = [f"{path.stem}-{i:0{len(str(count - 1))}d}" for i in range(count)]
            columns = {"id": names, "ans": [str(answer) for answer in file["ans"][:]]}
            columns |= {name: file[name][:] for name in GALAXY10_PROPERTIES if name in file}
            table = Table(pa.table(columns), str(path))
            labels = schemes.galaxy10(table)
            assert labels is not None
            report.labels(labels)
            annotations = join(table, labels, dict.fromkeys(names, (np.nan, np.nan)), "id", report)
            scales = file["pxscale"][:] if "pxscale" in file else np.full(count, pixel_scale or np.nan)
            galaxies = track(_cut_rows(file["images"], names, scales, size), "Cutting out galaxies", count)
            write(galaxies, to, "composite", survey, annotations, None, report, size)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read as HDF5 ({error}); get it again.") from None


def _cut_rows(images, names: list[str], scales: np.ndarray, size: int) -> Iterator[ImportedGalaxy]:
    for start in range(0, len(names), GALAXY10_CHUNK):
        part = slice(start, start + GALAXY10_CHUNK)
        rows = list(zip(names[part], images[part], scales[part], strict=True))
        yield from map_processes(partial(_cut_row, size=size), rows)


def _cut_row(item: tuple[str, np.ndarray, float], size: int) -> ImportedGalaxy:
    name, pixels, pixel_scale = item
    image, shape, scale = composite.crop(pixels, size)
    flags = composite.flags_of(pixels, shape, scale, size)
    return _galaxy(name, image, shape, scale, flags, float(pixel_scale) if pixel_scale > 0 else None)
