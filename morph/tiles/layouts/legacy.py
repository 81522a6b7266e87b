"""The DESI Legacy Surveys' bricks (DR1 to DR10, north and south): a file for every band and plane.

``legacysurvey-0001p000-image-r.fits.fz`` is band r of brick 0001p000; its inverse variance is in ``-invvar-r``, and
one ``-maskbits`` file serves all bands. Files and bits: https://www.legacysurvey.org/dr10/files, .../dr10/bitmasks.
"""

import re
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.planes import BANDS, stem_of
from morph.fits.wcs import Bounds
from morph.surveys import NANOMAGGY_ZERO_POINT
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(r"^(?:legacysurvey|decals)-(?P<brick>\d{4}[pm]\d{3})-(?P<content>\w+?)(?:-(?P<band>\w+))?$")

#: Bits of the maskbits: a pixel bad in all exposures of a band (ALLMASK), and saturated in one of them (SATUR). The
#: others are no defects of pixels: near a bright star, in a large galaxy, beyond the brick.
ALLMASK = {"g": 1 << 5, "r": 1 << 6, "z": 1 << 7, "i": 1 << 15}
SATUR = {"g": 1 << 2, "r": 1 << 3, "z": 1 << 4, "i": 1 << 14}

#: No brick is higher than this, degrees; DR1's headers have right ascensions for the bounds in declination.
LARGEST_BRICK = 0.3


class LegacySurveys(Layout):
    """Bricks of 3600 x 3600 pixels, which overlap their neighbours."""

    survey = "decals"
    zero_point = NANOMAGGY_ZERO_POINT
    partitioned = True

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        brick, content, band = match["brick"], match["content"], match["band"]
        if content in ("image", "invvar") and band and band in BANDS:
            return ParsedName(brick, band, Content.IMAGE if content == "image" else Content.WEIGHTS)
        if content == "maskbits" and band is None:
            return ParsedName(brick, None, Content.MASK)
        return ParsedName(brick, None, Content.OTHER)

    def bits(self, band: str) -> tuple[int, int]:
        return ALLMASK.get(band, 0), SATUR.get(band, 0)

    def bounds(self, header: fits.Header) -> Bounds | None:
        bounds = [headers.number(header, key) for key in ("RAMIN", "RAMAX", "DECMIN", "DECMAX")]
        if None in bounds:
            return None
        west, east, south, north = (float(bound) for bound in bounds if bound is not None)
        if not 0 < north - south < LARGEST_BRICK:
            return None
        return (west, east), (south, north)
