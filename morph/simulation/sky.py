"""What else is on an image: faint galaxies and stars, as many and as bright as the real sky has.

Sources can be drawn on part of a larger image: `top` is then the row of the larger image at which the part begins.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from morph.surveys import NANOMAGGY_ZERO_POINT, Survey

#: Galaxies brighter than r = 22 per square arcsec, and the slope of log10 of the counts: round values of the field's
#: counts, the first lowered after a comparison with one real DES field.
GALAXIES_AT_22 = 9e-4
GALAXY_SLOPE = 0.38

#: Stars brighter than r = 20 per square arcsec at high Galactic latitude, and their slope.
STARS_AT_20 = 1.9e-4
STAR_SLOPE = 0.17

#: Nothing brighter than this comes into a field by chance.
BRIGHTEST_GALAXY, BRIGHTEST_STAR = 16.0, 14.0

#: Stars brighter than this show diffraction spikes.
SPIKES = 15.5

#: Arcsec from a star within which its spikes and its halo are drawn: they are lost in the noise beyond.
SPIKE_REACH = 70.0

#: Distance, arcsec, within which a star's scattered light is flat.
GLOW_SCALE = 8.0

#: Wings of the profiles: those of seeing for stars, those of galaxies blurred by it.
STAR_BETA, GALAXY_BETA = 3.0, 2.4

#: Wings fainter than this (nanomaggies per pixel) are not drawn: a tenth of the noise of the deepest survey.
FAINTEST_WING = 1e-4


def faint_limit(survey: Survey) -> float:
    """The magnitude in r beyond which sources are lost in the noise."""
    return survey.depth[1] + 0.5


def add_neighbours(image: np.ndarray, survey: Survey, seeing: np.ndarray, rng: np.random.Generator) -> None:
    """Put the field's stars and galaxies anywhere on an image.

    Parameters
    ----------
    image : [h, w, 3], nanomaggies per pixel; changed in place.
    survey : which decides on pixels and depth.
    seeing : full width at half maximum in each band, arcsec.
    rng : random numbers.
    """
    for blob in draw_galaxies(image.shape[:2], survey, seeing, rng):
        add_blob(image, *blob)
    for magnitude in star_magnitudes(image.shape[:2], survey, rng):
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(0, image.shape[0])
        add_star(image, x, y, magnitude, survey, seeing, rng)


class Blob(NamedTuple):
    """An elliptical Moffat profile: centre (pixels), flux (nanomaggies) and full width at half maximum (pixels) in
    each band, axis ratio, angle (radians) and the slope of its wings."""

    x: float
    y: float
    flux: np.ndarray
    fwhm: np.ndarray
    axis_ratio: float
    angle: float
    beta: float

    @property
    def reach(self) -> int:
        """Pixels from the centre within which it is drawn."""
        return int(max(_core_and_reach(self.flux, self.fwhm, self.axis_ratio, self.beta)[2], 4))


def draw_galaxies(
    shape: tuple[int, int], survey: Survey, seeing, rng, brightest: float = BRIGHTEST_GALAXY
) -> Iterator[Blob]:
    """Draw the galaxies of a field.

    Parameters
    ----------
    shape : rows and columns of the image.
    survey, seeing, rng : as for `add_neighbours`.
    brightest : magnitude in r of the brightest.
    """
    for magnitude in _magnitudes(shape, GALAXIES_AT_22, 22.0, GALAXY_SLOPE, brightest, survey, rng):
        radius = 10 ** (0.40 - 0.14 * (magnitude - 17) + rng.normal(0, 0.17))
        width = np.hypot(seeing, 1.7 * radius) / survey.pixel_scale
        flux = band_fluxes(magnitude, *galaxy_colours(magnitude, rng))
        x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        axis_ratio = rng.uniform(0.35, 1) if radius > 0.4 else rng.uniform(0.7, 1)
        yield Blob(x, y, flux, width, axis_ratio, rng.uniform(0, np.pi), GALAXY_BETA)


def star_magnitudes(shape: tuple[int, int], survey: Survey, rng, brightest: float = BRIGHTEST_STAR) -> np.ndarray:
    """Magnitudes in r of the stars of a field.

    Parameters
    ----------
    shape : rows and columns of the image.
    survey : which decides on pixels and depth.
    rng : random numbers.
    brightest : magnitude in r of the brightest.
    """
    return _magnitudes(shape, STARS_AT_20, 20.0, STAR_SLOPE, brightest, survey, rng)


def _magnitudes(shape, density: float, at: float, slope: float, brightest: float, survey: Survey, rng) -> np.ndarray:
    """Magnitudes of the sources in an image's field: 10^(slope m) counts, `density` (per arcsec^2) above `at`."""
    area = shape[0] * shape[1] * survey.pixel_scale**2
    bright, faint = (density * 10 ** (slope * (m - at)) for m in (brightest, faint_limit(survey)))
    count = rng.poisson(area * max(faint - bright, 0))
    return at + np.log10(rng.uniform(bright, faint, count) / density) / slope


def galaxy_colours(magnitude: float, rng: np.random.Generator) -> tuple[float, float]:
    """g - r and r - i of a galaxy of the field: bluer and more mixed when faint."""
    red = rng.random() < np.clip(0.55 - 0.06 * (magnitude - 18), 0.15, 0.6)
    if red:
        return rng.normal(1.15, 0.25), rng.normal(0.5, 0.15)
    return rng.normal(0.5, 0.2), rng.normal(0.2, 0.12)


def star_colours(magnitude: float, rng: np.random.Generator) -> tuple[float, float]:
    """g - r and r - i of a star: along the stellar locus (Covey et al. 2007); red dwarfs abound when faint."""
    if rng.random() < np.clip(0.12 + 0.07 * (magnitude - 15), 0.08, 0.55):
        return rng.normal(1.42, 0.06), 0.55 + 1.0 * rng.random() ** 2
    g_r = rng.uniform(0.15, 1.2)
    return g_r, 0.37 * g_r + rng.normal(0, 0.04)


def band_fluxes(magnitude: float, g_r: float, r_i: float) -> np.ndarray:
    """Fluxes of a source in g, r, i, nanomaggies.

    Parameters
    ----------
    magnitude : in r.
    g_r, r_i : colours, magnitudes.
    """
    return 10 ** (0.4 * (NANOMAGGY_ZERO_POINT - magnitude - np.array([g_r, 0.0, -r_i])))


def star_blob(x: float, y: float, flux: np.ndarray, survey: Survey, seeing) -> Blob:
    """A star without its diffraction spikes.

    Parameters
    ----------
    x, y : its place, pixels.
    flux : in each band, nanomaggies.
    survey, seeing : as for `add_neighbours`.
    """
    return Blob(x, y, flux, seeing / survey.pixel_scale, 1.0, 0.0, STAR_BETA)


def add_star(image, x: float, y: float, magnitude: float, survey: Survey, seeing, rng, top: int = 0) -> None:
    """Put a star on an image, with diffraction spikes if it is bright.

    Parameters
    ----------
    image, survey, seeing, rng : as for `add_neighbours`.
    x, y : its place, pixels.
    magnitude : in r.
    top : the image's first row in the larger image, to which `y` refers.
    """
    flux = band_fluxes(magnitude, *star_colours(magnitude, rng))
    add_blob(image, *star_blob(x, y, flux, survey, seeing), top=top)
    if magnitude < SPIKES:
        add_spikes(image, x, y, flux, survey, rng, top=top)


def add_spikes(
    image, x: float, y: float, flux: np.ndarray, survey: Survey, rng, halo: float = 0.02, top: int = 0
) -> None:
    """Add the cross that the mirror's supports make, and the wide halo of scattered light.

    Parameters
    ----------
    image, survey, rng : as for `add_neighbours`.
    x, y : the star's place, pixels.
    flux : in each band, nanomaggies.
    halo : share of the flux in the halo.
    top : as for `add_star`.
    """
    uneven = rng.uniform(0.9, 1.1, 3)
    box = box_around(image, x, y, int(SPIKE_REACH / survey.pixel_scale), top)
    if box is None:
        return
    columns, rows = offsets(box, x, y, top)
    tilt = np.radians(45.0 if survey.name in ("des", "decals") else 15.0)
    cos, sin = np.cos(tilt), np.sin(tilt)
    a, b = cos * columns + sin * rows, cos * rows - sin * columns
    reach = 5.0 / survey.pixel_scale
    thin = 0.9 / survey.pixel_scale
    cross = np.exp(-0.5 * (b / thin) ** 2 - np.abs(a) / reach) + np.exp(-0.5 * (a / thin) ** 2 - np.abs(b) / reach)
    cross /= 4 * reach * thin * np.sqrt(2 * np.pi)
    wide = glow(columns, rows, GLOW_SCALE / survey.pixel_scale)
    image[box] += ((0.03 * cross + halo * wide)[..., None] * flux * uneven).astype("float32")


def glow(columns: np.ndarray, rows: np.ndarray, scale: float) -> np.ndarray:
    """Scattered light around a source of unit flux, per pixel: it falls as the third power of the distance.

    Parameters
    ----------
    columns, rows : offsets from the source, pixels; they are broadcast.
    scale : the distance within which it is flat, pixels.
    """
    return 1 / (2 * np.pi * scale**2) / (1 + (columns**2 + rows**2) / scale**2) ** 1.5


def add_blob(
    image, x: float, y: float, flux, fwhm, axis_ratio: float, angle: float, beta: float, top: int = 0
) -> None:
    """Add a `Blob` to an image.

    Parameters
    ----------
    image : [h, w, 3], nanomaggies per pixel; changed in place.
    x, y, flux, fwhm, axis_ratio, angle, beta : the fields of the `Blob`.
    top : as for `add_star`.
    """
    core, peak, reach = _core_and_reach(flux, fwhm, axis_ratio, beta)
    box = box_around(image, x, y, int(np.clip(reach, 4, max(image.shape))), top)
    if box is None:
        return
    dx, dy = offsets(box, x, y, top)
    cos, sin = np.cos(angle), np.sin(angle)
    squared = (cos * dx + sin * dy) ** 2 * axis_ratio + (cos * dy - sin * dx) ** 2 / axis_ratio
    profile = (1 + squared.astype("float32")[..., None] / core**2) ** np.float32(-beta)
    image[box] += peak * profile


def _core_and_reach(flux, fwhm, axis_ratio: float, beta: float) -> tuple[np.ndarray, np.ndarray, float]:
    """A Moffat profile's core radius (pixels), its peak (nanomaggies per pixel), and how far it is drawn (pixels)."""
    core = (np.asarray(fwhm) / (2 * np.sqrt(2 ** (1 / beta) - 1))).astype("float32")
    peak = (np.asarray(flux) * (beta - 1) / (np.pi * core**2)).astype("float32")
    # The box ends where the profile has fallen below what any survey's noise would show.
    reach = float(np.max(core * np.maximum(peak / FAINTEST_WING, 4.0) ** (1 / (2 * beta)))) / np.sqrt(axis_ratio)
    return core, peak, reach


def box_around(image: np.ndarray, x: float, y: float, reach: int, top: int = 0) -> tuple[slice, slice] | None:
    """Rows and columns of an image around a place; None where all are outside the image.

    Parameters
    ----------
    image : [h, w, 3].
    x, y : the place, pixels.
    reach : pixels on each side.
    top : as for `add_star`.
    """
    height, width = image.shape[:2]
    left, right = max(int(x) - reach, 0), min(int(x) + reach + 1, width)
    low, high = max(int(y) - reach - top, 0), min(int(y) + reach + 1 - top, height)
    return (slice(low, high), slice(left, right)) if left < right and low < high else None


def offsets(box: tuple[slice, slice], x: float, y: float, top: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns [1, w] and rows [h, 1] of a box, counted from a place.

    Parameters
    ----------
    box : rows and columns of the image.
    x, y : the place, pixels.
    top : as for `add_star`.
    """
    rows, columns = box
    return (np.arange(columns.start, columns.stop) - x)[None, :], (np.arange(rows.start, rows.stop) + top - y)[:, None]
