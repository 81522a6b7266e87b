"""Stacks of the Canada-France-Hawaii Telescope's MegaCam: the Legacy Survey's (Terapix, T0006 and T0007).

``CFHTLS_W_i_142354+523831_T0007_MEDIAN.fits`` is band i of the field of the wide survey at 14 h 23 min 54 s,
+52 deg 38 min 31 s. One count has MZP_AB mag, 30 in T0007; FILTER is i.MP9701 or its successor i.MP9702. MegaPipe's
stacks have PHOTZP, and any names. Hudelot et al. (2012); Gwyn (2008), PASP 120, 212.
"""

import re
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.planes import stem_of
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(r"^CFHTLS_(?P<field>[WD])_(?P<band>[ugrizy])_(?P<place>\d{6}[+-]\d{6})_(?P<rest>T\d{4}\w*)$")


class CFHT(Layout):
    """Fields of the Legacy Survey, which overlap their neighbours."""

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        weights = re.search(r"_weight$", match["rest"], re.IGNORECASE)
        rest = match["rest"][: weights.start()] if weights else match["rest"]
        content = Content.WEIGHTS if weights else Content.IMAGE
        return ParsedName(f"CFHTLS_{match['field']}_{match['place']}_{rest}", band_called(match["band"]), content)

    def recognises(self, header: fits.Header) -> bool:
        return "MZP_AB" in header

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def calibration(self, header: fits.Header) -> float | None:
        return headers.number(header, "MZP_AB")
