"""Stacks of the Dark Energy Camera's Community Pipeline (NOIRLab), and cutouts of its single exposures.

``c4d_170122_041235_osi_g_v1.fits.fz`` is band g of a stack whose first exposure began at that time; ``osd`` is its
mask, ``osw`` its weight. Other letters are other products: ``ooi`` is a single exposure, ``ose`` a map of exposure
times. Stacks of one field in several bands have times of their own and one reference point on the sky. MAGZERO is the
magnitude of one count. From version 3.5 of the pipeline on, a mask holds one number a pixel and not bits: 1 bad, 2 no
value, 3 saturated, 4 bleed trail, 5 cosmic ray, 6 low weight, 7 different from other exposures, 8 long streak; before,
1 was no data. A cutout of an exposure has the planes SCI, MSK and WGT in one file, and its header. Valdes, Gruendl et
al. (2014), ASP Conf. 485, 379; NOIRLab Data Handbook, chapter 4;
https://community.lsst.org/t/decam-data-quality-masks/133.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.images import Image
from morph.fits.planes import Planes, stem_of
from morph.fits.rows import Bit
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^c4d_(?P<time>\d{6}_\d{6})_os(?P<content>[a-z])_(?P<band>[ugrizY]|VR|N\d{3})(?:_(?P<version>[\w.-]+))?$"
)
CONTENTS = {"i": Content.IMAGE, "d": Content.MASK, "w": Content.WEIGHTS}

#: Numbers of a mask as bits: bad, without a value, saturated, in the bleed trail of a saturated star, and what a stack
#: leaves out of its exposures: hit by a cosmic ray, of low weight, in a long streak such as a satellite's.
BAD, NO_VALUE, SATURATED, BLEED, COSMIC_RAY, LOW_WEIGHT, STREAK = (1 << number for number in (1, 2, 3, 4, 5, 6, 8))

#: The first version of the pipeline whose masks hold numbers.
FIRST_WITH_NUMBERS = (3, 5)


class DECam(Layout):
    """Stacks of fields, which overlap as their programmes would have it."""

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        content = CONTENTS.get(match["content"], Content.OTHER)
        band = band_called(match["band"]) or match["band"]
        return ParsedName(
            f"c4d_{match['time']}@{match['version'] or ''}", None if content is Content.OTHER else band, content
        )

    def name(self, path: Path) -> str:
        return super().name(path).partition("@")[0]

    def field(self, header: fits.Header) -> tuple[float, ...] | None:
        place = [headers.number(header, key) for key in ("CRVAL1", "CRVAL2")]
        return None if None in place else tuple(round(float(angle), 5) for angle in place if angle is not None)

    def recognises(self, header: fits.Header) -> bool:
        return _product(header) in ("STACKED", "INSTCAL") and str(headers.value(header, "INSTRUME")).upper() == "DECAM"

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def beside(self, image: Image, content: Content) -> Image:
        return replace(image, plane=image.plane.scaled(Bit())) if content is Content.MASK else image

    def planes(self, images: Sequence[Image]) -> Planes:
        planes = super().planes(images)
        if planes.mask is None or not _has_numbers(planes.header):
            return planes
        bad, saturated = self.bits("")
        if _product(planes.header) == "INSTCAL":
            bad |= COSMIC_RAY | LOW_WEIGHT | STREAK
        return replace(planes, mask=planes.mask.scaled(Bit()), bad_bits=bad, saturated_bits=saturated)

    def bits(self, band: str) -> tuple[int, int]:
        return BAD | NO_VALUE, SATURATED | BLEED


def _product(header: fits.Header) -> str:
    """What the pipeline calls the product: STACKED, or INSTCAL for an exposure that is calibrated."""
    return str(headers.value(header, "PROCTYPE")).upper()


def _has_numbers(header: fits.Header) -> bool:
    """Whether the mask of an image with this header holds numbers: those of all but old versions do."""
    version = re.match(r"V?(\d+)\.(\d+)", str(headers.value(header, "PLVER")))
    return version is None or (int(version[1]), int(version[2])) >= FIRST_WITH_NUMBERS
