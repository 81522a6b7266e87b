"""Mosaics of the Hubble and James Webb space telescopes: SCI with ERR or WHT in one file, one file a band.

``hst_..._acs_wfc_f814w_drz.fits``, ``hlsp_candels_hst_acs_gs-tot_f606w_v1.0_drz.fits`` and
``jw01727-o043_t048_nircam_clear-f115w_i2d.fits`` have their band in the middle of the name. Hubble's counts are
electrons a second; one has -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408 mag (AB; ACS Data Handbook, section 5.1).
Webb's are MJy/sr, of pixels of PIXAR_SR steradian (JWST User Documentation, Absolute flux calibration).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.images import Image
from morph.fits.planes import Planes
from morph.tiles.layouts.companions import note_unread_masks, weights_among
from morph.tiles.layouts.layout import Layout, ParsedName


class SpaceTelescope(Layout):
    """Known by their headers; their files' names are as many as their programmes."""

    def parse_name(self, path: Path) -> ParsedName | None:
        return None

    def recognises(self, header: fits.Header) -> bool:
        return str(headers.value(header, "TELESCOP")).upper() in ("HST", "JWST")

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def calibration(self, header: fits.Header) -> float | None:
        unit = str(headers.value(header, "BUNIT")).lower().replace(" ", "")
        flam, plam = (headers.number(header, key) for key in ("PHOTFLAM", "PHOTPLAM"))
        if not flam or not plam or flam <= 0 or plam <= 0:
            return None
        zero_point = -2.5 * math.log10(flam) - 5 * math.log10(plam) - 2.408
        if unit in ("electrons/s", "electron/s", "e/s", "e-/s", "counts/s", "count/s", "dn/s"):
            return zero_point
        seconds = headers.number(header, "EXPTIME")
        if unit in ("electrons", "electron", "counts", "count", "dn") and seconds and seconds > 0:
            return zero_point + 2.5 * math.log10(seconds)
        return None

    def planes(self, images: Sequence[Image]) -> Planes:
        science = [image for image in images if image.name == "SCI"] or list(images)
        planes = Planes.of(science[:1])
        return note_unread_masks(replace(planes, weights=weights_among(images, planes.science)), images)
