"""Several images in one file: the planes of a cube, or extensions, of which each is a band.

Which band each is comes from the caller, who names them in order, from the header (BANDS or BAND0, BAND1 ... of a
cube; BAND or FILTER of an extension), or from the names of the extensions. Nothing is taken by its order alone: a file
whose images cannot be identified is refused.
"""

from collections.abc import Sequence
from pathlib import Path

from morph.errors import InputError
from morph.fits import headers
from morph.fits.headers import band_of
from morph.fits.images import Image
from morph.fits.planes import BANDS, Planes
from morph.tiles.layouts.companions import is_companion

#: Names of extensions that are images of the sky, before any others in their file.
SCIENCE = ("SCI", "IMAGE")


def cube_bands(planes: Planes, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """The bands along a cube's first axis; none when that axis is not one of bands.

    Parameters
    ----------
    labels : the caller's names of them, in order.

    Raises InputError when their number is not that of the planes.
    """
    if len(planes.shape) != 3:
        return ()
    header = planes.header
    in_header = str(headers.value(header, "BANDS") or "").replace(",", " ").split()
    bands = tuple(labels) if len(labels) > 1 else tuple(in_header if len(in_header) > 1 else "".join(in_header))
    if not bands and "BAND0" in header:
        bands = tuple(str(headers.value(header, f"BAND{i}") or "?") for i in range(planes.shape[0]))
    if bands and len(bands) != planes.shape[0]:
        raise InputError(
            f"'{planes.path}' has {planes.shape[0]} planes and {len(bands)} bands are named ({', '.join(bands)}); "
            "name one band a plane with --bands."
        )
    return bands


def of_cube(planes: Planes, labels: Sequence[str] = ()) -> dict[str | None, Planes]:
    """The bands in a cube of one field; the cube itself where its planes are not bands, or it is an image."""
    bands = cube_bands(planes, labels)
    if bands:
        return {band: planes.at(index) for index, band in enumerate(bands)}
    if len(planes.shape) == 3 and planes.shape[0] == 1:
        planes = planes.at(0)
    return {labels[0] if len(labels) == 1 else None: planes}


def by_band(images: Sequence[Image], path: Path, labels: Sequence[str] = ()) -> dict[str | None, list[Image]]:
    """The images of a file, by band.

    Parameters
    ----------
    images : of the file, in order.
    labels : the caller's names of their bands, in order.

    Returns
    -------
    {band: the image, and the masks and weights that belong to it}; None is the only band of a file.

    Raises
    ------
    InputError : there are several images whose bands are not known.
    """
    science = [image for image in images if not is_companion(image)] or list(images[:1])
    named = [image for image in science if image.name in SCIENCE]
    if len(named) == 1 or (named and len(labels) != len(science)):
        science = named
    if len(science) == 1:
        return {None: [science[0], *(image for image in images if is_companion(image))]}
    bands = list(labels) if len(labels) == len(science) else [_band(image) for image in science]
    if None in bands or len(set(bands)) < len(bands):
        raise _ambiguous(science, path)
    return {
        band: [image, *(one for one in images if is_companion(one) and _together(one, image, band))]
        for band, image in zip(bands, science, strict=True)
    }


def _band(image: Image) -> str | None:
    """The band of an extension: by its name, such as G, or else by its header."""
    letter = image.name.lower() if len(image.name) == 1 else ""
    return ("Y" if letter == "y" else letter) if letter in BANDS else band_of(image.header)


def _together(companion: Image, image: Image, band: str | None) -> bool:
    """Whether a mask or weights belong to an image: both of one band, or else of one EXTVER."""
    own = band_of(companion.header)
    return own == band if own else companion.version == image.version


def _ambiguous(images: Sequence[Image], path: Path) -> InputError:
    places = {
        tuple(headers.number(image.header, key) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"))
        for image in images
        if headers.number(image.header, "CRVAL1") is not None
    }
    if len(places) > 1:
        return InputError(f"'{path}' holds {len(places)} images of different sky; give one image a file.")
    names = ", ".join(image.name or "without a name" for image in images)
    return InputError(
        f"'{path}' holds {len(images)} images ({names}) whose bands neither names nor headers give; name them "
        "in order with --bands, name the extensions SCI, MSK and WGT, or give one image a file."
    )
