"""The planes of one FITS file: the image, its mask and its weights, and what the header says of them.

The layout is that of the Dark Energy Survey's coadds: SCI (flux), MSK (integer, nonzero where a pixel is bad)
and WGT (inverse variance), compressed by fpack or not. A file with one image and nothing else is read too.
"""

import gzip
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import BadInput
from morph.images.pixels import Plane, first_line
from morph.surveys import NANOMAGGY_ZERO_POINT, to_nanomaggies

#: Endings of FITS files, the longest first.
SUFFIXES = (".fits.fz", ".fits.gz", ".fit.fz", ".fit.gz", ".fits", ".fit")

#: The bit of a saturated pixel in DES masks (BADPIX_SATURATE of the survey's despyfits package).
SATURATED_BIT = 2

#: Headers that hold the magnitude of one count, in the order in which they are believed.
ZERO_POINT_KEYS = ("MAGZERO", "MAGZPT", "MAGZP", "ZEROPNT", "MAG_ZERO")

#: Zero points that a unit implies.
UNIT_ZERO_POINTS = {"nanomaggy": NANOMAGGY_ZERO_POINT, "nanomaggies": NANOMAGGY_ZERO_POINT, "njy": 31.4}

_BAND = re.compile(r"^(?:HSC-)?([ugrizy])(?![a-z0-9])", re.IGNORECASE)
_BAND_IN_NAME = re.compile(r"^(?:(?P<name>.+)[_.-])?(?P<band>[ugrizyY])$")


def is_fits(path: str | Path) -> bool:
    """Whether the file's name is that of a FITS file."""
    return str(path).lower().endswith(SUFFIXES)


def split_name(path: str | Path) -> tuple[str, str | None]:
    """A file's name without its ending and its band, and the band (None if the name tells none).

    >>> split_name("DES0356-5248_r4163p01_g.fits.fz")
    ('DES0356-5248_r4163p01', 'g')
    >>> split_name("g.fits")
    ('', 'g')
    """
    stem = Path(path).name
    for suffix in SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    match = _BAND_IN_NAME.match(stem)
    return (match["name"] or "", match["band"]) if match else (stem, None)


@dataclass(frozen=True)
class Planes:
    """One band of a field: its image, mask and weights, which may lie in several files, and the image's header.

    Attributes
    ----------
    header : of the image.
    science, mask, weights : where the pixels are; None where there is no such plane.
    bad_bits : a pixel with any of these bits in the mask is bad.
    saturated_bits : a pixel with any of these bits in the mask is saturated.
    """

    header: fits.Header
    science: Plane
    mask: Plane | None = None
    weights: Plane | None = None
    bad_bits: int = -1
    saturated_bits: int = SATURATED_BIT

    @classmethod
    def open(cls, path: str | Path) -> "Planes":
        """Look at the file's headers. BadInput if it is missing, not FITS, cut short or holds no image."""
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"There is no file '{path}'.")
        try:
            with warnings.catch_warnings():
                # Astropy warns of a truncated file and goes on; here it is an error, found below.
                warnings.simplefilter("ignore")
                _check_whole(path)
                with fits.open(path) as hdus:
                    images = {i: hdu for i, hdu in enumerate(hdus) if hdu.is_image and len(hdu.shape) >= 2}
                    if not images:
                        raise BadInput(f"'{path}' holds no image; give a FITS file with an image in it.")
                    found = _find(images)
                    planes = [None if i is None else Plane(path, i, images[i].shape) for i in found]
                    science, mask, weights = planes
                    assert science is not None
                    return cls(images[science.hdu].header.copy(), science, mask, weights)
        except (OSError, EOFError, zlib.error, gzip.BadGzipFile, fits.VerifyError) as error:
            if isinstance(error, PermissionError):
                raise BadInput(f"'{path}' may not be read; check its permissions.") from None
            raise BadInput(f"'{path}' is not a FITS file, or is damaged ({first_line(error)}).") from None

    def __post_init__(self) -> None:
        for plane in (self.mask, self.weights):
            if plane is not None and plane.shape != self.shape:
                raise BadInput(
                    f"'{plane.path}' has planes of different shapes ({plane.shape}, {self.shape}); "
                    "give one image a file."
                )

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
        """The band from the file's name, or else from the header's BAND or FILTER; None if nothing tells."""
        in_name = split_name(self.path)[1]
        if in_name:
            return in_name
        for key in ("BAND", "FILTER"):
            match = _BAND.match(str(self.header.get(key, "")).strip())
            if match:
                letter = match[1].lower()
                return "Y" if letter == "y" else letter
        return None

    def zero_point(self, default: float) -> float:
        """Magnitude of one count: from the header's zero point, or its unit, or else `default`."""
        for key in ZERO_POINT_KEYS:
            value = self.header.get(key)
            if isinstance(value, (int, float)) and np.isfinite(value) and value > 0:
                return float(value)
        return UNIT_ZERO_POINTS.get(str(self.header.get("BUNIT", "")).strip().lower(), default)

    def wcs(self) -> WCS | None:
        """The celestial coordinate system, or None when the header holds none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # wcslib reports every harmless repair of a header
            try:
                wcs = WCS(self.header)
            except Exception:  # wcslib raises its own classes for each kind of nonsense in a header
                return None
            return wcs.celestial if wcs.has_celestial else None

    def read(self, zero_point: float) -> tuple[np.ndarray, np.ndarray]:
        """All rows; see `read_rows`."""
        return self.read_rows(0, self.shape[-2], zero_point)

    def read_rows(self, start: int, stop: int, zero_point: float) -> tuple[np.ndarray, np.ndarray]:
        """The image's rows from `start` to `stop` (exclusive), and which of their pixels are saturated.

        Returns
        -------
        flux : float32 [stop - start, w] (of a cube [n, stop - start, w]), nanomaggies per pixel; NaN where the mask
            is set, the weight is not positive or the value is not finite.
        saturated : bool, of the same shape: at the header's SATURATE level, or marked so in the mask.
        """
        counts = self.science.rows(start, stop).astype("float32", copy=False)
        bad = ~np.isfinite(counts)
        level = self.header.get("SATURATE", 0)
        saturated = counts >= level if isinstance(level, (int, float)) and level > 0 else np.zeros_like(bad)
        if self.mask is not None:
            mask = self.mask.rows(start, stop).astype(int, copy=False)
            bad |= (mask & self.bad_bits) != 0
            saturated |= (mask & self.saturated_bits) != 0
            del mask
        if self.weights is not None:
            bad |= ~(self.weights.rows(start, stop) > 0)
        flux = to_nanomaggies(counts, zero_point)
        flux[bad] = np.nan
        return flux, saturated

    def weight(self, zero_point: float) -> np.ndarray | None:
        """The inverse variance, float32, nanomaggies to the power -2; None when the file has no weights."""
        return None if self.weights is None else self.weight_rows(0, self.shape[-2], zero_point)

    def weight_rows(self, start: int, stop: int, zero_point: float) -> np.ndarray | None:
        """The inverse variance of some rows; see `weight` and `read_rows`."""
        if self.weights is None:
            return None
        weight = np.nan_to_num(self.weights.rows(start, stop).astype("float32"), posinf=0, neginf=0)
        return np.maximum(weight, 0) / to_nanomaggies(np.ones(1, "float32"), zero_point) ** 2


def _check_whole(path: Path) -> None:
    """BadInput when the file ends before its last HDU does."""
    if path.name.lower().endswith(".gz"):
        return  # gzip itself notices a missing end when the pixels are read
    size = path.stat().st_size
    with fits.open(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            place = hdu.fileinfo()
            if place["datLoc"] + hdu.size > size:
                raise BadInput(f"'{path}' is cut short ({size:,} bytes, more expected); get it again.")


def _find(images: dict[int, fits.hdu.base._BaseHDU]) -> tuple[int, int | None, int | None]:
    """The numbers of the science, mask and weight HDUs: by EXTNAME, or by order where nothing is named."""
    names = {hdu.name: number for number, hdu in images.items()}
    if "SCI" in names:
        return names["SCI"], names.get("MSK"), names.get("WGT")
    first, *others = images
    mask = weights = None
    # Other surveys' named planes mean other things (Rubin's MASK marks detected pixels too), so only planes
    # without a name are taken to follow the order of DES.
    for number in others[:2]:
        hdu = images[number]
        if hdu.name in ("", "COMPRESSED_IMAGE") and hdu.shape == images[first].shape:
            if hdu.header["BITPIX"] > 0 and mask is None:
                mask = number
            elif hdu.header["BITPIX"] < 0 and weights is None:
                weights = number
    return first, mask, weights
