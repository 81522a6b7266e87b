"""Any FITS images with sky coordinates and a zero point: one file a band, or one file with an image a band.

The band is a part of the file's name (``NGC1365_g.fits``, ``field-r-coadd.fits.gz``), or BAND or FILTER in the header,
or the name of the extension. Files of a survey that were renamed are known by their headers.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.errors import BadInput
from morph.images import headers
from morph.images.bands import band_of
from morph.images.footprints import Bounds
from morph.images.hdus import Image, images_in
from morph.images.planes import BANDS, Planes
from morph.images.readers.des import unique_area
from morph.images.readers.names import plainly_named
from morph.images.readers.reader import Named, Reader
from morph.images.readers.rubin import with_named_planes


class Plain(Reader):
    """FITS images of no survey that is known by its names.

    `surveys` are the readers that may know the images by their headers.
    """

    unique = False

    def __init__(self, surveys: Sequence[Reader] = ()):
        self._surveys = tuple(surveys)

    def named(self, path: Path) -> Named | None:
        return plainly_named(path)

    def name(self, path: Path) -> str:
        return super().name(path) or Path(os.path.abspath(path)).parent.name

    def of_header(self, header: fits.Header) -> Reader | None:
        """The reader of the survey whose image has this header; None if it is none's."""
        return next((reader for reader in self._surveys if reader.recognises(header)), None)

    def tilename(self, header: fits.Header, name: str) -> str:
        return str(headers.value(header, "TILENAME") or "")

    def bounds(self, header: fits.Header) -> Bounds | None:
        # Cutouts of DES coadds have names of their own, and the headers of their tiles.
        return unique_area(header)

    def images(self, path: Path) -> dict[str | None, Planes]:
        images = images_in(path)
        bands = {band: image for image in images if (band := _band(image))}
        if len(bands) > 1:
            return {band: Planes(image.header, image.plane) for band, image in bands.items()}
        reader = self.of_header(images[0].header)
        if reader is None:
            planes = with_named_planes(images)
        else:
            planes = reader.planes(images)
            planes = replace(planes, survey_zero_point=reader.calibration(planes.header))
        if planes.mask is None and planes.weights is None:
            _one_field(images, path)
        return {None: planes}


def _band(image: Image) -> str | None:
    return image.name if image.name in BANDS else band_of(image.header)


def _one_field(images: Sequence[Image], path: Path) -> None:
    """BadInput when a file holds images of several places, such as the detectors of a camera."""
    places = {
        tuple(headers.number(image.header, key) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"))
        for image in images
        if headers.number(image.header, "CRVAL1") is not None
    }
    if len(places) > 1:
        raise BadInput(f"'{path}' holds {len(places)} images of different sky; give one image a file.")
