"""Image files of single galaxies, as stamps for the model."""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from morph.errors import InputError
from morph.stamps import composite


@dataclass(frozen=True)
class Picture:
    """One galaxy: `image` is uint8 (a composite) or float32 (flux) [size, size, 3]; `flags` are the
    names of its quality flags (`morph.stamps.flags.Flag`).

    Flux has `zero_points`, {band: (AB magnitude of one count, NaN where unknown; its source)}, `notes` on how its
    files were read, one sentence each, and its `position`, right ascension and declination in degrees, where the
    files' coordinates give it.
    """

    id: str
    image: np.ndarray
    flags: tuple[str, ...] = ()
    zero_points: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    position: tuple[float, float] | None = None


@dataclass(frozen=True)
class FitsLayout:
    """What FITS headers may leave out; see `morph.stamps.cutout_files.read_cutouts`.

    Attributes
    ----------
    survey : the survey whose bands fill the channels; that of the files if None.
    bands : of a cube's planes, or of a file's images, in order, such as "grz".
    zero_point : AB magnitude of one count; "none" to go on without.
    unit : of the pixels, such as "nJy".
    """

    survey: str | None = None
    bands: str | None = None
    zero_point: float | str | None = None
    unit: str | None = None


def find_pictures(names: Sequence[str]) -> tuple[list[list[Path]], list[InputError]]:
    """The files of each galaxy that files, folders and globs name, and the errors of the other names.

    A JPEG or PNG is a galaxy; FITS files are grouped as `morph.stamps.cutout_files.find_cutouts` groups them.
    """
    files: list[Path] = []
    complaints: list[InputError] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if is_picture(child))
            problem = f"The folder '{name}' contains no JPEG, PNG or FITS image."
        elif path.exists() or not glob.has_magic(name):
            found = [path]
        else:
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if is_picture(Path(match))]
            problem = f"No JPEG, PNG or FITS image matches '{name}'."
        if not found:
            complaints.append(InputError(problem))
        for file in found:
            if file.is_file():
                files.append(file)
            else:
                complaints.append(InputError(f"The image '{file}' does not exist."))
    in_fits = [file for file in files if _is_fits(file)]
    groups = [[file] for file in files if not _is_fits(file)]
    if in_fits:
        from morph.stamps.cutout_files import find_cutouts

        groups += find_cutouts(in_fits)
    return groups, complaints


def read_pictures(groups: Sequence[Sequence[Path]], size: int, layout: FitsLayout) -> Iterator[Picture | InputError]:
    """The galaxies in each group of files, cut to their own size.

    Parameters
    ----------
    groups : the files of each galaxy, as `find_pictures` returns them.
    size : side of the model's stamps, in pixels.
    layout : what FITS headers leave out.

    Yields
    ------
    A `Picture`, or in the place of an unreadable one its InputError.
    """
    stems = [path.stem for (path, *_) in groups]
    for group in groups:
        path = group[0]
        try:
            if _is_fits(path):
                yield from _read_fits(group, size, layout)
            else:
                # Two folders may hold a galaxy of one name each.
                name = path.stem if stems.count(path.stem) == 1 else str(path)
                stamp, _, _, flags = composite.stamp_from_file(path, size)
                if flags & composite.Flag.NO_DATA:
                    raise InputError(f"'{path}' shows nothing but one colour where its galaxy should be.")
                yield Picture(name, stamp, _names(flags))
        except InputError as error:
            yield error


def cut(image: np.ndarray, size: int, survey: str) -> Picture:
    """Cut an array to the size of the galaxy at its centre, as images in files are.

    Parameters
    ----------
    image : a composite (uint8) or flux (float32), [height, width, 3].
    size : side of the model's stamps, in pixels.
    survey : the survey of the flux.

    Returns
    -------
    A `Picture` without a name.

    Raises
    ------
    InputError : when the array is too small to contain a galaxy.
    """
    if min(image.shape[:2]) < composite.SMALLEST_CROP:
        least = composite.SMALLEST_CROP
        raise InputError(
            f"An image of {image.shape[1]} x {image.shape[0]} px; a galaxy needs at least {least} x {least}."
        )
    if image.dtype == np.uint8:
        stamp, shape, scale = composite.crop(image, size)
        return Picture("", stamp, _names(composite.flags_of(image, shape, scale, size)))
    from morph.fits.blank_pixels import mask_blank
    from morph.stamps.cutout_files import Cutout

    made = Cutout("", survey, mask_blank(image), pixel_scale=1.0).stamp(size)
    return Picture("", made.image, _names(made.flags))


def _read_fits(group: Sequence[Path], size: int, layout: FitsLayout) -> Iterator[Picture | InputError]:
    from morph.fits.zero_points import Calibration
    from morph.stamps.cutout_files import read_cutouts
    from morph.stamps.flags import Flag

    calibration = Calibration.parse(layout.zero_point, layout.unit)
    for cutout in read_cutouts(group, layout.survey, layout.bands, calibration):
        stamp = cutout.stamp(size)
        if stamp.flags & Flag.NO_DATA:
            yield InputError(
                f"'{group[0]}' ({cutout.id}) has no data where its galaxy should be: its pixels there are blank, "
                "masked, or one number repeated."
            )
        else:
            points = {band: (point.magnitude, point.source) for band, point in cutout.zero_points.items()}
            position = (cutout.ra, cutout.dec) if np.isfinite([cutout.ra, cutout.dec]).all() else None
            yield Picture(cutout.id, stamp.image, _names(stamp.flags), points, cutout.notes, position)


def _names(flags: Iterable) -> tuple[str, ...]:
    return tuple(str(flag.name).lower() for flag in flags)


def is_picture(path: Path) -> bool:
    """Whether this is a JPEG, PNG or FITS file."""
    return path.suffix.lower() in composite.SUFFIXES or _is_fits(path)


def _is_fits(path: Path) -> bool:
    if path.suffix.lower() in composite.SUFFIXES:
        return False
    # Loads astropy, which pictures alone do not need.
    from morph.fits.planes import is_fits

    return is_fits(path)
