"""Coadds of the Hyper Suprime-Cam Subaru Strategic Program (Public Data Releases 1 to 3).

``calexp-HSC-R-9813-4,4.fits`` is band r of patch 4,4 of tract 9813; each band of a release has its own folder.
IMAGE, MASK and VARIANCE are those of Rubin's pipeline, counts are scaled to a zero point of 27 by FLUXMAG0 (the counts
of magnitude 0). Aihara et al. (2022), PASJ 74, 247; https://hsc-release.mtk.nao.ac.jp.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.images import Image
from morph.fits.planes import Planes, stem_of
from morph.tiles.layouts.layout import Content, Layout, ParsedName
from morph.tiles.layouts.rubin import planes_by_extension

#: Kind of file, filter, tract and patch. Beside the coadds (calexp) lie their detections, measurements and warps.
_NAME = re.compile(r"^(?P<kind>[A-Za-z_]+)-(?P<filter>HSC-[A-Z]2?|NB\d{4}|IB\d{4})-(?P<tile>\d+-\d+(?:,\d+)?)$")


class HSC(Layout):
    """HSC's coadds. Patches overlap their neighbours; tracts overlap, too."""

    survey = "hsc"

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        if match["kind"] != "calexp":
            return ParsedName(match["tile"], None, Content.OTHER)
        return ParsedName(match["tile"], band_called(match["filter"]) or match["filter"])

    def recognises(self, header: fits.Header) -> bool:
        cards = (str(headers.value(header, key) or "").upper() for key in ("FILTER", "INSTRUME"))
        return any(value.startswith(("HSC", "HYPER SUPRIME")) for value in cards)

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def planes(self, images: Sequence[Image]) -> Planes:
        return planes_by_extension(images)
