"""The Sloan Digital Sky Survey's corrected frames (DR8 and later): one file a band, the sky already subtracted.

``frame-r-000756-1-0044.fits.bz2`` is band r of run 756, camera column 1, field 44, in nanomaggies. The bands were
observed one after the other, and each has its own grid of pixels, a few pixels from the others'. Data model:
https://data.sdss.org/datamodel/files/BOSS_PHOTOOBJ/frames/RERUN/RUN/CAMCOL/frame.html.
"""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.images.planes import Planes, stem_of
from morph.images.readers.reader import Named, Reader
from morph.surveys import NANOMAGGY_ZERO_POINT

_NAME = re.compile(r"^frame-(?P<band>[ugriz])-(?P<tile>\d{6}-[1-6]-\d{4})$")

#: Rows of a frame, and how many of its first are the last of the field before: half of them belong to each.
ROWS = 1489
SHARED_ROWS = 128


class SDSS(Reader):
    """SDSS frames. They have no mask and no weights; the noise is measured on the image.

    Neighbouring fields of a run share rows; camera columns and runs overlap too, and are not told apart here.
    """

    survey = "sdss"
    zero_point = NANOMAGGY_ZERO_POINT

    def named(self, path: Path) -> Named | None:
        match = _NAME.match(stem_of(path))
        return Named(match["tile"], match["band"]) if match else None

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def owns(self, planes: Planes, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        wcs = planes.wcs()
        if planes.shape[0] != ROWS or wcs is None:
            return super().owns(planes, ra, dec)
        _, y = wcs.wcs_world2pix(ra, dec, 0)
        # Pixel centres are whole numbers: the field's own rows begin half a pixel before their first.
        first = SHARED_ROWS // 2 - 0.5
        return (y >= first) & (y < first + ROWS - SHARED_ROWS)
