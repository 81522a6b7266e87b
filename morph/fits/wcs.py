"""Where an image lies on the sky: coordinates from its header, and positions in ICRS.

Headers may hold equatorial coordinates of other frames and equinoxes (FK4, FK5) or galactic ones. Astropy knows them;
here, and nowhere else, they become right ascension and declination in ICRS, and back.
"""

import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import ICRS, BaseCoordinateFrame, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame
from numpy.typing import ArrayLike

from morph.errors import InputError
from morph.fits.headers import number, value

#: A range of right ascension and one of declination, degrees.
Bounds = tuple[tuple[float, float], tuple[float, float]]


#: Pixel scales between which a header's can be believed, arcsec.
PIXEL_SCALES = (0.005, 30.0)


#: Axes of the frames that astropy turns into ICRS. It takes ecliptic longitudes for right ascensions.
FRAMES = (("RA", "DEC"), ("GLON", "GLAT"))


def celestial(header: fits.Header, path: Path) -> WCS:
    """The celestial coordinate system of an image, longitude first; `morph.fits.wcs` makes ICRS of it.

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


def frame_of(wcs: WCS) -> BaseCoordinateFrame:
    """The frame of an image's coordinates. Raises ValueError where astropy does not know it."""
    return wcs_to_celestial_frame(wcs)


def to_sky(wcs: WCS, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Positions on the sky of places on an image.

    Parameters
    ----------
    wcs : the image's coordinate system, in any frame that astropy knows.
    x, y : places, pixels, 0-based.

    Returns
    -------
    ra, dec : ICRS, degrees, 0 <= ra < 360; NaN where a place shows no sky (beyond an all-sky projection's edge).
    """
    longitude, latitude = wcs.all_pix2world(x, y, 0)
    frame = frame_of(wcs)
    if not isinstance(frame, ICRS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ERFA calls years before 1960 dubious
            sky = SkyCoord(np.asarray(longitude), np.asarray(latitude), unit="deg", frame=frame).icrs
        longitude, latitude = sky.ra.deg, sky.dec.deg
    ra = np.mod(longitude, 360.0)
    # The remainder of a tiny negative number rounds to 360 itself.
    return np.where(ra == 360.0, 0.0, ra), np.asarray(latitude)


def to_pixels(wcs: WCS, ra: ArrayLike, dec: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Places on an image of positions on the sky; each is independent of the others.

    Parameters
    ----------
    wcs : the image's coordinate system, in any frame that astropy knows.
    ra, dec : positions, ICRS, degrees.

    Returns
    -------
    x, y : pixels, 0-based; NaN where a position is not on the image's projection.
    """
    frame = frame_of(wcs)
    longitude, latitude = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    if not isinstance(frame, ICRS):
        valid = np.abs(latitude) <= 90
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sky = SkyCoord(longitude, np.where(valid, latitude, np.nan), unit="deg", frame="icrs").transform_to(frame)
        longitude, latitude = sky.spherical.lon.deg, sky.spherical.lat.deg
    # Distorted images (SIP) are inverted by steps that need not end far away from them. `adaptive` ends them for each
    # position by itself; otherwise one more step for all would be taken where any position needs it.
    return wcs.all_world2pix(longitude, latitude, 0, quiet=True, adaptive=True)
