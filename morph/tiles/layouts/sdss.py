"""The Sloan Digital Sky Survey's corrected frames (DR8 and later): one file a band, the sky already subtracted.

``frame-r-000756-1-0044.fits.bz2`` is band r of run 756, camera column 1, field 44, in nanomaggies. The bands were
observed one after the other, and each has its own grid of pixels, a few pixels from the others'. Data model:
https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html.
"""

import re
from pathlib import Path

from astropy.io import fits

from morph.fits.planes import stem_of
from morph.surveys import NANOMAGGY_ZERO_POINT
from morph.tiles.layouts.layout import Layout, ParsedName

_NAME = re.compile(r"^frame-(?P<band>[ugriz])-(?P<tile>\d{6}-[1-6]-\d{4})$")


class SDSS(Layout):
    """SDSS frames. They have no mask and no weights; the noise is measured on the image.

    Neighbouring fields of a run share rows, and camera columns and runs overlap too.
    """

    survey = "sdss"
    zero_point = NANOMAGGY_ZERO_POINT

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        return ParsedName(match["tile"], match["band"]) if match else None

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""
