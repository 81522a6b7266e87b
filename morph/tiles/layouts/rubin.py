"""Coadds of the pipeline of the Rubin Observatory: IMAGE, MASK and VARIANCE in one file, in nanojansky.

``deep_coadd_10463_52_g_lsst_cells_v1_LSSTComCam_runs_DRP_DP1_....fits`` is band g of patch 52 of tract 10463, as the
Butler names it (dataset type, tract, patch, band, sky map and run); the sky map and the run may be missing. The header
of MASK names the bits. The primary header holds the Butler's data id, such as
``LSST BUTLER DATAID BAND``; FILTER is there or is not. Bosch et al. (2018), PASJ 70, S5; packages lsst.afw (up to Data
Preview 1) and lsst.images (from Data Preview 2 on).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.images import Image
from morph.fits.planes import Planes, stem_of
from morph.tiles.layouts.companions import BAD, SATURATED, named_bits, note_unread_masks, values_of, weights_among
from morph.tiles.layouts.layout import Content, Layout, ParsedName

_NAME = re.compile(
    r"^(?P<kind>(?:deep_coadd|template_coadd|deepCoadd|goodSeeingCoadd|templateCoadd)(?:_[a-zA-Z_]+)?)"
    r"_(?P<tract>\d+)_(?P<patch>\d+)_(?P<band>[ugrizy])(?:_(?P<run>.+))?$"
)

#: Dataset types that are images of the sky; others are backgrounds, numbers of exposures, tables.
IMAGES = (
    "deep_coadd",
    "deep_coadd_predetection",
    "deep_coadd_cell_predetection",
    "template_coadd",
    "deepCoadd",
    "deepCoadd_calexp",
    "goodSeeingCoadd",
    "templateCoadd",
)


def planes_by_extension(images: Sequence[Image]) -> Planes:
    """A band with its mask and its variances, by the names of the extensions."""
    planes = Planes.of([image for image in images if image.name == "IMAGE"] or images)
    planes = replace(planes, weights=planes.weights or weights_among(images, planes.science))
    for image in images:
        bits = named_bits(image.header) if image.name == "MASK" and image.plane.shape == planes.shape else {}
        if bits:
            bad, saturated = values_of(bits, BAD), values_of(bits, SATURATED)
            planes = replace(planes, mask=image.plane, bad_bits=bad, saturated_bits=saturated)
            break
    return note_unread_masks(planes, images)


class Rubin(Layout):
    """Rubin's coadds. Patches overlap their neighbours; tracts overlap, too."""

    survey = "lsst"

    def parse_name(self, path: Path) -> ParsedName | None:
        match = _NAME.match(stem_of(path))
        if not match:
            return None
        # Coadds of several runs are several tiles.
        tile = f"{match['kind']}_{match['tract']}_{match['patch']}"
        content = Content.IMAGE if match["kind"] in IMAGES else Content.OTHER
        band = "Y" if match["band"] == "y" else match["band"]
        return ParsedName(f"{tile}@{match['run'] or ''}", band if content is Content.IMAGE else None, content)

    def name(self, path: Path) -> str:
        return super().name(path).partition("@")[0]

    def recognises(self, header: fits.Header) -> bool:
        instrument = f"{headers.value(header, 'INSTRUME')} {headers.value(header, 'LSST BUTLER DATAID INSTRUMENT')}"
        return "LSST" in instrument.upper() or "LSST BUTLER DATAID TRACT" in header

    def tilename(self, header: fits.Header, name: str) -> str:
        return ""

    def planes(self, images: Sequence[Image]) -> Planes:
        return planes_by_extension(images)
