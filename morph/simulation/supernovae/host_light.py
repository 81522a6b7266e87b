"""A host as transients need it: its image on the survey's pixels, where its light is, and its shape."""

from dataclasses import dataclass

import numpy as np
import sep
from scipy.ndimage import gaussian_filter

from morph.catalogs.directional_radius import directional_distance
from morph.dataset_writer import Galaxy
from morph.fits.resampling import resample
from morph.simulation.observe import correlate
from morph.surveys import CHANNELS, Survey

#: The host's light ends where its smoothed image is fainter than so many sigma of its noise.
LEAST_SIGMA = 1.0
#: Standard deviation, pixels, of the smoothing that tells light from noise.
SMOOTHING = 1.0
#: Stamps whose pixels are this many times coarser than the survey's have lost what the seeing left.
COARSEST = 1.3


@dataclass(frozen=True)
class Host:
    """A galaxy as a survey's template shows it.

    Attributes
    ----------
    id : of the galaxy in its dataset.
    image : float32 [size, size, 3], nanomaggies per pixel of the survey, with the noise of its own stamp, which goes
        on where the stamp ends.
    light : float32 [size, size, 3], the light of the galaxy alone, smoothed, 0 beyond it.
    radius, axis_ratio, angle : of the ellipse of half its light: pixels, minor over major, radians from x to y.
    x, y : its centre, pixels.
    redshift : NaN where unknown.
    ra, dec : degrees; NaN where unknown.
    """

    id: str
    image: np.ndarray
    light: np.ndarray
    radius: float
    axis_ratio: float
    angle: float
    x: float
    y: float
    redshift: float
    ra: float
    dec: float

    def distance(self, x: float, y: float) -> float:
        """Directional light radii of a place (pixels) from the centre."""
        return float(directional_distance(x - self.x, y - self.y, self.radius, self.axis_ratio, self.angle))


def why_not(galaxy: Galaxy, survey: Survey) -> str:
    """Why a galaxy cannot be a host, in a few words; empty where it can."""
    scale = (galaxy.properties or {}).get("pixel_scale", np.nan)
    if not np.isfinite(scale):
        return "the scale of its stamp is not known"
    if scale > COARSEST * survey.pixel_scale:
        return f"its stamp is coarser than {survey.name}'s pixels"
    if not np.isfinite(galaxy.image).all(axis=-1).mean() > 0.9:
        return "a tenth of its stamp or more has no data"
    return ""


def prepare(galaxy: Galaxy, survey: Survey, size: int, rng: np.random.Generator) -> Host | None:
    """A galaxy on a survey's pixels; None where no light stands out of its noise.

    Parameters
    ----------
    galaxy : from a dataset of fluxes; see `why_not`.
    survey : whose pixels and noise.
    size : pixels on a side.
    rng : random numbers, for the noise where the stamp has no data.
    """
    scale, stamp = float((galaxy.properties or {})["pixel_scale"]), len(galaxy.image)
    middle = (stamp - 1) / 2
    image = resample(galaxy.image, middle, middle, size * survey.pixel_scale / scale, size)
    known = np.isfinite(image)
    border = _border(known.all(axis=-1))
    sky = np.array([np.median(image[..., band][border]) for band in range(len(CHANNELS))], dtype="float32")
    spread = [1.4826 * np.median(np.abs(image[..., band][border] - sky[band])) for band in range(len(CHANNELS))]
    noise = correlate(rng.standard_normal(image.shape).astype("float32"), max(survey.noise_correlation, 0.4))
    image = np.asarray(np.where(known, image - sky, noise * np.array(spread)), dtype="float32")
    smooth = gaussian_filter(image, (SMOOTHING, SMOOTHING, 0))
    segment, found = _central(smooth, np.array(spread))
    if found is None:
        return None
    light = np.maximum(smooth, 0) * segment[..., None]
    if not (light.sum(axis=(0, 1)) > 0).all():
        return None
    major, minor = float(found["a"]), float(found["b"])
    radius, _ = sep.flux_radius(
        np.ascontiguousarray(light.sum(axis=-1)), [found["x"]], [found["y"]], [size / 2], 0.5, subpix=3
    )
    properties = galaxy.properties or {}
    return Host(
        id=galaxy.id,
        image=image,
        light=light.astype("float32"),
        radius=max(float(radius[0]), 0.5),
        axis_ratio=float(np.clip(minor / major, 0.1, 1.0)),
        angle=float(found["theta"]),
        x=float(found["x"]),
        y=float(found["y"]),
        redshift=float(properties.get("redshift", np.nan)),
        ra=galaxy.ra,
        dec=galaxy.dec,
    )


def _border(known: np.ndarray) -> np.ndarray:
    """The outermost pixels with data: a frame of a tenth of their extent."""
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    frame = max(2, (rows[-1] - rows[0]) // 10)
    inner = np.zeros_like(known)
    inner[rows[0] + frame : rows[-1] - frame + 1, columns[0] + frame : columns[-1] - frame + 1] = True
    return known & ~inner


def _central(smooth: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of the galaxy in the middle, and sep's row of it; None where nothing is there."""
    image = np.ascontiguousarray(smooth.sum(axis=-1))
    # Smoothing has made the noise smaller by this.
    sigma = float(np.sqrt((spread**2).sum())) / np.sqrt(4 * np.pi * SMOOTHING**2)
    objects, segments = sep.extract(
        image, LEAST_SIGMA, err=max(sigma, 1e-6), filter_kernel=None, segmentation_map=True, minarea=9
    )
    middle = len(image) // 2
    number = segments[middle, middle]
    if not number:
        return segments > 0, None
    return segments == number, objects[number - 1]


def draw_place(light: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """A place drawn from a map of light, and the rank of its pixel in the light.

    The rank is the share of the light in pixels that are fainter (Fruchter et al. 2006); within the share of its own
    pixel it is drawn, so that transients that trace the light have uniform ranks.

    Parameters
    ----------
    light : [h, w], not negative, in any unit.
    rng : random numbers.

    Returns
    -------
    x, y (pixels, whole numbers at pixel centres) and the rank, 0 to 1.
    """
    flat = light.ravel().astype(float)
    order = np.argsort(flat, kind="stable")
    growth = np.cumsum(flat[order])
    rank = rng.random()
    pixel = order[min(np.searchsorted(growth, rank * growth[-1], side="right"), len(order) - 1)]
    row, column = divmod(int(pixel), light.shape[1])
    dx, dy = rng.uniform(-0.5, 0.5, 2)
    return column + float(dx), row + float(dy), float(rank)


def rank_of(light: np.ndarray, x: float, y: float) -> float:
    """The share of the light in pixels fainter than the one of a place, half of its own counted.

    Parameters
    ----------
    light : [h, w].
    x, y : pixels.
    """
    value = light[round(y), round(x)]
    fainter, equal = light[light < value].sum(dtype=float), light[light == value].sum(dtype=float)
    return float((fainter + equal / 2) / max(light.sum(dtype=float), 1e-12))
