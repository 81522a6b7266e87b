"""Pictures of sampled galaxies as stamps of a survey: their brightness, size and noise.

A picture shows a galaxy as large as every stamp does, with the survey's seeing, at a brightness of its own. Here it
becomes nanomaggies per pixel of a stamp with a margin, and where it is observed, it goes through the survey's pixels,
whose noise depends on the brightness and on nothing else: a fainter galaxy has a lower signal-to-noise.
"""

import numpy as np
from keras import ops

from morph.fits.resampling import resample
from morph.model.sampling import total_fluxes
from morph.simulation.observe import add_noise
from morph.simulation.sky import add_neighbours
from morph.sizes import FIELD, NETWORK_SIZE
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey

#: Pixels over which the light falls to 1 / e beyond a picture's edge, where the decoder draws nothing.
FALL = 4.0
#: Pixels of the stamp around it that the survey's pixels may reach into.
ROOM = 12


def pixel_scales(radius: np.ndarray) -> np.ndarray:
    """Arcsec across a pixel of the stamps of galaxies with these half-light radii (arcsec).

    >>> float(pixel_scales(np.array(32.0)))
    3.0
    """
    return np.asarray(radius) * FIELD / NETWORK_SIZE


def calibrate(pictures: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """Pictures in nanomaggies per pixel.

    Parameters
    ----------
    pictures : float32 [n, size, size, 3], relative brightness, sky at 0.
    magnitudes : float [n, 3] in g, r, i. Where g or i is NaN, the picture's own colour decides.

    Returns
    -------
    float32 [n, size, size, 3].
    """
    factor = 10 ** (0.4 * (NANOMAGGY_ZERO_POINT - magnitudes)) / ops.convert_to_numpy(total_fluxes(pictures))
    factor = np.where(np.isfinite(factor), factor, factor[:, 1:2])
    return (pictures * factor[:, None, None, :]).astype("float32")


def widen(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures with a margin, in which the light falls off from the edge: float32 [n, size, size, 3].

    Parameters
    ----------
    pictures : float32 [n, s, s, 3].
    size : pixels on a side, at least s, and even where s is.
    """
    margin = (size - pictures.shape[1]) // 2
    wide = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    beyond = np.maximum(np.abs(np.arange(size) - (size - 1) / 2) - (pictures.shape[1] - 1) / 2, 0)
    return wide * np.exp(-np.hypot(beyond[:, None], beyond) / FALL).astype("float32")[..., None]


def render(
    pictures: np.ndarray,
    magnitudes: np.ndarray,
    radius: np.ndarray,
    survey: Survey,
    size: int,
    random: np.random.Generator | None,
) -> np.ndarray:
    """Stamps of galaxies: float32 [n, size, size, 3], nanomaggies per pixel.

    Parameters
    ----------
    pictures : float32 [n, s, s, 3], relative brightness.
    magnitudes : as for `calibrate`.
    radius : half-light radii, arcsec, [n].
    survey : whose pixels and noise are applied.
    size : pixels on a side.
    random : of the noise and the neighbours; None for stamps without either.
    """
    flux = calibrate(pictures, magnitudes)
    if random is None:
        return widen(flux, size)
    wide = widen(flux, size + 2 * ROOM)
    stamps = np.empty((len(wide), size, size, 3), dtype="float32")
    for stamp, light, scale in zip(stamps, wide, pixel_scales(radius), strict=True):
        stamp[:] = observe(light, float(scale), survey, size, random)
    return stamps


def observe(light: np.ndarray, scale: float, survey: Survey, size: int, random: np.random.Generator) -> np.ndarray:
    """One stamp as a survey observes it: float32 [size, size, 3].

    Parameters
    ----------
    light : float32 [size + 2 ROOM, ..., 3], nanomaggies per pixel, with the survey's seeing already.
    scale : arcsec across a pixel of the stamp.
    survey : whose pixels, noise, sky and neighbours are added.
    size : pixels on a side of the stamp.
    random : random numbers.
    """
    step = survey.pixel_scale / scale
    # A pixel of the survey more than the stamp on either side, as far as there is light.
    count = int(min(np.ceil(size / step) + 4, np.floor((size + 2 * ROOM) / step)))
    centre = (light.shape[0] - 1) / 2
    image = resample(light, centre, centre, count * step, count)
    add_neighbours(image, survey, np.asarray(survey.seeing), random)
    add_noise(image, survey, random)
    return resample(image, (count - 1) / 2, (count - 1) / 2, size / step, size)
