"""The files of a DES coadd tile: SCI, MSK and WGT planes, Rice-compressed as fpack does, and their headers.

Keywords, their order and their comments are those of the DES DR1/DR2 release.
"""

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.simulation.fits_strips import PackedStrip, StripWriter, pack
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey

#: Zero point of the files, whatever the survey: DES coadds have 30.
ZERO_POINT = 30.0

#: Quantisation of float planes in units of their noise, as DES compresses them.
QUANTISATION = 16.0


class Mask(enum.IntFlag):
    """Bits of the MSK plane that a tile sets (DES's BADPIX bits)."""

    SATURATED = 2
    STAR = 32
    BLEED = 64
    STREAK = 1024


#: DECam's filters as their files name them: FILTER, MJD-OBS, GAIN (e-/ADU), SATURATE (ADU).
FILTERS = {
    "g": ("g DECam SDSS c0001 4720.0 1520.0", 56548.39010683, 21.67634371198, 31362.69781225),
    "r": ("r DECam SDSS c0002 6415.0 1480.0", 56548.39148784, 28.64627205504, 25832.97999124),
    "i": ("i DECam SDSS c0003 7835.0 1470.0", 56548.39287373, 26.34658807588, 27012.13371831),
    "z": ("z DECam SDSS c0004 9260.0 1520.0", 56593.28391152, 21.13493075473, 34073.06251974),
}


@dataclass(frozen=True)
class Tilename:
    """A tile's name, which says where it is: DES0356-5248 is centred near 3 h 56 min, -52 deg 48 min."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"DES\d{4}[+-]\d{4}", self.name):
            raise InputError(f"'{self.name}' is not a tile's name; write it as DES0356-5248 (HHMM, sign, DDMM).")

    @property
    def centre(self) -> tuple[float, float]:
        """Right ascension and declination, deg."""
        hours, minutes = int(self.name[3:5]), int(self.name[5:7])
        degrees, arcmin = int(self.name[8:10]), int(self.name[10:12])
        sign = -1 if self.name[7] == "-" else 1
        return 15 * (hours + minutes / 60), sign * (degrees + arcmin / 60)

    def wcs(self, size: int, pixel_scale: float) -> WCS:
        """The gnomonic (TAN) projection of a tile of `size` pixels, north up and east to the left."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = self.centre
        wcs.wcs.crpix = [(size + 1) / 2, (size + 1) / 2]
        wcs.wcs.cd = np.diag([-pixel_scale / 3600, pixel_scale / 3600])
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.equinox = 2000.0
        wcs.wcs.set()
        return wcs


def write_band(
    path: Path, flux: np.ndarray, mask: np.ndarray, survey: Survey, band: int, tile: Tilename, wcs: WCS
) -> None:
    """Write one band's file.

    Parameters
    ----------
    flux : [size, size], nanomaggies per pixel.
    mask : int32 [size, size], `Mask` bits.
    band : 0, 1 or 2, its place among the survey's bands.
    """
    with StripWriter(path, [plane.name for plane in PLANES]) as writer:
        writer.write(pack_band(flux, mask, survey, band, tile, wcs, flux.shape[0]))


class Plane(NamedTuple):
    """A plane of a file: its name, DES's own name for it, and how it is compressed."""

    name: str
    extension: str
    compression: str


PLANES = (Plane("SCI", "IMAGE", "RICE_1"), Plane("MSK", "MASK", "PLIO_1"), Plane("WGT", "WEIGHT", "RICE_1"))


def pack_band(
    flux: np.ndarray,
    mask: np.ndarray,
    survey: Survey,
    band: int,
    tile: Tilename,
    wcs: WCS,
    size: int,
    top: int = 0,
) -> list[PackedStrip]:
    """The planes of one band's file, compressed, for the rows of the tile from `top` on.

    Parameters
    ----------
    flux, mask : as for `write_band`, but [rows, size].
    size : rows of the whole tile.
    """
    scale = np.float32(10 ** ((ZERO_POINT - NANOMAGGY_ZERO_POINT) / 2.5))
    noise = survey.noise()[band] * scale
    saturation = FILTERS[survey.bands[band]][3]
    counts = np.minimum(flux * scale, np.float32(1.2 * saturation))
    weight = np.full(flux.shape, 1 / noise**2, dtype="float32")
    # Where one exposure was lost, the rest weigh less; where all saturate, nothing is left.
    weight[(mask & Mask.STREAK) > 0] *= 0.85
    weight[(mask & Mask.SATURATED) > 0] = 0
    packed = []
    for plane, data in zip(PLANES, (counts, mask, weight), strict=True):
        header = _header(survey, band, tile, wcs, size, plane.name)
        header["DES_EXT"] = (plane.extension, "DES name of the extension")
        header["FZALGOR"] = (plane.compression, "Compression type")
        if data.dtype.kind == "f":
            header["FZQVALUE"] = (int(QUANTISATION), "Compression quantization factor")
            header["FZQMETHD"] = ("SUBTRACTIVE_DITHER_2", "Compression quantization method")
        packed.append(pack(data, header, plane.name, plane.compression, QUANTISATION, top))
    return packed


def _header(survey: Survey, band: int, tile: Tilename, wcs: WCS, size: int, plane: str) -> fits.Header:
    """The keywords of one plane."""
    letter = survey.bands[band]
    title, date, gain, saturation = FILTERS[letter]
    science = plane == "SCI"
    header = fits.Header()
    header["EQUINOX"] = (2000.0, "Mean equinox")
    header["MJD-OBS"] = (date, "Modified Julian date at start")
    header["RADESYS"] = ("ICRS", "Astrometric system")
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = (wcs.wcs.ctype[axis - 1], "WCS projection type for this axis")
        header[f"CUNIT{axis}"] = ("deg", "Axis unit")
        header[f"CRVAL{axis}"] = (wcs.wcs.crval[axis - 1], "World coordinate on this axis")
        header[f"CRPIX{axis}"] = (wcs.wcs.crpix[axis - 1], "Reference pixel on this axis")
        for other in (1, 2):
            header[f"CD{axis}_{other}"] = (wcs.wcs.cd[axis - 1, other - 1], "Linear projection matrix")
    header["EXPTIME"] = (540.0 if science else 0.0, "Maximum equivalent exposure time (s)")
    header["GAIN"] = (gain if science else 0.0, "Maximum equivalent gain (e-/ADU)")
    header["SATURATE"] = (saturation if science else 0.0, "Saturation Level (ADU)")
    header["SOFTNAME"] = ("morph", "The software that simulated those data")
    header["COMBINET"] = ("WEIGHTED", "COMBINE_TYPE config parameter for SWarp")
    header["BUNIT"] = "electrons"
    header["FILTER"] = (title, "Unique filter identifier")
    header["BAND"] = (letter, "Short name for filter")
    header["TILENAME"] = (tile.name, "DES Tilename")
    header["PIPELINE"] = ("simulation", "DESDM pipeline name")
    header["UNITNAME"] = (tile.name, "DESDM processing unit name")
    corners = wcs.all_pix2world([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]], 0)
    ra, dec = tile.centre
    header["RA_CENT"], header["DEC_CENT"] = (ra, "RA center"), (dec, "DEC center")
    for k, (corner_ra, corner_dec) in enumerate(corners, start=1):
        header[f"RAC{k}"], header[f"DECC{k}"] = (corner_ra, f"RA corner {k}"), (corner_dec, f"DEC corner {k}")
    header["RACMIN"] = (float(corners[:, 0].min()), "Minimum extent of image in RA")
    header["RACMAX"] = (float(corners[:, 0].max()), "Maximum extent of image in RA")
    header["DECCMIN"] = (float(corners[:, 1].min()), "Minimum extent of image in Declination")
    header["DECCMAX"] = (float(corners[:, 1].max()), "Maximum extent of image in Declination")
    header["CROSSRA0"] = ("Y" if np.ptp(corners[:, 0]) > 180 else "N", "Does Image Span RA 0h (Y/N)")
    if science:
        header["MAGZERO"] = (ZERO_POINT, "Mag Zero-point in magnitudes/s")
    return header
