"""The sources around galaxies: what is masked, and which are stars."""

from dataclasses import dataclass, replace

import numpy as np
import sep

from morph.catalogs.detection import DetectionImage, extract
from morph.tiles.strip_reader import Strip

#: A mask is an ellipse with the axes of the area in which a source stands above the noise, times this, times its
#: growth.
MASK = 1.25
#: Growths of the masks that are compared, and the place among them of the one that a stack uses.
GROWTHS = (1, 2, 3)
USED = 1
#: Half-light radii from a galaxy's place within which the source is the galaxy itself.
SAME = 0.5
#: Stars are rounder than this, brighter than this in units of the noise, and within so much (in ln) of one size.
ROUND, BRIGHT, BAND = 0.85, 300.0, 0.08
#: No star has a neighbour of this share of its flux within so many of its half-light radii.
NEIGHBOUR, ALONE = 0.1, 12.0
#: Fewer stars of one size are none.
LEAST_STARS = 3


@dataclass(frozen=True)
class Sources:
    """Sources of a strip.

    Attributes
    ----------
    x, y : places, pixels of the tile.
    a, b, theta : the ellipse with the area in which each stands above the noise: pixels, radians from x to y.
    flux : signal-to-noise-weighted, for comparisons.
    size : half-light radius, pixels; NaN unless the source is round, bright and unsaturated.
    """

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    flux: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: np.ndarray) -> "Sources":
        """Some of the sources, by number or as bool [n]."""
        return Sources(*(values[rows] for values in vars(self).values()))

    def without(self, x: float, y: float, radius: float) -> "Sources":
        """All but the galaxy at a place.

        Parameters
        ----------
        x, y, radius : its place and half-light radius, pixels.
        """
        apart = np.hypot(self.x - x, self.y - y)
        if not len(apart) or apart.min() > max(SAME * radius, 2.0):
            return self
        return self.select(np.arange(len(self)) != int(np.argmin(apart)))


def find_sources(strip: Strip) -> Sources:
    """All sources that stand out on a strip.

    Pixels that are saturated count as bright ones, so that a star is one source and not a ring of pieces.
    """
    saturated = np.logical_or.reduce([strip.saturated[band] for band in strip.flux])
    filled = _filled(strip, saturated) if saturated.any() else strip
    image = DetectionImage.of(filled)
    bad = ~image.covered
    if bad.all():
        return Sources(*(np.empty(0) for _ in range(7)))
    found, _ = extract(strip.tile, image.signal, bad)
    a, b = np.maximum(found["a"], 0.5), np.maximum(found["b"], 0.5)
    wide = np.sqrt(found["npix"] / (np.pi * a * b))
    column, row = (
        np.clip(np.round(found[name]).astype(int), 0, n - 1) for name, n in zip("xy", bad.shape[::-1], strict=True)
    )
    clean = (found["flag"] == 0) & (b > ROUND * a) & (found["flux"] > BRIGHT) & ~saturated[row, column]
    size = np.full(len(found), np.nan)
    if clean.any():
        size[clean], _ = sep.flux_radius(
            image.flux, found["x"][clean], found["y"][clean], 6 * a[clean], 0.5, mask=bad, subpix=5
        )
    return Sources(found["x"], found["y"] + strip.start, a * wide, b * wide, found["theta"], found["flux"], size)


def _filled(strip: Strip, saturated: np.ndarray) -> Strip:
    """The strip with saturated pixels at the brightest value of each band."""
    flux = {
        band: np.where(saturated, np.nanmax(plane, initial=0.0), plane).astype("float32", copy=False)
        for band, plane in strip.flux.items()
    }
    return replace(strip, flux=flux)


def mask_levels(sources: Sources, left: int, top: int, shape: tuple[int, int]) -> np.ndarray:
    """From which growth on each pixel of a window is masked: uint8 [h, w], 0 where it never is.

    Parameters
    ----------
    sources : which are masked.
    left, top, shape : the window's first column and row on the tile, its height and width.
    """
    levels = np.zeros(shape, dtype="uint8")
    largest = MASK * GROWTHS[-1] * sources.a
    x, y = sources.x - left, sources.y - top
    near = sources.select((x > -largest) & (x < shape[1] + largest) & (y > -largest) & (y < shape[0] + largest))
    for growth in reversed(GROWTHS):
        mask = np.zeros(shape, dtype=bool)
        if len(near):
            sep.mask_ellipse(mask, near.x - left, near.y - top, near.a, near.b, near.theta, r=MASK * growth)
        levels[mask] = growth
    return levels


def find_stars(sources: Sources, most: int) -> np.ndarray:
    """The brightest isolated stars: int [n], rows of `sources`.

    Stars are the smallest size that several round and bright sources share.

    Parameters
    ----------
    sources : of a strip.
    most : how many at most.
    """
    rows = np.flatnonzero(sources.size > 0)
    rows = rows[np.argsort(sources.size[rows])]
    if len(rows) < LEAST_STARS:
        return np.empty(0, dtype=int)
    logarithm = np.log(sources.size[rows])
    count = np.searchsorted(logarithm, logarithm + 2 * BAND, side="right") - np.arange(len(rows))
    # The densest place among the smaller half: galaxies have all sizes.
    first = int(np.argmax(count[: max(len(rows) // 2, 1)]))
    if count[first] < LEAST_STARS:
        return np.empty(0, dtype=int)
    stars = rows[first : first + count[first]]
    stars = stars[np.argsort(-sources.flux[stars])]
    alone = []
    for k in stars.tolist():
        near = np.hypot(sources.x - sources.x[k], sources.y - sources.y[k]) < ALONE * sources.size[k]
        near[k] = False
        if not (sources.flux[near] > NEIGHBOUR * sources.flux[k]).any():
            alone.append(k)
        if len(alone) == most:
            break
    return np.array(alone, dtype=int)
