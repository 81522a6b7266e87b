"""The Dark Energy Survey's coadds (DR1, DR2): one file a band, with SCI, MSK and WGT planes.

``DES0000-4206_r4163p01_g.fits.fz`` is band g of tile DES0000-4206, made by processing run r4163p01. Release, header
and mask: Abbott et al. (2018, 2021); Morganson et al. (2018); `coadd_assemble` in the survey's package despyfits.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.planes import BANDS, Planes, stem_of
from morph.fits.wcs import Bounds
from morph.tiles.layouts.layout import Content, Layout, ParsedName

#: A tile's name, the processing run that release files append, and what follows.
_NAME = re.compile(r"^(?P<tile>DES\d{4}[+-]\d{4})(?P<run>_r\d+p\d+)?_(?P<rest>.+)$")
_TILENAME = re.compile(r"^DES\d{4}[+-]\d{4}$")

#: Distance of the tiles' centres in declination, degrees, and in right ascension on the circle of the centres; the
#: images of 10,000 pixels are larger by 0.0167 degrees and overlap. All 10,169 centres of DR2 lie so to 1e-6 degrees.
SPACING = 2570 / 3600


class DES(Layout):
    """DES coadds; cutouts of them that keep their headers have the tiles' unique area too."""

    survey = "des"
    zero_point = 30.0
    partitioned = True

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        tile = match["tile"] + (match["run"] or "")
        # Beside the coadds lie catalogues, PSF models, detection images and coadds with another sky (`_g_nobkg`).
        return ParsedName(tile, match["rest"]) if match["rest"] in BANDS else ParsedName(tile, None, Content.OTHER)

    def name(self, path: Path) -> str:
        return super().name(path).partition("_")[0]

    def tilename(self, header: fits.Header, name: str) -> str:
        return str(headers.value(header, "TILENAME") or name)

    def images(self, path: Path, labels: Sequence[str] = ()) -> dict[str | None, Planes]:
        # The survey's `coadd_assemble` marks in MSK what has no weight in any exposure. WGT adds up the same weights
        # and those of bad pixels on bright stars, so it is 0 nowhere else: a third of the reading is saved.
        return {band: replace(planes, mask_is_whole=True) for band, planes in super().images(path, labels).items()}

    def bounds(self, header: fits.Header) -> Bounds | None:
        return unique_area(header)


def unique_area(header: fits.Header) -> Bounds | None:
    """The unique area of the DES tile whose header this is.

    Bounded by URAMIN, URAMAX, UDECMIN and UDECMAX where they were added to the header (they are columns of the
    survey's tile table), or else half way to the centres (RA_CENT, DEC_CENT) of the neighbours. None where the header
    has neither, or is not a DES tile's.
    """
    if not _TILENAME.match(str(headers.value(header, "TILENAME"))):
        return None
    bounds = [headers.number(header, key) for key in ("URAMIN", "URAMAX", "UDECMIN", "UDECMAX")]
    if None not in bounds:
        west, east, south, north = (float(bound) for bound in bounds if bound is not None)
        return (west, east), (south, north)
    middle_ra, middle_dec = (headers.number(header, key) for key in ("RA_CENT", "DEC_CENT"))
    if middle_ra is None or middle_dec is None:
        return None
    half = SPACING / 2
    width = half / math.cos(math.radians(middle_dec))
    return (middle_ra - width, middle_ra + width), (middle_dec - half, middle_dec + half)
