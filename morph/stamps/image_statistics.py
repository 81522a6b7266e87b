"""What stamps look like, galaxy by galaxy, in a few numbers that a change of survey moves.

Every number is measured after subtracting the sky and dividing by the galaxy's own brightness, as the network's
way in does, so that a zero point moves none of them. Colour pictures and flux are measured alike; their noise is not
alike, and the numbers say so.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter

from morph.sizes import FIELD
from morph.stamps.stretch import relative_flux


@dataclass(frozen=True)
class Statistic:
    """One number: what it is, in which unit, and what to call a galaxy that has less or more of it."""

    name: str
    title: str
    less: str
    more: str


#: In the order of the columns of `measure`.
STATISTICS = (
    Statistic("sharpness", "log2 smallest structure (half-light radii)", "sharper", "blurrier"),
    Statistic("noise", "log10 sky noise / central brightness", "less noisy", "noisier"),
    Statistic("grain", "correlation of neighbouring sky pixels", "finer-grained in noise", "smoother in noise"),
    Statistic("g-r", "g - r (mag)", "bluer in g - r", "redder in g - r"),
    Statistic("r-i", "r - i (mag)", "bluer in r - i", "redder in r - i"),
    Statistic("extent", "log2 half-light radius / that of the stamp", "smaller in the stamp", "larger in the stamp"),
    Statistic("concentration", "concentration 5 log10 r80 / r20", "less concentrated", "more concentrated"),
    Statistic("asymmetry", "asymmetry under half a turn", "more symmetric", "more lopsided"),
    Statistic("elongation", "1 - axis ratio", "rounder", "more elongated"),
    Statistic("crowding", "share of light outside 2.5 half-light radii", "emptier around them", "more crowded"),
    Statistic("scale", "log2 arcsec per pixel of the stamp", "smaller on the sky", "larger on the sky"),
)
NAMES = tuple(statistic.name for statistic in STATISTICS)

#: Smoothing, in pixels, before derivatives are taken.
SMOOTHING = 0.7
#: Nothing is fainter than this share of a galaxy's central brightness: 8-bit pictures have skies without noise.
FAINTEST_NOISE = 1e-4


def measure(images: np.ndarray, pixel_scale: np.ndarray | float = np.nan) -> np.ndarray:
    """The statistics of stamps.

    Parameters
    ----------
    images : uint8 composites or float flux (NaN: no data), [n, s, s, 3]; exactly what the network looks at.
    pixel_scale : arcsec per pixel of each stamp, [n]; NaN where unknown.

    Returns
    -------
    float32 [n, statistics]; NaN where a number cannot be measured (no data, one band only, no scale).
    """
    scales = np.broadcast_to(np.asarray(pixel_scale, dtype=float), (len(images),))
    grid = _Grid.of(images.shape[1])
    rows = [_of_one(image, scale, grid) for image, scale in zip(images, scales, strict=True)]
    return np.array(rows, dtype="float32").reshape(len(images), len(STATISTICS))


@dataclass(frozen=True)
class _Grid:
    """What is where on a stamp, worked out once for all of them.

    Attributes
    ----------
    unit : the half-light radius that the stamp was cut for, in pixels.
    core, half, centre, within : bool [s, s], what is closer to the middle than 0.6, 1, 1.5 and 2.5 of them.
    border : bool [s, s], the outermost pixels.
    order : pixels by their distance from the middle, and `r`, these distances in this order, in pixels.
    moments : x x, y y and x y of every pixel from the middle, [3, pixels].
    box : rows and columns around `centre`, and as many more as smoothing and two derivatives reach.
    """

    unit: float
    core: np.ndarray
    half: np.ndarray
    centre: np.ndarray
    within: np.ndarray
    border: np.ndarray
    order: np.ndarray
    r: np.ndarray
    moments: np.ndarray
    box: tuple[slice, slice]

    @classmethod
    def of(cls, size: int) -> "_Grid":
        """Of stamps of `size` pixels on a side."""
        unit = size / FIELD
        offset = np.arange(size) - (size - 1) / 2
        y, x = (axis.ravel() for axis in np.meshgrid(offset, offset, indexing="ij"))
        r = np.hypot(x, y)
        order = np.argsort(r)
        border = np.ones((size, size), dtype=bool)
        border[4:-4, 4:-4] = False
        core, half, centre, within = (r.reshape(size, size) < radii * unit for radii in (0.6, 1.0, 1.5, 2.5))
        reach = max(int(size / 2 - 1.5 * unit) - 5, 0)
        box = (slice(reach, size - reach),) * 2
        moments = np.stack([x * x, y * y, x * y])
        return cls(unit, core, half, centre, within, border, order, r[order], moments, box)


def _of_one(image: np.ndarray, pixel_scale: float, grid: _Grid) -> list[float]:
    flux = relative_flux(image) if image.dtype == np.uint8 else image
    bands = np.array(np.moveaxis(flux, -1, 0), dtype=float, order="C")
    blank = [np.nan] * (len(STATISTICS) - 1)
    scale = np.log2(pixel_scale) if pixel_scale > 0 else np.nan
    present = np.flatnonzero(np.isfinite(bands).mean(axis=(1, 2)) > 0.5)
    if not len(present):
        return [*blank, scale]
    bands = bands[present]
    bands = np.nan_to_num(bands - _median(bands[:, grid.border])[:, None, None])
    light = bands.mean(axis=0)
    core = light[grid.core].mean()
    inner = light * grid.within
    if core <= 0 or inner.sum() <= 0:
        return [*blank, scale]
    fluxes = np.full(3, np.nan)
    fluxes[present] = bands[:, grid.half].sum(axis=1)
    positive = np.maximum(inner, 0).ravel()
    r20, r50, r80 = _radii(positive, grid)
    noise = _noise(light[grid.border])
    return [
        _sharpness(bands, grid),
        np.log10(max(noise / core, FAINTEST_NOISE)),
        _grain(light, grid.border, noise),
        _colour(fluxes[0], fluxes[1]),
        _colour(fluxes[1], fluxes[2]),
        np.log2(r50 / grid.unit),
        5 * np.log10(r80 / r20),
        float(np.abs(inner - inner[::-1, ::-1]).sum() / np.abs(inner).sum() / 2),
        _elongation(positive, grid),
        float(np.clip((light - inner).sum() / np.abs(light).sum(), -1, 1)),
        scale,
    ]


def _median(pixels: np.ndarray) -> np.ndarray:
    """Of each row, without what is missing: [rows]."""
    # Most stamps lack nothing, which takes a fraction of the time.
    return np.median(pixels, axis=1) if np.isfinite(pixels).all() else np.nanmedian(pixels, axis=1)


def _sharpness(bands: np.ndarray, grid: _Grid) -> float:
    """log2 of the size of the smallest structure that is seen, in half-light radii: the ratio of the light's first
    derivatives to its second. Products of two bands are free of the noise, which is another in each band."""
    smooth = gaussian_filter(bands[:, *grid.box], SMOOTHING, axes=(1, 2))
    dy, dx = _slope(smooth, 1), _slope(smooth, 2)
    bend = _slope(dy, 1)[:, :, 2:-2] + _slope(dx, 2)[:, 2:-2]
    centre = grid.centre[grid.box][2:-2, 2:-2]
    steep = np.concatenate([dy[:, 1:-1, 2:-2][:, centre], dx[:, 2:-2, 1:-1][:, centre]], axis=1)
    slope, bent = _between(steep), _between(bend[:, centre])
    return 0.5 * np.log2(slope / bent) - np.log2(grid.unit) if slope > 0 and bent > 0 else np.nan


def _slope(images: np.ndarray, axis: int) -> np.ndarray:
    """Derivative by pixel along an axis, which becomes two pixels shorter."""
    ends = [slice(None)] * images.ndim
    first, last = ends.copy(), ends.copy()
    first[axis], last[axis] = slice(None, -2), slice(2, None)
    return (images[tuple(last)] - images[tuple(first)]) / 2


def _between(rows: np.ndarray) -> float:
    """Sum of the products of every two rows. No row's own square, which a single wild pixel can overflow."""
    return float(sum(one @ other for one, other in combinations(rows, 2)))


def _noise(sky: np.ndarray) -> float:
    """From the median down to the quartile, as a Gaussian's sigma: neighbours only ever make the sky brighter."""
    median, quartile = np.quantile(sky, [0.5, 0.25])
    return 1.4826 * float(median - quartile)


def _grain(light: np.ndarray, border: np.ndarray, noise: float) -> float:
    """Correlation of the sky with itself one pixel further, sources clipped."""
    seen = border & (np.abs(light) < 3 * noise)
    sky = np.where(seen, light, 0.0)
    pairs = np.count_nonzero(seen[:, 1:] & seen[:, :-1]) + np.count_nonzero(seen[1:] & seen[:-1])
    power = np.vdot(sky, sky)
    if not pairs or power <= 0:
        return np.nan
    products = np.vdot(sky[:, 1:], sky[:, :-1]) + np.vdot(sky[1:], sky[:-1])
    return float(products / pairs / power * np.count_nonzero(seen))


def _colour(blue: float, red: float) -> float:
    return float(-2.5 * np.log10(blue / red)) if blue > 0 and red > 0 else np.nan


def _radii(light: np.ndarray, grid: _Grid) -> np.ndarray:
    """Radii in pixels that hold 20, 50 and 80 % of the light."""
    grown = np.cumsum(light[grid.order])
    return np.maximum(np.interp([0.2, 0.5, 0.8], grown / grown[-1], grid.r), 0.5)


def _elongation(light: np.ndarray, grid: _Grid) -> float:
    """1 - axis ratio, from second moments."""
    xx, yy, xy = (grid.moments @ light / light.sum()).tolist()
    spread = np.hypot((xx - yy) / 2, xy)
    return float(1 - np.sqrt(max((xx + yy) / 2 - spread, 0) / ((xx + yy) / 2 + spread)))
