"""Brightness of galaxies in calibrated images."""

import numpy as np
import sep
from numpy.typing import ArrayLike

from morph.images.flags import SMALLEST_RADIUS
from morph.surveys import Survey, magnitude

#: Half-light radius of a Moffat profile with the slope of real seeing (beta = 3), in units of its full width at
#: half maximum.
MOFFAT_HALF_LIGHT = 0.631


def point_source_radius(survey: Survey) -> float:
    """Half-light radius of a point source in the survey's middle band, arcsec; NaN where its seeing is not known."""
    return MOFFAT_HALF_LIGHT * survey.seeing[1]


def smallest_radius(survey: Survey, pixel_scale: float) -> float:
    """The half-light radius, arcsec, below which nothing on an image is larger than a point source.

    The survey's point sources'; where its seeing is not known, that of the sharpest point source that pixels of
    `pixel_scale` (arcsec) can sample.
    """
    known = point_source_radius(survey)
    return known if np.isfinite(known) else SMALLEST_RADIUS * pixel_scale


def intensity(image: np.ndarray) -> np.ndarray:
    """The mean of the bands that have data: float32 [h, w].

    Parameters
    ----------
    image : [h, w, bands], NaN where there is no data. A band without any data is left out; elsewhere a pixel
        that lacks one of the bands is NaN, since its mean would have another colour.
    """
    present = np.isfinite(image).any(axis=(0, 1))
    if not present.any():
        return np.full(image.shape[:2], np.nan, dtype="float32")
    return image[..., present].mean(axis=-1, dtype="float32")


def magnitudes(plane: np.ndarray, x: ArrayLike, y: ArrayLike, radius: ArrayLike) -> np.ndarray:
    """Total magnitudes of galaxies in one band: float [n], NaN where the flux is not positive or not measured.

    Twice the flux within the half-light radius, which holds half of the light by its definition. A smaller
    aperture than the usual ones takes in less of the neighbours, and the colour is that of the inner galaxy.

    Parameters
    ----------
    plane : [h, w], nanomaggies per pixel, sky subtracted, NaN where there is no data.
    x, y, radius : [n], centres and half-light radii, pixels, 0-based.
    """
    bad = ~np.isfinite(plane)
    x, y, radius = (np.atleast_1d(np.asarray(values, dtype=float)) for values in (x, y, radius))
    usable = np.isfinite(x) & np.isfinite(y) & (radius > 0)
    flux = np.full(len(x), np.nan)
    if usable.any() and not bad.all():
        image = np.where(bad, 0, plane).astype("float32")
        total, _, _ = sep.sum_circle(image, x[usable], y[usable], radius[usable], mask=bad, subpix=5)
        flux[usable] = 2 * total
    return magnitude(flux)
