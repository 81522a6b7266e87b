"""Brightness of galaxies in calibrated images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sep
from numpy.typing import ArrayLike

from morph.sizes import FIELD
from morph.stamps.flags import SMALLEST_RADIUS
from morph.surveys import Survey, magnitude

#: Half-light radius of a Moffat profile with the slope of real seeing (beta = 3), in units of its full width at
#: half maximum.
MOFFAT_HALF_LIGHT = 0.631

#: Effective wavelengths, micrometres.
WAVELENGTHS = {"u": 0.36, "g": 0.48, "r": 0.63, "VIS": 0.72, "i": 0.77, "z": 0.91, "y": 0.97, "Y": 0.99}

#: Half-light radii, without the seeing, go as the wavelength to this power: most galaxies are bluer outside. It is
#: half of that of disks (-0.19, Kelvin et al. 2012, MNRAS 421, 1007), so that colours of galaxies without a gradient
#: and of disks are wrong by the same few hundredths of a magnitude.
GRADIENT = -0.1


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


def total_fluxes(
    within: np.ndarray,
    radius: np.ndarray,
    points: np.ndarray,
    bands: Sequence[str],
    channel: int | None = None,
    sky: float = np.inf,
) -> np.ndarray:
    """Total fluxes of galaxies in bands that were blurred differently, from those within one circle: [n, bands].

    Twice those within, where the bands' point sources are not known. The circle holds half of the light in the band,
    or in the mean of the bands, in which its radius was measured, and more or less in a band with another seeing. A
    galaxy's half-light radius there follows from the two point sources' by the squares, and from `GRADIENT`; how its
    light grows with the radius is taken to be a Moffat profile's of beta = 3, which lies between those of exponential
    disks and of point sources.

    Parameters
    ----------
    within : [n, bands], fluxes in the circle; NaN where not measured.
    radius : [n], the circles' radii, pixels.
    points : [bands], half-light radii of point sources, pixels; where any is NaN, the circle holds half in all bands.
    bands : the bands' names.
    channel : of the band in which the radius was measured; None for the mean of the bands.
    sky : the distance, in radii, at which the subtracted sky was measured; some of the light is there, too.

    Returns
    -------
    float [n, bands].
    """
    squares, spread = np.zeros(len(points)), np.ones(len(bands))
    if np.isfinite(points).all():
        squares = np.square(points)
        wavelengths = np.array([WAVELENGTHS.get(band, np.nan) for band in bands])
        spread = wavelengths ** (2 * GRADIENT) if np.isfinite(wavelengths).all() else spread
    if channel is None:
        share = np.maximum(np.nan_to_num(within), 0)
        share = share / np.maximum(share.sum(axis=1), np.finfo("float32").tiny)[:, None]
    else:
        share = np.eye(len(bands))[[channel]]
    square = np.square(radius)
    intrinsic = np.maximum(square - share @ squares, 0) / np.maximum(share @ spread, 1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (np.sqrt(2) - 1) * square[:, None] / (intrinsic[:, None] * spread + squares)
        lost = 2 * x * (1 + x * sky**2) ** -3 if np.isfinite(sky) else 0
        return within / (1 - (1 + x) ** -2 - lost)


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
    """Total magnitudes of galaxies in one band; NaN where the flux is not positive or not measured.

    Twice the flux within the half-light radius, which holds half of the light by its definition. A smaller
    aperture than the usual ones takes in less of the neighbours, and the colour is that of the inner galaxy.

    Parameters
    ----------
    plane, x, y, radius : as for `fluxes_within`.

    Returns
    -------
    float [n].
    """
    return magnitude(2 * fluxes_within(plane, x, y, radius))


def fluxes_within(plane: np.ndarray, x: ArrayLike, y: ArrayLike, radius: ArrayLike) -> np.ndarray:
    """Fluxes of galaxies within their half-light radii in one band.

    Parameters
    ----------
    plane : [h, w], nanomaggies per pixel, sky subtracted, NaN where there is no data.
    x, y, radius : [n], centres and half-light radii, pixels, 0-based.

    Returns
    -------
    float [n], NaN where they are not measured.

    >>> np.round(fluxes_within(np.ones((32, 32)), 15.0, 15.0, 4.0)).tolist()
    [50.0]
    """
    bad = ~np.isfinite(plane)
    x, y, radius = (np.atleast_1d(np.asarray(values, dtype=float)) for values in (x, y, radius))
    usable = np.isfinite(x) & np.isfinite(y) & (radius > 0)
    flux = np.full(len(x), np.nan)
    if usable.any() and not bad.all():
        image = np.where(bad, 0, plane).astype("float32")
        flux[usable], _, _ = sep.sum_circle(image, x[usable], y[usable], radius[usable], mask=bad, subpix=5)
    return flux


#: A source is what stands this many sigma above the sky over `MIN_AREA` connected pixels.
THRESHOLD = 1.5


MIN_AREA = 9


@dataclass(frozen=True)
class Shape:
    """Where the central galaxy is and how large.

    `x`, `y` are its centroid (pixels, 0-based); `radius` is the radius that holds half of its light (pixels,
    point-spread function included); `found` is False when nothing stood out at the centre and the values are
    a guess from the image's own size.
    """

    x: float
    y: float
    radius: float
    found: bool = True


def measure(intensity: np.ndarray, centre: tuple[float, float] | None = None, mask: np.ndarray | None = None) -> Shape:
    """Centroid and half-light radius of the galaxy nearest to `centre`.

    Parameters
    ----------
    intensity : [height, width], any linear brightness; NaN where there is no data.
    centre : x, y in pixels; the middle of the image if not given.
    mask : [height, width] bool, true where a pixel is bad.

    Returns
    -------
    Shape : with `found` False where nothing stands out at the centre.

    >>> y, x = np.mgrid[:64, :64]
    >>> galaxy = 100 * np.exp(-np.hypot(x - 30, y - 33) ** 2 / 18) + np.random.default_rng(0).normal(size=(64, 64))
    >>> shape = measure(galaxy)
    >>> round(shape.x), round(shape.y), round(shape.radius, 1)
    (30, 33, 3.6)
    """
    height, width = intensity.shape
    x0, y0 = centre or ((width - 1) / 2, (height - 1) / 2)
    guess = Shape(x0, y0, min(height, width) / FIELD, found=False)
    bad = ~np.isfinite(intensity) if mask is None else mask | ~np.isfinite(intensity)
    if bad.all():
        return guess
    image = np.where(bad, 0, intensity).astype("float32")
    # A sixteenth of the image at its border is sky in every crop that is not smaller than its galaxy.
    sky, noise = border_statistics(image, bad)
    image -= sky
    try:
        sources, segments = sep.extract(
            image, THRESHOLD * noise, mask=bad, minarea=MIN_AREA, deblend_cont=0.02, segmentation_map=True
        )
    except Exception:  # sep raises bare Exception where its pixel stack or deblending overflows
        return guess
    if not len(sources):
        return guess
    index = _central(sources, segments, x0, y0)
    if index is None:
        return guess
    source = sources[index]
    half = half_light_radii(image, sources[[index]], np.array([index + 1]), segments, bad)
    return Shape(float(source["x"]), float(source["y"]), float(half[0]))


def half_light_radii(
    image: np.ndarray, sources: np.ndarray, numbers: np.ndarray, segments: np.ndarray, bad: np.ndarray
) -> np.ndarray:
    """Radii that hold half of each source's light within six times its extent.

    Parameters
    ----------
    image : [height, width] float32, sky subtracted.
    sources : [n] rows of `sep.extract`, with `x`, `y`, and the extents `a`, `b`.
    numbers : [n], the sources' numbers in `segments`.
    segments : int32 [height, width], the segmentation map of `sep.extract`.
    bad : [height, width] bool, true where a pixel is to be ignored.

    Returns
    -------
    float [n], pixels.
    """
    largest = np.maximum(6.0 * sources["a"], 4.0)
    # Only neighbours are masked out of the growth curve: the galaxy's own faint outskirts count.
    half, _ = sep.flux_radius(
        image,
        sources["x"],
        sources["y"],
        largest,
        0.5,
        mask=bad,
        segmap=segments,
        seg_id=numbers.astype("int32"),
        subpix=5,
    )
    # Where more light is below the sky than above it, there is no such radius; the extent stands in.
    extent = np.maximum(np.sqrt(sources["a"] * sources["b"]), 0.5)
    return np.where(np.isfinite(half) & (half >= 0.5), half, extent)


def border_statistics(image: np.ndarray, bad: np.ndarray) -> tuple[float, float]:
    """Median and noise (scaled median absolute deviation) of the image's border."""
    margin = max(2, min(image.shape) // 16)
    border = np.ones(image.shape, dtype=bool)
    border[margin:-margin, margin:-margin] = False
    values = image[border & ~bad]
    if values.size < 16:
        values = image[~bad]
    sky = float(np.median(values))
    # Sources in the border only make pixels brighter, so the noise is read from the darker half.
    below = values[values <= sky]
    noise = 1.4826 * float(np.median(sky - below)) if below.size else 0.0
    spread = float(values.std())
    peak = float(np.abs(image[~bad]).max())
    # An 8-bit composite can have a border of one single value; a thousandth of the peak is its quantisation.
    return sky, max(noise, 1e-3 * peak, 1e-3 * spread, 1e-12)


def _central(sources: np.ndarray, segments: np.ndarray, x0: float, y0: float) -> int | None:
    """Index of the source that covers the centre, or else of the brightest one close to it."""
    height, width = segments.shape
    row, column = int(np.clip(round(y0), 0, height - 1)), int(np.clip(round(x0), 0, width - 1))
    if segments[row, column]:
        return int(segments[row, column]) - 1
    distance = np.hypot(sources["x"] - x0, sources["y"] - y0)
    near = distance < max(3.0, 0.1 * min(height, width))
    if not near.any():
        return None
    candidates = np.flatnonzero(near)
    return int(candidates[np.argmax(sources["flux"][candidates])])
