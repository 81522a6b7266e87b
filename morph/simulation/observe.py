"""Observing a scene with a survey: blurring, sampling, neighbours, artifacts and noise.

The point-spread function is a Moffat profile of the survey's seeing; sky noise comes from its depth, and the
noise of the galaxy's own light from the brightness of the sky, since both are counts of photons. Coadds leave
their pixels' noise correlated. Neighbours follow the number counts of galaxies and stars at high latitude.
"""

from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from scipy.ndimage import gaussian_filter

from morph.simulation.canvas import Canvas
from morph.simulation.light import draw
from morph.simulation.scenes import Scene
from morph.simulation.sky import add_blob, add_neighbours, add_spikes, band_fluxes, star_colours
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey, magnitude

#: Slope of the wings of the point-spread function (Trujillo et al. 2001 give 2.5 to 4.8 for real seeing).
MOFFAT_BETA = 3.0

#: Brightness of a dark sky in g, r, i, mag per square arcsec (SDSS DR7 and DES site averages).
SKY_BRIGHTNESS = (22.0, 21.0, 20.2)

#: How well the bands are aligned, in pixels.
REGISTRATION = 0.1

#: Flux in z over that in i, for surveys that have z instead: i - z of 0.25 mag, a galaxy's between blue and red.
Z_OVER_I = 1.26

#: Observed half-light radii across the field of a galaxy, where the caller gives none.
FIELD_RADII = 13.0

#: Scenes are drawn twice finer than the survey's pixels; galaxies that need a field of more pixels are so large that
#: pixels are fine enough.
LARGEST_FINE_FIELD = 224

#: Fields are rounded up to a multiple of this many pixels, so that their point-spread functions can be kept.
SIZE_STEP = 16
SMALLEST_FIELD = 48


@dataclass(frozen=True, eq=False)
class Observation:
    """A survey's image of a scene.

    `image` is float32 [size, size, 3], nanomaggies per pixel in g, r, i; `truth` the same without noise and residual
    sky; `magnitudes`, those of the scene without noise.
    """

    scene: Scene
    survey: Survey
    image: np.ndarray
    truth: np.ndarray
    magnitudes: tuple[float, float, float]


@lru_cache(maxsize=256)
def _canvas(size: int, scale: float, finer: int) -> Canvas:
    return Canvas(size, scale, finer)


@lru_cache(maxsize=64)
def _psf(size: int, scale: float, fwhm: float) -> np.ndarray:
    seeing = galsim.Moffat(beta=MOFFAT_BETA, fwhm=fwhm)
    return _canvas(size, scale, 1).response(galsim.Convolve(seeing, galsim.Pixel(scale)))


def usual_field(scene: Scene, survey: Survey) -> float:
    """The field in which a survey observes a scene, if the caller gives none: arcsec across."""
    return FIELD_RADII * float(np.hypot(scene.radius, 0.5 * max(survey.seeing)))


def _pixels_across(field: float, survey: Survey) -> int:
    return SIZE_STEP * int(np.ceil(max(field / survey.pixel_scale, SMALLEST_FIELD) / SIZE_STEP))


def _points_per_pixel(size: int) -> int:
    return 2 if size <= LARGEST_FINE_FIELD else 1


def observe(
    scene: Scene, survey: Survey, seed: int | np.random.SeedSequence, field: float | None = None
) -> Observation:
    """Observe a scene, in the middle of a field with neighbours and noise.

    Parameters
    ----------
    scene : the galaxy.
    survey : the survey that observes it.
    seed : of the noise, the neighbours and the seeing; the scene has its own seed, so that two surveys can observe
        one galaxy.
    field : arcsec across; `usual_field` if not given.
    """
    rng = np.random.default_rng(seed)
    seeing = np.asarray(survey.seeing) * rng.lognormal(0, 0.05) * rng.lognormal(0, 0.02, 3)
    # How finely a galaxy is drawn does not depend on how much sky is around it.
    finer = _points_per_pixel(_pixels_across(usual_field(scene, survey), survey))
    image, fluxes = blurred_light(scene, survey, seeing, rng, field=field, finer=finer)
    add_neighbours(image, survey, seeing, rng)
    if survey.bands[2] == "z":
        image[..., 2] *= Z_OVER_I
    blank = add_artifact(image, scene, survey, seeing, rng) if scene.artifact else None
    truth = image.copy()
    add_noise(image, survey, rng)
    if blank is not None:
        image[blank] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        g, r, i = (float(m) for m in magnitude(fluxes))
    return Observation(scene, survey, image, truth, (g, r, i))


def blurred_light(
    scene: Scene,
    survey: Survey,
    seeing: np.ndarray,
    rng: np.random.Generator,
    x: float = 0.0,
    y: float = 0.0,
    field: float | None = None,
    finer: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The scene alone, blurred and sampled by `survey`, without noise.

    Parameters
    ----------
    seeing : full width at half maximum in each band, arcsec, at least nine tenths of the survey's own.
    x, y : the galaxy's centre, arcsec from the middle of the image.
    field : arcsec across; `usual_field` if not given.
    finer : points per pixel and axis on which the scene is drawn; by the field's size if not given.

    Returns
    -------
    image : float32 [size, size, 3], nanomaggies per pixel; size is even, so its middle is between pixels.
    fluxes : total flux in g, r, i, nanomaggies.
    """
    size = _pixels_across(usual_field(scene, survey) if field is None else field, survey)
    canvas = _canvas(size, survey.pixel_scale, finer or _points_per_pixel(size))
    spectrum = draw(scene, canvas, x, y)
    fluxes = np.abs(spectrum[:, 0, 0])
    for band in range(3):
        # The point-spread function that is cached is slightly sharper than any seeing, and is blurred to this one.
        sharp = 0.9 * survey.seeing[band]
        soft = np.sqrt(max(seeing[band] ** 2 - sharp**2, 0)) / 2.3548
        shift = canvas.moved(*rng.normal(0, REGISTRATION * survey.pixel_scale, 2))
        spectrum[band] *= _psf(size, survey.pixel_scale, sharp) * canvas.blur(soft) * shift
    return np.ascontiguousarray(np.moveaxis(canvas.draw(spectrum), 0, -1), dtype="float32"), fluxes


def add_noise(image: np.ndarray, survey: Survey, rng: np.random.Generator) -> None:
    """Add photon noise of sky and sources, and a residual sky background.

    Parameters
    ----------
    image : [h, w, 3], nanomaggies per pixel; changed in place.
    survey : whose noise it is.
    rng : random numbers.
    """
    noise = rng.standard_normal(image.shape, dtype="float32")
    if survey.noise_correlation:
        noise = correlate(noise, survey.noise_correlation)
    noise = photon_noise(noise, image, survey)
    image += noise + sky_residual(image.shape[:2], draw_residual(survey, rng))


def photon_noise(noise: np.ndarray, image: np.ndarray, survey: Survey) -> np.ndarray:
    """Scale noise to that of the sky and of the light on an image.

    Parameters
    ----------
    noise : of unit variance, [h, w, 3]; changed in place, and returned.
    image : the light, nanomaggies per pixel.
    survey : whose noise it is.
    """
    sky = 10 ** ((NANOMAGGY_ZERO_POINT - np.asarray(SKY_BRIGHTNESS)) / 2.5) * survey.pixel_scale**2
    noise *= (survey.noise() * np.sqrt(1 + np.maximum(image, 0) / sky)).astype("float32")
    return noise


def draw_residual(survey: Survey, rng: np.random.Generator) -> np.ndarray:
    """Level and slopes along x and y of the residual sky background, nanomaggies per pixel: [3, 1, 1, bands]."""
    return rng.normal(0, 0.08, (3, 1, 1, 3)) * survey.noise()


def sky_residual(shape: tuple[int, int], residual: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    """The residual sky background of an image, or of some of its rows: float32 [rows, w, 3].

    Parameters
    ----------
    shape : rows and columns of the image.
    residual : as `draw_residual` gives it.
    rows : the rows wanted.
    """
    y, x = (np.linspace(-1, 1, length) for length in shape)
    level, slope_x, slope_y = residual
    return (level + slope_x * x[None, :, None] + slope_y * y[rows, None, None]).astype("float32")


def correlate(noise: np.ndarray, sigma: float) -> np.ndarray:
    """White noise of unit variance [h, w, bands] as resampling leaves it: smoothed by `sigma` pixels, of unit
    variance still."""
    kernel = np.zeros((33, 1))
    kernel[16] = 1
    loss = float((gaussian_filter(kernel[:, 0], sigma) ** 2).sum())
    return gaussian_filter(noise, (sigma, sigma, 0)) / np.float32(loss)


#: What volunteers call an artifact: kinds, and the frequency of each.
ARTIFACTS = {"star": 0.4, "trail": 0.2, "bleed": 0.15, "edge": 0.15, "cosmic-ray": 0.1}


def add_artifact(
    image: np.ndarray, scene: Scene, survey: Survey, seeing: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Add the scene's artifact to `image` [h, w, 3] (nanomaggies per pixel), in place.

    Parameters
    ----------
    image : changed in place.
    scene : its `artifact` is one of `ARTIFACTS`.
    survey : for pixel scale and noise.
    seeing : full width at half maximum in each band, arcsec, [3].
    rng : the source of random numbers.

    Returns
    -------
    bool [h, w], where there are no data.
    """
    blank = np.zeros(image.shape[:2], dtype=bool)
    centre = (image.shape[0] - 1) / 2
    # An artifact does not grow with the field around it.
    extent = min(_pixels_across(usual_field(scene, survey), survey), image.shape[0])
    level = float(survey.noise()[1])
    if scene.artifact in ("star", "bleed"):
        _bright_star(image, centre, survey, seeing, rng)
    if scene.artifact == "bleed":
        half = max(1, round(0.6 / survey.pixel_scale))
        column = slice(int(centre) - half, int(centre) + half + 1)
        image[:, column] += np.float32(rng.uniform(100, 400) * level) * rng.uniform(0.4, 1, 3).astype("float32")
    elif scene.artifact == "trail":
        # One exposure of many has the trail, so one band shows it best.
        colour = 0.04 + rng.dirichlet((0.15, 0.15, 0.15))
        _line(image, rng, rng.uniform(4, 25) * level, rng.uniform(0.4, 0.7) / survey.pixel_scale, colour, extent)
    elif scene.artifact == "cosmic-ray":
        one_band = np.eye(3)[rng.integers(3)]
        _line(image, rng, rng.uniform(60, 300) * level, 0.5, one_band, extent, length=rng.uniform(0.1, 0.35))
    elif scene.artifact == "edge":
        beyond = rng.uniform(0.3, 0.7)
        blank[: int((len(blank) - extent) / 2 + beyond * extent)] = True
        blank = np.rot90(blank, int(rng.integers(4)))
        _glow(image, rng.uniform(3, 25) * level, rng, extent)
    return blank


def _bright_star(image, centre: float, survey: Survey, seeing, rng) -> None:
    magnitude = rng.uniform(10.5, 14.5)
    flux = band_fluxes(magnitude, *star_colours(magnitude, rng))
    add_blob(image, centre, centre, flux, seeing / survey.pixel_scale, 1.0, 0.0, 3.0)
    add_spikes(image, centre, centre, flux, survey, rng, halo=0.08)
    # The full well of a pixel.
    full = 2000 * survey.noise() * rng.uniform(0.7, 1.3, 3)
    np.minimum(image, full, out=image, casting="unsafe")


def _line(
    image, rng, brightness: float, width: float, colour: np.ndarray, extent: int, length: float = np.inf
) -> None:
    size = image.shape[0]
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.06, 0.06) * extent
    x, y = np.arange(size)[None, :] - (size - 1) / 2, np.arange(size)[:, None] - (size - 1) / 2
    across = np.cos(angle) * y - np.sin(angle) * x - offset
    along = np.abs(np.cos(angle) * x + np.sin(angle) * y)
    line = np.exp(-0.5 * (across / width) ** 2) * (along < length * extent / 2)
    image += (brightness * line[..., None] * colour).astype("float32")


def _glow(image, brightness: float, rng, extent: int) -> None:
    """Light that falls off from a corner of the chip."""
    place = (np.arange(image.shape[0]) - (image.shape[0] - extent) / 2) / (extent - 1)
    near = np.exp(-3 * np.hypot(place[None, :] - rng.random(), place[:, None] - rng.random()))
    image += (brightness * near[..., None] * rng.uniform(0.5, 1, 3)).astype("float32")
