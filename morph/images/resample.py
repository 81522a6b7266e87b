"""Flux-conserving resampling of a square of an image to a stamp.

The flux between two edges is the difference of the cumulative flux at them. Where that is interpolated linearly
between pixel edges, an output pixel gets the part of each input pixel that it covers (area weighting); where it
is interpolated cubically, pixels finer than the input's come out smooth instead of blocky. In both, the sum over
the stamp is the flux inside the square.
"""

import numpy as np

#: Input pixels that a cubic interpolation of the cumulative flux reaches beyond an edge.
REACH = 2

#: A stamp pixel of which less than this part lies on pixels with data has no data itself.
LEAST_COVERAGE = 0.5


def resample(image: np.ndarray, x: float, y: float, side: float, size: int) -> np.ndarray:
    """The square of `side` pixels centred at `x`, `y`, as `size` x `size` pixels.

    Parameters
    ----------
    image : [height, width, bands], flux per pixel; NaN where there is no data.
    x, y : the centre in pixels, 0-based, whole numbers at pixel centres.
    side : input pixels across the square; the output is coarser than the input if `side` > `size`.

    Returns
    -------
    float32 [size, size, bands], flux per output pixel; NaN where less than `LEAST_COVERAGE` of an output pixel
    has data (outside the image, or on NaN). Where some of it has, the flux is scaled up to the whole pixel.
    """
    height, width, bands = image.shape
    step = side / size
    top, rows = _weights(y, side, size, smooth=step < 1)
    left, columns = _weights(x, side, size, smooth=step < 1)
    bottom, right = top + rows.shape[1], left + columns.shape[1]
    inside = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not inside.size:
        return np.full((size, size, bands), np.nan, dtype="float32")
    kept_rows = slice(max(-top, 0), max(-top, 0) + inside.shape[0])
    kept_columns = slice(max(-left, 0), max(-left, 0) + inside.shape[1])

    # Bands first, so that both products are plain matrix products.
    planes = np.moveaxis(np.asarray(inside, dtype="float32"), -1, 0)
    valid = np.isfinite(planes)
    known = planes if valid.all() else np.where(valid, planes, np.float32(0))
    flux = rows[:, kept_rows] @ known @ columns[:, kept_columns].T
    if not valid.all() or top < 0 or left < 0 or bottom > height or right > width:
        area_rows, area_columns = (_weights(c, side, size, smooth=False)[1] for c in (y, x))
        covered = area_rows[:, kept_rows] @ valid.astype("float32") @ area_columns[:, kept_columns].T
        covered /= np.float32(step**2)
        flux = np.where(covered >= LEAST_COVERAGE, flux / np.clip(covered, LEAST_COVERAGE, 1), np.nan)
    return np.ascontiguousarray(np.moveaxis(flux, 0, -1), dtype="float32")


def _weights(centre: float, side: float, size: int, smooth: bool) -> tuple[int, np.ndarray]:
    """How much of each input pixel each output pixel takes along one axis.

    Returns the first input pixel's index (it may be negative) and float32 [size, input pixels].
    """
    # Edge coordinates: input pixel j covers j to j + 1.
    edges = centre + 0.5 - side / 2 + side / size * np.arange(size + 1)
    first = int(np.floor(edges[0])) - REACH
    count = int(np.ceil(edges[-1])) + REACH - first
    place = edges - first
    cell = np.clip(np.floor(place).astype(int), 0, count - 1)
    t = place - cell
    cumulative = np.zeros((size + 1, count + 1))
    row = np.arange(size + 1)
    if smooth:
        # Catmull-Rom: cubic through the values, with slopes from the neighbours.
        cumulative[row, cell - 1] = 0.5 * (-t + 2 * t**2 - t**3)
        cumulative[row, cell] = 0.5 * (2 - 5 * t**2 + 3 * t**3)
        cumulative[row, cell + 1] = 0.5 * (t + 4 * t**2 - 3 * t**3)
        cumulative[row, cell + 2] = 0.5 * (-(t**2) + t**3)
    else:
        cumulative[row, cell] = 1 - t
        cumulative[row, cell + 1] = t
    # The cumulative flux at edge j sums the pixels before it, so pixel i counts towards the edges after i.
    tail = np.cumsum(cumulative[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return first, np.diff(tail, axis=0).astype("float32")
