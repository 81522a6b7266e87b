"""A survey's camera: a scene blurred, sampled, crowded by neighbours and covered with noise.

The point-spread function is a Moffat profile of the survey's seeing; sky noise comes from its depth, and the
noise of the galaxy's own light from the brightness of the sky, since both are counts of photons. Coadds leave
their pixels' noise correlated. Neighbours follow the number counts of galaxies and stars at high latitude.
"""

from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from scipy.ndimage import gaussian_filter

from morph.simulation.artefacts import spoil
from morph.simulation.canvas import Canvas
from morph.simulation.light import draw
from morph.simulation.scenes import Scene
from morph.simulation.sky import add_neighbours
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey, magnitude

#: Slope of the wings of the point-spread function (Trujillo et al. 2001 give 2.5 to 4.8 for real seeing).
MOFFAT_BETA = 3.0

#: Brightness of a dark sky in g, r, i, mag per square arcsec (SDSS DR7 and DES site averages).
SKY_BRIGHTNESS = (22.0, 21.0, 20.2)

#: How well the bands are aligned, in pixels.
REGISTRATION = 0.1

#: Flux in z over that in i, for surveys that have z instead: i - z of 0.25 mag, a galaxy's between blue and red.
Z_OVER_I = 1.26

#: Scenes are drawn twice finer than the survey's pixels; on fields of more pixels, large galaxies fill them and
#: pixels are fine enough.
LARGEST_FINE_FIELD = 224

#: Fields are rounded up to a multiple of this many pixels, so that their point-spread functions can be kept.
SIZE_STEP = 16
SMALLEST_FIELD = 48


@dataclass(frozen=True, eq=False)
class Observation:
    """What a survey sees of a scene.

    `image` is float32 [size, size, 3], nanomaggies per pixel in g, r, i; `magnitudes`, those of the scene
    without noise.
    """

    scene: Scene
    survey: Survey
    image: np.ndarray
    magnitudes: tuple[float, float, float]


@lru_cache(maxsize=256)
def _canvas(size: int, scale: float) -> Canvas:
    return Canvas(size, scale, finer=2 if size <= LARGEST_FINE_FIELD else 1)


@lru_cache(maxsize=64)
def _psf(size: int, scale: float, fwhm: float) -> np.ndarray:
    seeing = galsim.Moffat(beta=MOFFAT_BETA, fwhm=fwhm)
    return _canvas(size, scale).response(galsim.Convolve(seeing, galsim.Pixel(scale)))


def observe(
    scene: Scene, survey: Survey, seed: int | np.random.SeedSequence, field: float | None = None
) -> Observation:
    """The scene as `survey` sees it, in the middle of a crowded, noisy field.

    Parameters
    ----------
    scene : the galaxy.
    survey : its camera.
    seed : of the noise, the neighbours and the night; the scene has its own seed, so that one galaxy can be
        seen by two surveys.
    field : arcsec across; thirteen observed radii if not given.

    Returns
    -------
    Observation
    """
    rng = np.random.default_rng(seed)
    seeing = np.asarray(survey.seeing) * rng.lognormal(0, 0.05) * rng.lognormal(0, 0.02, 3)
    image, fluxes = blurred_light(scene, survey, seeing, rng, field=field)
    add_neighbours(image, survey, seeing, rng)
    if survey.bands[2] == "z":
        image[..., 2] *= Z_OVER_I
    blank = spoil(image, scene, survey, seeing, rng) if scene.artifact else None
    add_noise(image, survey, rng)
    if blank is not None:
        image[blank] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        g, r, i = (float(m) for m in magnitude(fluxes))
    return Observation(scene, survey, image, (g, r, i))


def blurred_light(
    scene: Scene,
    survey: Survey,
    seeing: np.ndarray,
    rng: np.random.Generator,
    x: float = 0.0,
    y: float = 0.0,
    field: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The scene alone, blurred and sampled by `survey`, without noise.

    Parameters
    ----------
    seeing : full width at half maximum in each band, arcsec, at least nine tenths of the survey's own.
    x, y : the galaxy's centre, arcsec from the middle of the image.
    field : arcsec across; thirteen observed radii if not given.

    Returns
    -------
    image : float32 [size, size, 3], nanomaggies per pixel; size is even, so its middle is between pixels.
    fluxes : total flux in g, r, i, nanomaggies.
    """
    if field is None:
        field = 13 * float(np.hypot(scene.radius, 0.5 * max(survey.seeing)))
    size = SIZE_STEP * int(np.ceil(max(field / survey.pixel_scale, SMALLEST_FIELD) / SIZE_STEP))
    canvas = _canvas(size, survey.pixel_scale)
    spectrum = draw(scene, canvas, x, y)
    fluxes = np.abs(spectrum[:, 0, 0])
    for band in range(3):
        # A kept, slightly sharp function is softened to each night's seeing.
        sharp = 0.9 * survey.seeing[band]
        soft = np.sqrt(max(seeing[band] ** 2 - sharp**2, 0)) / 2.3548
        shift = canvas.moved(*rng.normal(0, REGISTRATION * survey.pixel_scale, 2))
        spectrum[band] *= _psf(size, survey.pixel_scale, sharp) * canvas.blur(soft) * shift
    return np.ascontiguousarray(np.moveaxis(canvas.draw(spectrum), 0, -1), dtype="float32"), fluxes


def add_noise(image: np.ndarray, survey: Survey, rng: np.random.Generator) -> None:
    """Add photon noise of sky and sources, and what sky subtraction leaves, to `image` [h, w, 3] in place."""
    noise = rng.standard_normal(image.shape, dtype="float32")
    if survey.noise_correlation:
        noise = correlate(noise, survey.noise_correlation)
    noise = photon_noise(noise, image, survey)
    image += noise + sky_residual(image.shape[:2], draw_residual(survey, rng))


def photon_noise(noise: np.ndarray, image: np.ndarray, survey: Survey) -> np.ndarray:
    """`noise` of unit variance [h, w, 3], changed in place to that of the sky and of the light on `image`."""
    sky = 10 ** ((NANOMAGGY_ZERO_POINT - np.asarray(SKY_BRIGHTNESS)) / 2.5) * survey.pixel_scale**2
    noise *= (survey.noise() * np.sqrt(1 + np.maximum(image, 0) / sky)).astype("float32")
    return noise


def draw_residual(survey: Survey, rng: np.random.Generator) -> np.ndarray:
    """Level and slopes along x and y of what sky subtraction leaves, nanomaggies per pixel: [3, 1, 1, bands]."""
    return rng.normal(0, 0.08, (3, 1, 1, 3)) * survey.noise()


def sky_residual(shape: tuple[int, int], residual: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    """What sky subtraction leaves on `rows` of an image of this shape: float32 [rows, w, 3]."""
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
