"""What else is on an image: faint galaxies and stars, as many and as bright as the real sky has."""

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

#: Wings of the profiles: those of seeing for stars, those of galaxies blurred by it.
STAR_BETA, GALAXY_BETA = 3.0, 2.4

#: Wings fainter than this (nanomaggies per pixel) are not drawn: a tenth of the noise of the deepest survey.
FAINTEST_WING = 1e-4


def faint_limit(survey: Survey) -> float:
    """The magnitude in r beyond which sources are lost in the noise."""
    return survey.depth[1] + 0.5


def add_neighbours(image: np.ndarray, survey: Survey, seeing: np.ndarray, rng: np.random.Generator) -> None:
    """Put stars and galaxies anywhere on `image` [h, w, 3] (nanomaggies per pixel), in place."""
    add_galaxies(image, survey, seeing, rng)
    add_stars(image, survey, seeing, rng)


def add_galaxies(image, survey: Survey, seeing, rng, brightest: float = BRIGHTEST_GALAXY) -> None:
    """Put the field's galaxies fainter than `brightest` on `image`, in place."""
    for magnitude in _magnitudes(image, GALAXIES_AT_22, 22.0, GALAXY_SLOPE, brightest, survey, rng):
        radius = 10 ** (0.40 - 0.14 * (magnitude - 17) + rng.normal(0, 0.17))
        width = np.hypot(seeing, 1.7 * radius) / survey.pixel_scale
        flux = band_fluxes(magnitude, *galaxy_colours(magnitude, rng))
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(0, image.shape[0])
        axis_ratio = rng.uniform(0.35, 1) if radius > 0.4 else rng.uniform(0.7, 1)
        add_blob(image, x, y, flux, width, axis_ratio, rng.uniform(0, np.pi), GALAXY_BETA)


def add_stars(image, survey: Survey, seeing, rng, brightest: float = BRIGHTEST_STAR) -> None:
    """Put the field's stars fainter than `brightest` on `image`, in place."""
    for magnitude in _magnitudes(image, STARS_AT_20, 20.0, STAR_SLOPE, brightest, survey, rng):
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(0, image.shape[0])
        add_star(image, x, y, magnitude, survey, seeing, rng)


def _magnitudes(image, density: float, at: float, slope: float, brightest: float, survey: Survey, rng) -> np.ndarray:
    """Magnitudes of the sources in an image's field: 10^(slope m) counts, `density` (per arcsec^2) above `at`."""
    area = image.shape[0] * image.shape[1] * survey.pixel_scale**2
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
    """Fluxes in g, r, i (nanomaggies) of a source of magnitude r."""
    return 10 ** (0.4 * (NANOMAGGY_ZERO_POINT - magnitude - np.array([g_r, 0.0, -r_i])))


def add_star(image, x: float, y: float, magnitude: float, survey: Survey, seeing, rng) -> None:
    """Put a star at `x`, `y` (pixels), with diffraction spikes if it is bright."""
    flux = band_fluxes(magnitude, *star_colours(magnitude, rng))
    add_blob(image, x, y, flux, seeing / survey.pixel_scale, 1.0, 0.0, STAR_BETA)
    if magnitude < SPIKES:
        add_spikes(image, x, y, flux, survey, rng)


def add_spikes(image, x: float, y: float, flux: np.ndarray, survey: Survey, rng, halo: float = 0.02) -> None:
    """The cross that the mirror's supports make, and the wide halo of scattered light."""
    box = _box(image, x, y, int(SPIKE_REACH / survey.pixel_scale))
    if box is None:
        return
    columns, rows = (
        np.arange(box[1].start, box[1].stop)[None, :] - x,
        np.arange(box[0].start, box[0].stop)[:, None] - y,
    )
    tilt = np.radians(45.0 if survey.name in ("des", "decals") else 15.0)
    cos, sin = np.cos(tilt), np.sin(tilt)
    a, b = cos * columns + sin * rows, cos * rows - sin * columns
    reach = 5.0 / survey.pixel_scale
    thin = 0.9 / survey.pixel_scale
    cross = np.exp(-0.5 * (b / thin) ** 2 - np.abs(a) / reach) + np.exp(-0.5 * (a / thin) ** 2 - np.abs(b) / reach)
    cross /= 4 * reach * thin * np.sqrt(2 * np.pi)
    wide = 8.0 / survey.pixel_scale
    glow = 1 / (2 * np.pi * wide**2) / (1 + (columns**2 + rows**2) / wide**2) ** 1.5
    uneven = rng.uniform(0.9, 1.1, 3)
    image[box] += ((0.03 * cross + halo * glow)[..., None] * flux * uneven).astype("float32")


def add_blob(image, x: float, y: float, flux, fwhm, axis_ratio: float, angle: float, beta: float) -> None:
    """Add an elliptical Moffat profile at `x`, `y` (pixels); `flux` and `fwhm` (pixels) have one entry a band."""
    core = (np.asarray(fwhm) / (2 * np.sqrt(2 ** (1 / beta) - 1))).astype("float32")
    peak = (np.asarray(flux) * (beta - 1) / (np.pi * core**2)).astype("float32")
    # The box ends where the profile has fallen below what any survey's noise would show.
    reach = float(np.max(core * np.maximum(peak / FAINTEST_WING, 4.0) ** (1 / (2 * beta)))) / np.sqrt(axis_ratio)
    box = _box(image, x, y, int(np.clip(reach, 4, max(image.shape))))
    if box is None:
        return
    dx = (np.arange(box[1].start, box[1].stop) - x)[None, :]
    dy = (np.arange(box[0].start, box[0].stop) - y)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    squared = (cos * dx + sin * dy) ** 2 * axis_ratio + (cos * dy - sin * dx) ** 2 / axis_ratio
    profile = (1 + squared.astype("float32")[..., None] / core**2) ** np.float32(-beta)
    image[box] += peak * profile


def _box(image: np.ndarray, x: float, y: float, reach: int) -> tuple[slice, slice] | None:
    """Rows and columns within `reach` pixels of `x`, `y`; None where all are outside the image."""
    height, width, _ = image.shape
    left, right = max(int(x) - reach, 0), min(int(x) + reach + 1, width)
    top, bottom = max(int(y) - reach, 0), min(int(y) + reach + 1, height)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None
