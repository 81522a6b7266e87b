"""The planes of one band: the image, its mask and its weights, with their calibration from the header.

The layout of one file is that of the Dark Energy Survey's coadds: SCI (flux), MSK (integer, nonzero where a pixel is
bad) and WGT (inverse variance), compressed by fpack or not. A file with one image and nothing else is read too.
Surveys with other layouts have readers of their own (`morph.tiles.layouts`).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.fits import headers
from morph.fits.calibrated import Calibrated
from morph.fits.headers import band_of
from morph.fits.images import Image, Plane, images_in
from morph.fits.reprojection import GRID_CARDS, Reprojection, SquareGrid
from morph.fits.rows import Times
from morph.fits.wcs import celestial
from morph.fits.zero_points import HEADERS, Calibration, ZeroPoint, unknown_zero_point, zero_point_in

#: Endings of FITS files, the longest first.
SUFFIXES = tuple(f".{kind}{packed}" for packed in (".fz", ".gz", ".bz2", "") for kind in ("fits", "fit"))

#: The bit of a saturated pixel in DES masks (BADPIX_SATURATE of the survey's despyfits package).
SATURATED_BIT = 2

#: Bands as names of files call them.
BANDS = ("u", "g", "r", "i", "z", "y", "Y")

_BAND_IN_NAME = re.compile(rf"^(?:(?P<name>.+)[_.-])?(?P<band>{'|'.join(BANDS)})$")


def is_fits(path: str | Path) -> bool:
    """Whether the file's name is that of a FITS file."""
    return str(path).lower().endswith(SUFFIXES)


def split_name(path: str | Path) -> tuple[str, str | None]:
    """A file's name without its ending and its band, and the band (None if the name contains none).

    >>> split_name("DES0356-5248_r4163p01_g.fits.fz")
    ('DES0356-5248_r4163p01', 'g')
    >>> split_name("g.fits")
    ('', 'g')
    """
    stem = stem_of(path)
    match = _BAND_IN_NAME.match(stem)
    return (match["name"] or "", match["band"]) if match else (stem, None)


def stem_of(path: str | Path) -> str:
    """A file's name without the ending of FITS files."""
    name = os.path.basename(path)
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


@dataclass(frozen=True)
class Planes:
    """One band of a field: its image, mask and weights, which may lie in several files, and the image's header.

    Attributes
    ----------
    header : of the image.
    science, mask, weights : where the pixels are; None where there is no such plane.
    bad_bits : a pixel with any of these bits in the mask is bad.
    saturated_bits : a pixel with any of these bits in the mask is saturated.
    survey_zero_point : of the survey whose files these are, where the header does not say it; None where no survey's
        rule is known.
    mask_is_whole : whether the mask also marks every pixel without weight as bad, so that weights need not be read.
    notes : how the image is read, where that is unusual; one sentence each.
    stored_area : solid angle of a stored pixel, steradian, of an image that is on another's grid; None elsewhere.
    """

    header: fits.Header
    science: Plane
    mask: Plane | None = None
    weights: Plane | None = None
    bad_bits: int = -1
    saturated_bits: int = SATURATED_BIT
    survey_zero_point: ZeroPoint | None = None
    mask_is_whole: bool = False
    stored_area: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path) -> "Planes":
        """Look at the file's headers. InputError if it is missing, not FITS, cut short or holds no image."""
        return cls.of(images_in(path))

    @classmethod
    def of(cls, images: Sequence[Image]) -> "Planes":
        """The planes among a file's images. InputError when they differ in shape."""
        science, mask, weights = (None if image is None else image.plane for image in _find(images))
        assert science is not None
        header = next(image.header for image in images if image.plane is science)
        return cls(header, science, mask, weights)

    def __post_init__(self) -> None:
        for plane in (self.mask, self.weights):
            if plane is not None and plane.shape != self.shape:
                raise InputError(
                    f"'{plane.path}' has planes of different shapes ({plane.shape}, {self.shape}); "
                    "give one image a file."
                )

    def at(self, index: int) -> "Planes":
        """One plane of a cube, with those of its mask and its weights."""
        mask, weights = (None if plane is None else plane.at(index) for plane in (self.mask, self.weights))
        return replace(self, science=self.science.at(index), mask=mask, weights=weights)

    def squared(self) -> "Planes":
        """The same field on a grid of square pixels; itself where they are square, or not known.

        Raises InputError when the pixels are not square and the header has a distortion too.
        """
        wcs = self.wcs() if len(self.shape) == 2 else None
        regrid = None if wcs is None else SquareGrid.of(wcs.pixel_scale_matrix, (self.shape[0], self.shape[1]))
        if regrid is None:
            return self
        mask, weights = (
            None if plane is None else plane.squared(regrid, nearest=True) for plane in (self.mask, self.weights)
        )
        header, science = regrid.header(self.header, self.path), self.science.squared(regrid)
        return replace(self, header=header, science=science, mask=mask, weights=weights)

    def onto(self, grid: Reprojection, of: fits.Header) -> "Planes":
        """The same sky on the grid of another image, whose header is `of`."""
        # The pixels that one stored pixel becomes share its noise: together they have its variance.
        weights = None if self.weights is None else self.weights.scaled(Times(1 / grid.mean_area))
        mask, weights = (None if one is None else one.reprojected(grid, nearest=True) for one in (self.mask, weights))
        header = self.header.copy()
        for card in [card for card in header if GRID_CARDS.match(card)]:
            header.remove(card, ignore_missing=True)
        header.update({card.keyword: card.value for card in of.cards if GRID_CARDS.match(card.keyword)})
        if (level := headers.number(header, "SATURATE")) is not None:
            header["SATURATE"] = level * grid.mean_area
        science, area = self.science.reprojected(grid), self.pixel_area()
        return replace(self, header=header, science=science, mask=mask, weights=weights, stored_area=area)

    @property
    def path(self) -> Path:
        """The file of the image."""
        return self.science.path

    @property
    def shape(self) -> tuple[int, ...]:
        """The image's: [h, w], or [n, h, w] for a cube."""
        return self.science.shape

    @property
    def band(self) -> str | None:
        """The band from the file's name, or else from the header's BAND or FILTER; None if neither has it."""
        return split_name(self.path)[1] or band_of(self.header)

    def zero_point(self, given: Calibration = HEADERS) -> ZeroPoint:
        """The magnitude of one count: as given, by the header, or by a rule of the survey whose files these are.

        Raises InputError when none of them gives it, or the header's is not a magnitude.
        """
        area = self.pixel_area()
        found = given.of(area, self.path) or zero_point_in(self.header, self.path, area) or self.survey_zero_point
        if found is None:
            raise unknown_zero_point(self.header, self.path)
        return found

    def pixel_area(self) -> float | None:
        """The solid angle of a pixel as it is stored, steradian; None where the header does not say it."""
        if self.stored_area is not None:
            return self.stored_area
        wcs = self.wcs()
        if wcs is None:
            return None
        return abs(float(np.linalg.det(wcs.pixel_scale_matrix))) * np.radians(1) ** 2

    def wcs(self) -> WCS | None:
        """The celestial coordinate system, or None when the header holds none that can be right."""
        try:
            return celestial(self.header, self.path)
        except InputError:
            return None

    def read(self, zero_point: ZeroPoint) -> tuple[np.ndarray, np.ndarray]:
        """All rows; see `read_rows`."""
        return self.read_rows(0, self.shape[-2], zero_point)

    def read_rows(self, start: int, stop: int, zero_point: ZeroPoint) -> tuple[np.ndarray, np.ndarray]:
        """Read some rows of the image.

        Parameters
        ----------
        start, stop : the first row, and the one after the last.
        zero_point : the calibration of the counts, see `zero_point`.

        Returns
        -------
        flux : float32 [stop - start, w] (of a cube [n, stop - start, w]), nanomaggies per pixel; NaN where the mask
            is set, the weight is not positive or the value is not finite.
        saturated : bool, of the same shape: at the header's SATURATE level, or marked so in the mask.
        """
        shape = (*self.shape[:-2], stop - start, self.shape[-1])
        flux, saturated = np.empty(shape, dtype="float32"), np.empty(shape, dtype=bool)
        with self.calibrated(zero_point).opened() as fill:
            fill(start, flux, saturated)
        return flux, saturated

    def weight(self, zero_point: ZeroPoint) -> np.ndarray | None:
        """The inverse variance, float32, nanomaggies to the power -2; None when the file has no weights."""
        if self.weights is None:
            return None
        return self.calibrated(zero_point).inverse_variance(self.weights.rows(0, self.shape[-2]))

    def calibrated(self, zero_point: ZeroPoint) -> Calibrated:
        """The pixels in units of flux."""
        return Calibrated(
            self.science,
            self.mask,
            self.weights,
            self.bad_bits,
            self.saturated_bits,
            self.mask_is_whole and self.mask is not None,
            saturation=headers.number(self.header, "SATURATE"),
            nanomaggies=zero_point.nanomaggies,
        )


def _find(images: Sequence[Image]) -> tuple[Image, Image | None, Image | None]:
    """The science, mask and weight images: by EXTNAME, or by order where nothing is named."""
    names: dict[str, Image] = {}
    for image in images:
        names.setdefault(image.name, image)
    if "SCI" in names:
        return names["SCI"], names.get("MSK"), names.get("WGT")
    first, *others = images
    mask = weights = None
    # Other surveys' named planes mean other things (Rubin's MASK marks detected pixels too), so only planes
    # without a name are taken to follow the order of DES.
    for image in others[:2]:
        if image.name in ("", "COMPRESSED_IMAGE") and image.plane.shape == first.plane.shape:
            if image.header["BITPIX"] > 0 and mask is None:
                mask = image
            elif image.header["BITPIX"] < 0 and weights is None:
                weights = image
    return first, mask, weights
