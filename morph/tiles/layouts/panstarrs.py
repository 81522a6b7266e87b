"""Pan-STARRS 1's stacks (DR1, DR2): one file a band, in asinh magnitudes.

``rings.v3.skycell.1495.042.stk.r.unconv.fits`` is band r of sky cell 1495.042; ``.unconv.mask.fits`` is its mask,
``.unconv.wt.fits`` its variance, which is in asinh magnitudes too. MAST's cutouts have the same names after
``cutout_``. Pixels are asinh magnitudes where the header has BSOFTEN and BOFFSET, and linear elsewhere.
Counts are those of EXPTIME seconds: one has 25 + 2.5 log10(EXPTIME) mag. Waters et al. (2020), ApJS 251, 4, section 6;
https://outerspace.stsci.edu/display/PANSTARRS (PS1 Stack images, PS1 Pixel flags).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called
from morph.fits.images import Image
from morph.fits.planes import Planes, stem_of
from morph.fits.rows import Asinh
from morph.tiles.layouts.companions import named_bits
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^(?P<cutout>cutout_)?(?P<tile>[\w.]*skycell\.\d+\.\d+)\.stk\.(?P<band>[grizyw])\.unconv(?:\.(?P<content>\w+))?$"
)
CONTENTS = {None: Content.IMAGE, "mask": Content.MASK, "wt": Content.VARIANCE}

#: Bits of a mask, where its header does not name them: those that make a pixel unusable (MASK.VALUE), and saturated.
UNUSABLE, SAT = 8575, 32

#: Magnitude of one count a second, where the header does not hold it (FPA.ZP).
ZERO_POINT = 25.0


class PanStarrs(Layout):
    """Pan-STARRS's sky cells, which overlap their neighbours."""

    survey = "panstarrs"

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        # A cutout is not part of the whole sky cell that may lie beside it.
        tile = (match["cutout"] or "") + match["tile"]
        content = CONTENTS.get(match["content"], Content.OTHER)
        return ParsedName(
            tile, None if content is Content.OTHER else band_called(match["band"]) or match["band"], content
        )

    def recognises(self, header: fits.Header) -> bool:
        return "BSOFTEN" in header or str(headers.value(header, "FPA.INSTRUMENT")).startswith("GPC")

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def calibration(self, header: fits.Header) -> float | None:
        seconds = headers.number(header, "EXPTIME")
        if not seconds or seconds <= 0:
            return None
        zero_point = headers.number(header, "FPA.ZP")
        return (ZERO_POINT if zero_point is None else zero_point) + 2.5 * math.log10(seconds)

    def planes(self, images: Sequence[Image]) -> Planes:
        planes = Planes.of([_linear(image) for image in images])
        # The level at which the detectors saturate is in counts of single exposures.
        return replace(planes, header=_without(planes.header, "SATURATE"))

    def beside(self, image: Image, content: Content) -> Image:
        return image if content is Content.MASK else _linear(image)

    def bits_of(self, mask: Image, band: str) -> tuple[int, int]:
        bits = named_bits(mask.header)
        saturated = bits.get("SAT", SAT)
        return bits.get("MASK.VALUE", UNUSABLE) & ~saturated, saturated


def _linear(image: Image) -> Image:
    """An image in counts, whatever it is stored as."""
    soften = headers.number(image.header, "BSOFTEN")
    if soften is None or soften <= 0:
        return image
    scaling = Asinh(headers.number(image.header, "BOFFSET") or 0.0, soften)
    return replace(image, plane=image.plane.scaled(scaling))


def _without(header: fits.Header, key: str) -> fits.Header:
    header = header.copy()
    header.remove(key, ignore_missing=True)
    return header
