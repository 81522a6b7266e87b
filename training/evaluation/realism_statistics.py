"""What sampled and real galaxies are compared by, one number a galaxy each.

Concentration, asymmetry, colours, elongation, sharpness and crowding are those of `morph.stamps.image_statistics`.
Gini and M20 follow Lotz et al. (2004), smoothness Conselice (2003), all within 1.5 half-light radii of the middle,
where every stamp has the galaxy. The power spectrum is that of the mean of the bands, radially averaged. The Sersic
index is that of the galaxy as it is seen, its seeing and all.
"""

import warnings

import numpy as np
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Sersic2D
from astropy.utils.exceptions import AstropyUserWarning
from scipy.ndimage import uniform_filter

from morph.dataset import Galaxies
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.image_statistics import NAMES, measure
from morph.stamps.signal_to_noise import border
from morph.stamps.stretch import centre_crop

#: The statistics, in the order of the columns of `statistics`.
STATISTICS = (
    "concentration",
    "asymmetry",
    "smoothness",
    "gini",
    "m20",
    "sersic",
    "elongation",
    "sharpness",
    "crowding",
    "g-r",
    "r-i",
    "magnitude",
    "radius",
    "power 1/16",
    "power 1/6",
)
#: Edges of the bins of the power spectrum, cycles a pixel: from 1/32 to 1/4.
POWER = np.array([1 / 32, 3 / 64, 1 / 16, 3 / 32, 1 / 8, 3 / 16, 1 / 4])
#: Radius of the aperture, in half-light radii, and how wide a box smooths in them.
_APERTURE, _SMOOTHING = 1.5, 0.25
#: Bounds of a fitted Sersic index, radius of the pixels that are fitted, in half-light radii, and the most steps.
_INDICES, _FITTED, _STEPS = (0.2, 8.0), 2.5, 50


def statistics(galaxies: Galaxies) -> np.ndarray:
    """The statistics of galaxies: float [n, statistics]; NaN where one cannot be measured.

    Parameters
    ----------
    galaxies : of fluxes.
    """
    stamps = centre_crop(galaxies.images, NETWORK_SIZE)
    properties = galaxies.properties
    of_image = dict(zip(NAMES, measure(stamps, properties["pixel_scale"]).T, strict=True))
    light = _light(stamps)
    with np.errstate(divide="ignore"):
        spectrum = np.log10(power_spectra(stamps))
    spectrum[~np.isfinite(spectrum)] = np.nan
    columns = {
        **{name: of_image[name] for name in STATISTICS if name in of_image},
        "smoothness": _smoothness(light),
        "gini": _gini(light),
        "m20": _m20(light),
        "sersic": np.log10(sersic_indices(light)),
        "magnitude": properties["mag_r"],
        "radius": np.log10(properties["radius"]),
        "power 1/16": spectrum[:, 2],
        "power 1/6": spectrum[:, 5],
    }
    return np.stack([columns[name] for name in STATISTICS], axis=1).astype(float)


def power_spectra(stamps: np.ndarray) -> np.ndarray:
    """Power of galaxies in the bins of `POWER`, relative to that of their light as a whole: float [n, bins].

    Parameters
    ----------
    stamps : float32 [n, size, size, 3].
    """
    light = _light(stamps)
    spectrum = np.square(np.abs(np.fft.fft2(light)))
    frequency = np.fft.fftfreq(light.shape[1])
    radius = np.hypot(frequency[:, None], frequency)
    number = np.digitize(radius, POWER) - 1
    bins = [spectrum[:, number == k].mean(axis=1) for k in range(len(POWER) - 1)]
    return np.stack(bins, axis=1) / np.maximum(spectrum[:, :1, 0], 1e-30)


def _light(stamps: np.ndarray) -> np.ndarray:
    """The mean of the bands without the sky, and 0 where there is no data: float [n, size, size]."""
    return np.nan_to_num(stamps - border(stamps)[0]).mean(axis=-1, dtype=float)


def _distance(size: int) -> np.ndarray:
    """Squared distance of every pixel from the middle, in half-light radii: [size, size]."""
    offset = (np.arange(size) - (size - 1) / 2) * FIELD / NETWORK_SIZE
    return offset[:, None] ** 2 + offset**2


def _inside(light: np.ndarray) -> np.ndarray:
    """The pixels within the aperture: [n, pixels]."""
    return light[:, _distance(light.shape[1]) < _APERTURE**2]


def _gini(light: np.ndarray) -> np.ndarray:
    values = np.sort(np.abs(_inside(light)), axis=1)
    n = values.shape[1]
    weights = 2 * np.arange(1, n + 1) - n - 1
    return (values * weights).sum(axis=1) / np.maximum(values.mean(axis=1) * n * (n - 1), 1e-30)


def _m20(light: np.ndarray) -> np.ndarray:
    values = np.maximum(_inside(light), 0)
    squared = _distance(light.shape[1])
    moments = values * squared[squared < _APERTURE**2]
    order = np.argsort(-values, axis=1)
    sorted_values = np.take_along_axis(values, order, axis=1)
    bright = np.cumsum(sorted_values, axis=1) < 0.2 * values.sum(axis=1, keepdims=True)
    part = (np.take_along_axis(moments, order, axis=1) * bright).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log10(part / moments.sum(axis=1))
    return np.where(np.isfinite(found), found, np.nan)


def _smoothness(light: np.ndarray) -> np.ndarray:
    """The light in structure finer than a quarter of the half-light radius, without what the sky has of it."""
    width = max(3, round(_SMOOTHING * 2 * NETWORK_SIZE / FIELD))
    fine = np.abs(light - uniform_filter(light, (0, width, width), mode="nearest"))
    inside, outside = _inside(fine), fine[:, _distance(light.shape[1]) > 2.5**2]
    total = np.abs(_inside(light)).sum(axis=1)
    return (inside.sum(axis=1) - np.median(outside, axis=1) * inside.shape[1]) / np.maximum(total, 1e-30)


def sersic_indices(light: np.ndarray) -> np.ndarray:
    """The index of the Sersic profile that fits each galaxy best, centred on its stamp: float [n], NaN for none.

    Parameters
    ----------
    light : float [n, size, size], sky at 0; two by two pixels are fitted as one.
    """
    n, size = light.shape[:2]
    unit, half = NETWORK_SIZE / FIELD / 2, size // 2
    binned = light[:, : 2 * half, : 2 * half].reshape(n, half, 2, half, 2).mean(axis=(2, 4))
    y, x = np.mgrid[:half, :half] - (half - 1) / 2
    r = np.hypot(x, y) / unit
    inside, ring = r < _FITTED, np.abs(r - 1) < 0.15
    found = np.full(n, np.nan)
    for place, image in enumerate(binned):
        level = image[ring].mean()
        if level > 0:
            found[place] = _sersic_index(x[inside], y[inside], image[inside] / level, unit)
    return found


def _sersic_index(x: np.ndarray, y: np.ndarray, light: np.ndarray, radius: float) -> float:
    start = Sersic2D(
        amplitude=1.0,
        r_eff=radius,
        n=1.5,
        ellip=0.3,
        theta=0.5 * np.arctan2(2 * (light * x * y).sum(), (light * (x**2 - y**2)).sum()),
        bounds={"n": _INDICES, "ellip": (0.0, 0.95), "r_eff": (0.2 * radius, 5 * radius)},
        fixed={"x_0": True, "y_0": True},
    )
    with warnings.catch_warnings():
        # A fit that has not ended after all steps is used as it is.
        warnings.simplefilter("ignore", AstropyUserWarning)
        return float(TRFLSQFitter()(start, x, y, light, maxiter=_STEPS).n.value)
