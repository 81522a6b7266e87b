"""The Kilo-Degree Survey's coadds (ESO data releases 3 to 5): one file a band, in flux of magnitude 0.

``KiDS_DR4.0_180.0_-0.5_r_sci.fits`` is band r of the tile at right ascension 180.0, declination -0.5; ``_wei.fits``
has its weights. The header's zero point is 0, and that is meant: magnitude = -2.5 log10(counts). The flag images
(``_msk``) mark whole areas around bright stars; they are not read. https://kids.strw.leidenuniv.nl/DR4/format.php.
"""

import re
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.planes import stem_of
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^KiDS_DR\d+(?:\.\d+)?_(?P<tile>\d+\.\d+_-?\d+\.\d+)_(?P<band>[ugri])(?P<again>\d)?_(?P<content>\w+)$"
)
CONTENTS = {"sci": Content.IMAGE, "wei": Content.WEIGHTS}


class KiDS(Layout):
    """KiDS's tiles of a square degree, which overlap their neighbours a little."""

    survey = "kids"
    zero_point = 0.0

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        # The second pass in i (i2) is another image of the same band.
        content = Content.OTHER if match["again"] else CONTENTS.get(match["content"], Content.OTHER)
        return ParsedName(f"KIDS_{match['tile']}", None if content is Content.OTHER else match["band"], content)

    def recognises(self, header: fits.Header) -> bool:
        camera = str(headers.value(header, "INSTRUME")).upper() == "OMEGACAM"
        return camera and str(headers.value(header, "OBJECT")).upper().startswith("KIDS_")

    def tilename(self, header: fits.Header, name: str) -> str:
        return str(headers.value(header, "OBJECT") or name)
