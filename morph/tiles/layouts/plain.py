"""Any FITS images with sky coordinates and a zero point: one file a band, or one file with an image a band.

The band is a part of the file's name (``NGC1365_g.fits``, ``field-r-coadd.fits.gz``), or BAND or FILTER in the header,
or the name of the extension. Files of a survey that were renamed are known by their headers.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.images import images_in
from morph.fits.planes import Planes
from morph.fits.wcs import Bounds
from morph.tiles.layouts.companions import unread_masks
from morph.tiles.layouts.des import unique_area
from morph.tiles.layouts.layout import Layout, ParsedName
from morph.tiles.layouts.multi_extension import by_band, of_cube
from morph.tiles.layouts.names import masks_in_folder, parse_plain_name
from morph.tiles.layouts.rubin import planes_by_extension


class Plain(Layout):
    """FITS images of no survey that is known by its names.

    `surveys` are the readers that may know the images by their headers.
    """

    unique = False

    def __init__(self, surveys: Sequence[Layout] = ()):
        self._surveys = tuple(surveys)

    def parse_name(self, path: Path) -> ParsedName | None:
        return parse_plain_name(path)

    def name(self, path: Path) -> str:
        return super().name(path) or Path(os.path.abspath(path)).parent.name

    def layout_of_header(self, header: fits.Header) -> Layout | None:
        """The layout of the survey whose image has this header; None where no survey recognises it."""
        return next((reader for reader in self._surveys if reader.recognises(header)), None)

    def tilename(self, header: fits.Header, name: str) -> str:
        return str(headers.value(header, "TILENAME") or "")

    def bounds(self, header: fits.Header) -> Bounds | None:
        # Cutouts of DES coadds have names of their own, and the headers of their tiles.
        return unique_area(header)

    def images(self, path: Path, labels: Sequence[str] = ()) -> dict[str | None, Planes]:
        images = images_in(path)
        reader = self.layout_of_header(images[0].header)
        beside = unread_masks(masks_in_folder(path)) if reader is None else ()
        found: dict[str | None, Planes] = {}
        for band, some in by_band(images, path, labels).items():
            planes = planes_by_extension(some) if reader is None else reader.calibrated(reader.planes(some))
            planes = replace(planes, notes=(*planes.notes, *beside))
            found |= of_cube(planes, labels) if band is None else {band: planes}
        return found
