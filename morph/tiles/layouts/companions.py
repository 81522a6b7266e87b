"""Masks and weights of an image: in its file by the names of the extensions, in its folder by the names of the files.

Weights come as inverse variances, variances or errors; all are read as inverse variances. Headers of masks name their
bits in three ways: ``MP_SAT = 1`` gives a bit's number (the pipeline of Rubin, to Data Preview 1, and of Hyper
Suprime-Cam; Bosch et al. 2018), ``MSKN0001 = 'SATURATED'`` with ``MSKM0001 = 2`` its name and value (Rubin from Data
Preview 2 on, package lsst.images), and ``MSKNAM05 = 'SAT'`` with ``MSKVAL05 = 32`` likewise (Pan-STARRS).
"""

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from astropy.io import fits

from morph.fits import headers
from morph.fits.images import Image, Plane
from morph.fits.planes import Planes
from morph.fits.rows import Inverse


class Content(enum.Enum):
    """The part of a tile that a file holds."""

    IMAGE = "image"
    MASK = "mask"
    #: Inverse variances, or what is proportional to them.
    WEIGHTS = "weights"
    VARIANCE = "variance"
    ERRORS = "errors"
    #: A catalogue, a model, a segmentation map: a survey's file that is not read here.
    OTHER = "other"


#: Kinds of weights, and how they are turned into inverse variances.
WEIGHTS = {Content.WEIGHTS: None, Content.VARIANCE: Inverse(1), Content.ERRORS: Inverse(2)}

#: Names of extensions with weights: of DES, Hubble (WHT), Rubin (VARIANCE), Webb (ERR), Euclid (RMS).
EXTENSIONS = {
    **dict.fromkeys(("WGT", "WHT", "WEIGHT", "INVVAR", "IVAR"), Content.WEIGHTS),
    **dict.fromkeys(("VARIANCE", "VAR"), Content.VARIANCE),
    **dict.fromkeys(("ERR", "ERROR", "RMS", "SIGMA"), Content.ERRORS),
}

#: UTYPE in the extension UNCERT of astropy's CCDData.
UNCERTAINTIES = {
    "InverseVariance": Content.WEIGHTS,
    "VarianceUncertainty": Content.VARIANCE,
    "StdDevUncertainty": Content.ERRORS,
}


def as_weights(plane: Plane, content: Content) -> Plane:
    """A plane of weights of some kind, as inverse variances."""
    scaling = WEIGHTS[content]
    return plane if scaling is None else plane.scaled(scaling)


def weights_among(images: Sequence[Image], science: Plane) -> Plane | None:
    """The inverse variances of an image among its file's extensions; None where there are none of its shape.

    Errors and variances come first: the weights of a coadd of exposures may be exposure times.
    """
    order = (Content.ERRORS, Content.VARIANCE, Content.WEIGHTS)
    found = {
        content: image.plane
        for image in reversed(images)
        if image.plane.shape == science.shape and (content := _kind(image)) is not None
    }
    return next((as_weights(found[content], content) for content in order if content in found), None)


#: Names of extensions that are masks.
MASKS = ("MSK", "MASK", "DQ", "FLAG", "FLAGS", "BPM")

#: Names of extensions that are neither images of the sky nor weights: masks, and what describes the image.
NOT_SKY = (*MASKS, "UNCERT", "CON", "WMAP", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")


def is_companion(image: Image) -> bool:
    """Whether an extension holds the mask or the weights of an image, by its name."""
    return image.name in NOT_SKY or image.name in EXTENSIONS


def unread_masks(names: Iterable[str]) -> tuple[str, ...]:
    """A note on masks whose bits nothing describes, by their names; nothing where there are none."""
    listed = ", ".join(sorted(set(names)))
    return (
        (f"Masks whose bits nothing describes are not read ({listed}): bad pixels count as good.",) if listed else ()
    )


def note_unread_masks(planes: Planes, images: Sequence[Image]) -> Planes:
    """The planes of one band with a note of the masks among its file's extensions that are not read."""
    used = planes.mask
    names = (i.name for i in images if i.name in MASKS and i.plane.shape == planes.shape and i.plane is not used)
    return replace(planes, notes=(*planes.notes, *unread_masks(f"extension {name}" for name in names)))


def _kind(image: Image) -> Content | None:
    if image.name == "UNCERT":
        return UNCERTAINTIES.get(str(headers.value(image.header, "UTYPE")))
    return EXTENSIONS.get(image.name)


_NAME = re.compile(r"^(?:MSKN(?P<rubin>\d{4})|MSKNAM(?P<panstarrs>\d{2}))$")


#: Names of bits of pixels that are saturated. Rubin's images have values there, from neighbouring pixels, that are not
#: to be trusted in a galaxy, but are no holes.
SATURATED = ("SAT", "SATURATED")


#: Names of bits of pixels whose values are not those of the sky. Others are no reason to leave a pixel out: detected
#: sources, interpolated pixels and cosmic rays (which are interpolated), exposures that were left out of a coadd.
BAD = ("BAD", "NO_DATA", "UNMASKEDNAN")


def named_bits(header: fits.Header) -> dict[str, int]:
    """The bits that the header of a mask names: {name: value}, several bits where one name stands for them."""
    bits: dict[str, int] = {}
    for key in header:
        if key.startswith("MP_"):
            number = headers.number(header, key)
            if number is not None and 0 <= number < 64:
                bits[key[3:]] = 1 << int(number)
        elif match := _NAME.match(key):
            value = f"MSKM{match['rubin']}" if match["rubin"] else f"MSKVAL{match['panstarrs']}"
            if (number := headers.number(header, value)) is not None:
                bits[str(headers.value(header, key))] = int(number)
    return bits


def values_of(bits: dict[str, int], names: Iterable[str]) -> int:
    """The bits of some names together."""
    found = 0
    for name in names:
        found |= bits.get(name, 0)
    return found
