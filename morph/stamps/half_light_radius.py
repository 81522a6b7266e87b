"""How large the galaxy at the centre of an image is.

The crop that the network sees follows the galaxy's own half-light radius, measured here on every image in
the same way, whether it came as FITS or as a JPEG. Nothing else may decide it: a network whose crops follow a
survey's pixel scale learns the scale instead of the shape (see docs/explanation/methods.md).
"""

from dataclasses import dataclass

import numpy as np
import sep

from morph.sizes import FIELD

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
    """Radii that hold half of each source's light within six times its extent: float [n], pixels.

    Parameters
    ----------
    image : [height, width] float32, sky subtracted.
    sources : [n] rows of `sep.extract`, with `x`, `y`, and the extents `a`, `b`.
    numbers : [n], the sources' numbers in `segments`.
    segments : int32 [height, width], the segmentation map of `sep.extract`.
    bad : [height, width] bool, true where a pixel is to be ignored.
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
