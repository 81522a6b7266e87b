"""Stacks of the Dark Energy Camera's Community Pipeline (NOIRLab).

``c4d_170122_041235_osi_g_v1.fits.fz`` is band g of a stack whose first exposure began at that time; ``osd`` is its
mask, ``osw`` its weight. Other letters are other products: ``ooi`` is a single exposure, ``ose`` a map of exposure
times. Stacks of one field in several bands have times of their own and one reference point on the sky. MAGZERO is the
magnitude of one count. From version 3.5 of the pipeline on, a mask holds one number a pixel and not bits: 1 bad, 2 no
value, 3 saturated, 4 bleed trail, 5 cosmic ray and more; before, 1 was no data. Valdes, Gruendl et al. (2014), ASP
Conf. 485, 379; NOIRLab Data Handbook, chapter 4; https://community.lsst.org/t/decam-data-quality-masks/133.
"""

import re
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.images import Image
from morph.fits.planes import stem_of
from morph.fits.rows import Bit
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^c4d_(?P<time>\d{6}_\d{6})_os(?P<content>[a-z])_(?P<band>[ugrizY]|VR|N\d{3})(?:_(?P<version>[\w.-]+))?$"
)
CONTENTS = {"i": Content.IMAGE, "d": Content.MASK, "w": Content.WEIGHTS}

#: Numbers of a mask as bits: bad, without a value, saturated, in the bleed trail of a saturated star.
BAD, NO_VALUE, SATURATED, BLEED = (1 << number for number in (1, 2, 3, 4))


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
        stacked = str(headers.value(header, "PROCTYPE")).upper() == "STACKED"
        return stacked and str(headers.value(header, "INSTRUME")).upper() == "DECAM"

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def beside(self, image: Image, content: Content) -> Image:
        return replace(image, plane=image.plane.scaled(Bit())) if content is Content.MASK else image

    def bits(self, band: str) -> tuple[int, int]:
        return BAD | NO_VALUE, SATURATED | BLEED
