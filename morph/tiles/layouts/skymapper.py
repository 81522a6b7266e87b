"""Images of the SkyMapper Southern Survey (Data Releases 1 to 4): single exposures of single CCDs.

The image service gives a CCD, or up to 0.17 degrees of it, any name. ZPAPPROX holds the AB magnitude of one count of
the whole exposure (28 and more in 100 seconds of the Main Survey, 25.4 in 5 seconds of the Shallow Survey), FILTNAME
the band. Bands were exposed one after the other, each with a grid of its own: files of one field whose names end in
``_g.fits``, ``_r.fits`` and ``_i.fits`` are one tile. Onken et al. (2024), PASA 41, e061;
https://skymapper.anu.edu.au.
"""

from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.tiles.layouts.layout import Layout, ParsedName


class SkyMapper(Layout):
    """Known by their headers."""

    def parse_name(self, path: Path) -> ParsedName | None:
        return None

    def recognises(self, header: fits.Header) -> bool:
        return headers.number(header, "ZPAPPROX") is not None

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""
