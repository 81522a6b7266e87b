"""Euclid's MER mosaics (Quick Release Q1 and later): one file a band, all bands of a tile on one grid of 0.1 arcsec.

``EUC_MER_BGSUB-MOSAIC-VIS_TILE102018211-ACBD03_20241018T142710.276838Z_00.00.fits`` is band VIS of tile 102018211, the
sky subtracted. ``EUC_MER_MOSAIC-VIS-RMS_TILE...`` holds its errors and ``-FLAG_TILE...`` its flags. Beside VIS and
NISP's Y, J and H lie ground-based images on the same grid: DES in the south, others in the north. MAGZERO in each
header is the AB magnitude of one count. Romelli et al. (2025), A&A; product description https://euclid.esac.esa.int/dr/q1/dpdd.
"""

import re
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.planes import stem_of
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^EUC_MER_(?P<sky>BGSUB-)?MOSAIC-(?P<band>VIS|NIR-?[YJH]|[A-Z]+-?[UGRIZY])(?:-(?P<content>RMS|FLAG))?"
    r"_TILE(?P<tile>\d+)-"
)

#: Bits of VIS's flags: a pixel that must not be used (INVALID), without data (NO_DATA), and saturated (SAT).
INVALID, SAT, NO_DATA = 1 << 0, 1 << 3, 1 << 22


class Euclid(Layout):
    """Euclid's mosaics: VIS in r's place, and ground-based g and i where they are there.

    VIS is a single band from 0.55 to 0.9 micrometres, which covers r, i and part of z. Y, J and H are not read: no
    model here was trained on infrared images.
    """

    survey = "euclid"

    def parse_name(self, path: Path) -> ParsedName | None:
        stem = stem_of(path)
        match = _NAME.match(stem)
        if not match:
            return ParsedName(stem, None, Content.OTHER) if stem.startswith("EUC_") else None
        name = match["band"]
        letter = re.fullmatch(r"[A-Z]+?-?([UGRIZY])", name)
        band = band_called(name) or (letter[1].lower() if letter else None)
        if match["sky"] and match["content"] is None:
            return ParsedName(match["tile"], band)
        if match["content"] == "RMS":
            return ParsedName(match["tile"], band, Content.ERRORS)
        # What the flags of other bands' mosaics mean is not published with them.
        if match["content"] == "FLAG" and band == "VIS":
            return ParsedName(match["tile"], band, Content.MASK)
        return ParsedName(match["tile"], None, Content.OTHER)

    def recognises(self, header: fits.Header) -> bool:
        return str(headers.value(header, "TELESCOP")).upper() == "EUCLID"

    def bits(self, band: str) -> tuple[int, int] | None:
        return (INVALID | NO_DATA, SAT) if band == "VIS" else (0, 0)
