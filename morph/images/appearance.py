"""What stamps look like, galaxy by galaxy, in a few numbers that a change of survey moves.

Every number is measured after subtracting the sky and dividing by the galaxy's own brightness, as the network's
way in does, so that a zero point moves none of them. Colour pictures and flux are measured alike; their noise is not
alike, and the numbers say so.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from morph.images.stretch import relative_flux
from morph.stamps import FIELD


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
    """Where the pixels of a stamp are: `x`, `y`, `r` from its centre, their `order` by `r`, and masks."""

    unit: float
    x: np.ndarray
    y: np.ndarray
    r: np.ndarray
    order: np.ndarray
    border: np.ndarray

    @classmethod
    def of(cls, size: int) -> "_Grid":
        """`unit` is the half-light radius that the stamp was cut for, in pixels."""
        offset = np.arange(size) - (size - 1) / 2
        y, x = np.meshgrid(offset, offset, indexing="ij")
        border = np.ones((size, size), dtype=bool)
        border[4:-4, 4:-4] = False
        r = np.hypot(x, y)
        return cls(size / FIELD, x, y, r, np.argsort(r, axis=None), border)


def _of_one(image: np.ndarray, pixel_scale: float, grid: _Grid) -> list[float]:
    flux = relative_flux(image) if image.dtype == np.uint8 else np.asarray(image, dtype=float)
    blank = [np.nan] * (len(STATISTICS) - 1)
    scale = np.log2(pixel_scale) if pixel_scale > 0 else np.nan
    present = np.isfinite(flux).mean(axis=(0, 1)) > 0.5
    if not present.any():
        return [*blank, scale]
    sky = _median(np.where(present, flux[grid.border], 0.0))
    flux = np.nan_to_num(flux - sky)
    light = flux[..., present].mean(axis=-1)
    core = light[grid.r < 0.6 * grid.unit].mean()
    within = grid.r < 2.5 * grid.unit
    if core <= 0 or light[within].sum() <= 0:
        return [*blank, scale]
    fluxes = [flux[..., c][grid.r < grid.unit].sum() if present[c] else np.nan for c in range(3)]
    r20, r50, r80 = _radii(np.maximum(light, 0) * within, grid)
    noise = _noise(light[grid.border])
    return [
        _sharpness(np.ascontiguousarray(np.moveaxis(flux[..., present], -1, 0)), grid),
        np.log10(max(noise / core, FAINTEST_NOISE)),
        _grain(light, grid.border, noise),
        _colour(fluxes[0], fluxes[1]),
        _colour(fluxes[1], fluxes[2]),
        np.log2(r50 / grid.unit),
        5 * np.log10(r80 / r20),
        float(np.abs(light - light[::-1, ::-1])[within].sum() / np.abs(light)[within].sum() / 2),
        _elongation(np.maximum(light, 0) * within, grid),
        float(np.clip(light[~within].sum() / np.abs(light).sum(), -1, 1)),
        scale,
    ]


def _median(pixels: np.ndarray) -> np.ndarray:
    """Of each column, without what is missing: [columns]."""
    # Most stamps lack nothing, which takes a fraction of the time.
    return np.median(pixels, axis=0) if np.isfinite(pixels).all() else np.nanmedian(pixels, axis=0)


def _sharpness(bands: np.ndarray, grid: _Grid) -> float:
    """log2 of the size of the smallest structure that is seen, in half-light radii: the ratio of the light's first
    derivatives to its second. Products of two bands are free of the noise, which is another in each band."""
    within = grid.r < 1.5 * grid.unit
    dy, dx = np.gradient(gaussian_filter(bands, SMOOTHING, axes=(1, 2)), axis=(1, 2))
    bends = (np.gradient(dy, axis=1) + np.gradient(dx, axis=2))[:, within]
    dy, dx = dy[:, within], dx[:, within]
    pairs = [(i, j) for i in range(len(bands)) for j in range(i)]
    slope = sum((dy[i] * dy[j] + dx[i] * dx[j]).sum() for i, j in pairs)
    bend = sum((bends[i] * bends[j]).sum() for i, j in pairs)
    return 0.5 * np.log2(slope / bend) - np.log2(grid.unit) if slope > 0 and bend > 0 else np.nan


def _noise(sky: np.ndarray) -> float:
    """From the median down to the quartile, as a Gaussian's sigma: neighbours only ever make the sky brighter."""
    median, quartile = np.quantile(sky, [0.5, 0.25])
    return 1.4826 * float(median - quartile)


def _grain(light: np.ndarray, border: np.ndarray, noise: float) -> float:
    """Correlation of the sky with itself one pixel further, sources clipped."""
    limit = 3 * noise
    if limit <= 0:
        return np.nan
    sky = np.where(border & (np.abs(light) < limit), light, np.nan)
    both = [sky[:, 1:] * sky[:, :-1], sky[1:] * sky[:-1]]
    variance = np.nanmean(sky**2)
    products = np.concatenate([b[np.isfinite(b)] for b in both])
    return float(products.mean() / variance) if variance > 0 and products.size else np.nan


def _colour(blue: float, red: float) -> float:
    return float(-2.5 * np.log10(blue / red)) if blue > 0 and red > 0 else np.nan


def _radii(light: np.ndarray, grid: _Grid) -> np.ndarray:
    """Radii in pixels that hold 20, 50 and 80 % of the light."""
    grown = np.cumsum(light.ravel()[grid.order])
    return np.maximum(np.interp([0.2, 0.5, 0.8], grown / grown[-1], grid.r.ravel()[grid.order]), 0.5)


def _elongation(light: np.ndarray, grid: _Grid) -> float:
    """1 - axis ratio, from second moments."""
    total = light.sum()
    xx, yy, xy = (float((light * a * b).sum() / total) for a, b in ((grid.x,) * 2, (grid.y,) * 2, (grid.x, grid.y)))
    spread = np.hypot((xx - yy) / 2, xy)
    return float(1 - np.sqrt(max((xx + yy) / 2 - spread, 0) / ((xx + yy) / 2 + spread)))
