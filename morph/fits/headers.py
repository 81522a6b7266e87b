"""What the header of a FITS image says: its cards, and where the image lies on the sky.

A header that says nothing is no error here; one that says nonsense is, since whatever is measured would be wrong.
"""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from morph.errors import InputError
from morph.fits.bands import CARDS
from morph.fits.frames import frame_of

#: Cards that hold the AB magnitude of one count, in the order in which they are believed.
ZERO_POINT_CARDS = (
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "ZEROPNT",
    "ZEROPOIN",
    "MAG_ZERO",
    "PHOTZP",
    "PHOT_ZP",
    "ABZP",
    "MZP_AB",
    "ZP",
    "ZPAPPROX",
)
#: Cards that name the system of the magnitudes in the cards above.
SYSTEM_CARDS = ("MAGSYS", "PHOTSYS", "PHOT_SYS", "ZPSYS", "MAGTYPE")

#: What a primary header may say for all the images behind it.
INHERITED = (
    *ZERO_POINT_CARDS,
    *SYSTEM_CARDS,
    *CARDS,
    *("FLUXMAG0", "BUNIT", "TILENAME", "SATURATE", "SOFTNAME"),
    *("TELESCOP", "INSTRUME", "OBJECT", "EXPTIME", "PHOTFLAM", "PHOTPLAM", "PIXAR_SR", "FPA.ZP"),
    "PROCTYPE",
    *("BRICK", "BRICKNAM", "TILEID", "SKYCELL", "FPA.INSTRUMENT"),
    *(f"LSST BUTLER DATAID {key}" for key in ("TRACT", "PATCH", "INSTRUMENT")),
)

#: Pixel scales between which a header's can be believed, arcsec.
PIXEL_SCALES = (0.005, 30.0)

#: Axes of the frames that astropy turns into ICRS. It takes ecliptic longitudes for right ascensions.
FRAMES = (("RA", "DEC"), ("GLON", "GLAT"))


def value(header: fits.Header, key: str) -> bool | int | float | str | None:
    """What the header says of `key`; None where it says nothing, or nothing that FITS allows."""
    try:
        found = header.get(key)
    except fits.VerifyError:
        return None
    return found.strip() if isinstance(found, str) else found if isinstance(found, (int, float)) else None


def number(header: fits.Header, key: str) -> float | None:
    """The finite number that the header has for `key`; None where it has none."""
    found = value(header, key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not np.isfinite(found):
        return None
    return float(found)


def with_primary(header: fits.Header, primary: fits.Header) -> fits.Header:
    """An image's header with what only the file's primary header says of all its images (`INHERITED`)."""
    header = header.copy()
    for key in INHERITED:
        if key in primary and key not in header:
            header.append(primary.cards[key])
    return header


def celestial(header: fits.Header, path: Path) -> WCS:
    """The celestial coordinate system of an image, longitude first; `morph.fits.frames` makes ICRS of it.

    InputError when the header has none, one of a frame that astropy does not know, or one that cannot be right:
    without a reference point or a scale, degenerate, or with pixels outside `PIXEL_SCALES`. wcslib takes 0 for what is
    missing, and that is a place on the sky too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wcslib reports every harmless repair of a header
        try:
            wcs = WCS(header)
            if not wcs.has_celestial:
                raise InputError(f"'{path}' has no sky coordinates (WCS) in its header; a tile needs them.")
            wcs = _longitude_first(wcs.celestial)
            wrong = _wrong_cards(header) or _wrong_axes(wcs)
        except InputError:
            raise
        except Exception as error:  # wcslib raises its own classes for each kind of nonsense in a header
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            wrong = _wrong_cards(header) or lines[-1].rstrip(".")
    if wrong:
        raise InputError(f"The sky coordinates in the header of '{path}' make no sense ({wrong}); correct the header.")
    return wcs


def _wrong_cards(header: fits.Header) -> str | None:
    """What is wrong with the numbers in the header that make its sky coordinates."""
    missing = [key for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2") if number(header, key) is None]
    if missing:
        return f"{' and '.join(missing)} missing, or no number"
    if not any(key in header for key in ("CD1_1", "CD1_2", "CDELT1", "PC1_1")):
        return "they have no scale: neither CD1_1 nor CDELT1 is there"
    first, second = (number(header, key) or 0.0 for key in ("CRVAL1", "CRVAL2"))
    ra, dec = (second, first) if str(value(header, "CTYPE1")).startswith("DEC") else (first, second)
    if abs(dec) > 90 or abs(ra) > 360:
        return f"they are centred at right ascension {ra:g}, declination {dec:g}"
    return None


def _longitude_first(wcs: WCS) -> WCS:
    """The same coordinates with the longitude as their first axis; the pixels' axes stay as they are."""
    if wcs.wcs.lng == 0:
        return wcs
    turned = wcs.deepcopy()
    turned.wcs.ctype, turned.wcs.cunit = list(wcs.wcs.ctype)[::-1], list(wcs.wcs.cunit)[::-1]
    turned.wcs.crval = wcs.wcs.crval[::-1]
    if wcs.wcs.has_cd():
        turned.wcs.cd = wcs.wcs.cd[::-1]
    else:
        turned.wcs.cdelt, turned.wcs.pc = wcs.wcs.cdelt[::-1], wcs.wcs.get_pc()[::-1]
    axes = {1: 2, 2: 1}
    turned.wcs.set_pv([(axes[axis], number, value) for axis, number, value in wcs.wcs.get_pv()])
    turned.wcs.set()
    return turned


def _wrong_axes(wcs: WCS) -> str | None:
    """What is wrong with the axes of sky coordinates that wcslib could read."""
    longitude, latitude = (name.partition("-")[0] for name in wcs.wcs.ctype)
    if (longitude, latitude) not in FRAMES:
        return f"they are {longitude}, {latitude}, neither right ascension and declination nor galactic"
    try:
        frame_of(wcs)
    except ValueError:
        return f"their frame is {wcs.wcs.radesys}, which is not one of ICRS, FK5, FK4 and FK4-NO-E"
    scales = proj_plane_pixel_scales(wcs) * 3600
    smallest, largest = PIXEL_SCALES
    if not (np.isfinite(scales).all() and (scales > smallest).all() and (scales < largest).all()):
        return f"a pixel is {scales[0]:.3g} x {scales[1]:.3g} arcsec"
    if abs(np.linalg.det(wcs.pixel_scale_matrix)) * 3600**2 < 0.1 * scales.prod():
        return "their axes are parallel"
    return None


def as_written(header: fits.Header, key: str) -> str:
    """A value as it stands in the header, whether FITS allows it or not."""
    try:
        return header.cards[key].image.partition("=")[2].partition("/")[0].strip()
    except (ValueError, fits.VerifyError):  # bytes that FITS does not allow
        return "not readable"
