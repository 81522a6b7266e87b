"""Normal galaxies as the same survey would see them were they fainter and smaller on the sky.

A set of galaxies with visible structure holds few faint ones, and an anomaly score that knows no others takes every
faint galaxy of a survey for anomalous. A degraded copy is smaller, blurred by the survey's seeing, and has noise added
on the pixels of the survey's image before it is cut out again: the noise of a small galaxy's stamp is therefore as
correlated as that of a real one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from morph.dataset import Galaxies
from morph.fits.resampling import resample
from morph.model.preprocessing import APERTURE
from morph.simulation.observe import correlate
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.signal_to_noise import border, signal_to_noise
from morph.stamps.stretch import COMPOSITE_SOFTENING, centre_crop, from_composite, relative_flux, to_composite
from morph.surveys import Survey, get_survey

#: Pixels of a stamp per half-light radius.
RADIUS = NETWORK_SIZE / FIELD
#: Full width at half maximum of the seeing, and half-light radius of a galaxy, in pixels of the image where survey or
#: stamp do not say: a well-sampled image, and the median of SDSS's galaxies with Galaxy Zoo labels.
USUAL_SEEING, USUAL_RADIUS = 3.0, 12.0
#: The smallest half-light radius in units of the seeing, before it is blurred; a point source has 0.5.
SMALLEST = 0.6
#: The lowest ratio of central brightness to the noise of a pixel: in flux, and in pictures, which cut off the noise
#: below the sky and therefore look less noisy than they are.
FAINTEST = {"flux": 1.5, "composite": 8.0}
#: The noise of a picture without visible noise, in units of the central brightness.
LEAST_NOISE = 0.004


def degrade(galaxies: Galaxies, seed: int = 0) -> np.ndarray:
    """The galaxies' stamps as fainter and smaller galaxies would look.

    Parameters
    ----------
    galaxies : of either kind of image; their `pixel_scale`, where known, sets how large they are on the sky.
    seed : the same seed makes the same images.

    Returns
    -------
    Images of the galaxies' kind and shape. The half-light radius is log-uniform from `SMALLEST` times the seeing to
    the galaxy's own; the ratio of central brightness to noise from `FAINTEST` to the galaxy's own.
    """
    picture = galaxies.images.dtype == np.uint8
    made = np.empty_like(galaxies.images)
    for i, (image, survey, radius) in enumerate(zip(galaxies.images, *_seen_by(galaxies), strict=True)):
        random = np.random.default_rng([seed, i])
        linear = from_composite(image.astype("float32")) if picture else image
        faint, _ = _degraded(linear, radius, survey, FAINTEST[galaxies.kind], random)
        if picture:
            faint = to_composite(np.maximum(faint, 0), 1.0, float(np.sinh(COMPOSITE_SOFTENING)))
        made[i] = faint
    return made


@dataclass(frozen=True)
class Copies:
    """Degraded copies of galaxies, and how well they are seen.

    Attributes
    ----------
    images : float32 [n, size, size, 3], flux.
    size : [n], half-light radius as it is observed, in units of the seeing's full width at half maximum.
    snr : [n], as `morph.stamps.signal_to_noise.signal_to_noise` measures it on what the network reads.
    """

    images: np.ndarray
    size: np.ndarray
    snr: np.ndarray


def degraded_copies(galaxies: Galaxies, seed: int = 0) -> Copies:
    """One copy of each galaxy as `degrade` makes it, in flux whatever its image is: the noise of a picture is cut off
    below the sky, so that its signal to noise is not known."""
    made = np.empty(galaxies.images.shape, dtype="float32")
    radii, seeing = np.empty(len(made)), np.empty(len(made))
    for i, (image, survey, radius) in enumerate(zip(galaxies.images, *_seen_by(galaxies), strict=True)):
        random = np.random.default_rng([seed, i])
        linear = relative_flux(image.astype("float32")) if image.dtype == np.uint8 else image
        made[i], radii[i] = _degraded(linear, radius, survey, FAINTEST["flux"], random)
        seeing[i] = _seeing(survey)
    return Copies(made, radii / seeing, signal_to_noise(centre_crop(made, NETWORK_SIZE), radii))


def how_well_seen(galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """`Copies.size` and `Copies.snr` of galaxies as they are, [n] each; of pictures, whose noise is cut off below the
    sky, the latter is too high."""
    surveys, radii = _seen_by(galaxies)
    stamps = centre_crop(galaxies.images, NETWORK_SIZE)
    stamps = relative_flux(stamps.astype("float32")) if stamps.dtype == np.uint8 else stamps
    size = np.array(radii) / np.array([_seeing(survey) for survey in surveys])
    return size, signal_to_noise(stamps, np.array(radii))


def _seen_by(galaxies: Galaxies) -> tuple[list[Survey], list[float]]:
    """Each galaxy's survey, and its half-light radius in pixels of the survey's images."""
    surveys = [get_survey(name) for name in galaxies.surveys]
    radii = [
        RADIUS * scale / survey.pixel_scale
        for survey, scale in zip(surveys, galaxies.properties["pixel_scale"].tolist(), strict=True)
    ]
    return surveys, [radius if radius > 0 else USUAL_RADIUS for radius in radii]


def _seeing(survey: Survey) -> float:
    """Full width at half maximum, pixels of the survey's images."""
    seeing = float(np.mean(survey.seeing)) / survey.pixel_scale
    return seeing if seeing > 0 else USUAL_SEEING


def _degraded(
    image: np.ndarray, radius: float, survey: Survey, faintest: float, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """One stamp, float32 [s, s, 3], of a galaxy with a half-light radius of `radius` pixels of the survey's image, NaN
    where there is no data; and the half-light radius that it shows, in such pixels."""
    size, middle = len(image), (len(image) - 1) / 2
    sky, noise = (each[0] for each in border(image[None]))
    seeing = _seeing(survey)
    drawn = min(SMALLEST * seeing, radius)
    drawn *= (radius / drawn) ** random.random()
    # The smaller galaxy brings the seeing of its own image along, as much smaller as itself.
    blur = seeing * np.sqrt(1 - (drawn / radius) ** 2) / 2.3548
    # Where the survey's pixels are finer than the stamp's, the noise of these is independent.
    pixels = min(max(round(size * drawn / RADIUS), 8), size)
    small = resample(image - sky, middle, middle, size, pixels)
    known = np.isfinite(small)
    light = gaussian_filter(np.where(known, small, 0), ((blur / drawn) * RADIUS * pixels / size,) * 2 + (0,))
    level = _noise(image - sky, noise.ravel(), faintest, random) * _central(light, pixels / size)
    white = random.standard_normal(light.shape, dtype="float32")
    if survey.noise_correlation and pixels < size:
        white = correlate(white, survey.noise_correlation)
    faint = np.where(known, light + level * white, np.nan)
    # The half-light radius of the blurred galaxy: a Gaussian's is 1.18 sigma, and the two add in quadrature.
    wider = np.hypot(drawn, 1.1774 * blur) / drawn
    margin = int(np.ceil((wider - 1) / 2 * pixels)) + 2
    faint = np.pad(faint, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    centre = (len(faint) - 1) / 2
    return resample(faint, centre, centre, wider * pixels, size) + sky[0], wider * drawn


def _noise(image: np.ndarray, noise: np.ndarray, faintest: float, random: np.random.Generator) -> np.ndarray:
    """Noise of a pixel in each band in units of the central brightness, [3]: between the galaxy's own and that of the
    `faintest`, the bands in proportion to each other."""
    seen = noise > 0
    mean = noise[seen].mean() if seen.any() else 1.0
    own = np.clip(mean / max(_central(image, 1.0), 1e-30), LEAST_NOISE, 1 / faintest) if seen.any() else LEAST_NOISE
    return own * (1 / faintest / own) ** random.random() * np.where(seen, noise / mean, 1.0)


def _central(light: np.ndarray, scale: float) -> float:
    """Mean brightness within the aperture of the preprocessing, whose radius is `APERTURE` times `scale` pixels."""
    offset = np.arange(len(light)) - (len(light) - 1) / 2
    inside = np.hypot(offset[:, None], offset) < max(APERTURE * scale, 1)
    return float(max(np.nanmean(light[inside]), 0)) if np.isfinite(light[inside]).any() else 0.0
