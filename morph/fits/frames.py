"""Positions on the sky, ICRS, of places on an image, whatever frame the image's own coordinates are in.

Headers may hold equatorial coordinates of other frames and equinoxes (FK4, FK5) or galactic ones. Astropy knows them;
here, and nowhere else, they become right ascension and declination in ICRS, and back.
"""

import warnings

import numpy as np
from astropy.coordinates import ICRS, BaseCoordinateFrame, SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import ArrayLike


def frame_of(wcs: WCS) -> BaseCoordinateFrame:
    """The frame of an image's coordinates. ValueError where astropy knows none such."""
    return wcs_to_celestial_frame(wcs)


def to_sky(wcs: WCS, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension (0 <= ra < 360) and declination, ICRS, degrees, of places on an image (pixels, 0-based).

    NaN where a place shows no sky, as beyond the edge of an all-sky projection.
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
    """Places on an image (pixels, 0-based) of positions (ICRS, degrees); that of one does not depend on the others'.

    NaN where a position cannot be on the image's projection.
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


#: A range of right ascension and one of declination, degrees.
Bounds = tuple[tuple[float, float], tuple[float, float]]
