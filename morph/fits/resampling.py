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
    (top, rows), (left, columns) = (_axis(centre, side, size, step < 1) for centre in (y, x))
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
        area_rows, area_columns = (_axis(centre, side, size, smooth=False)[1] for centre in (y, x))
        covered = area_rows[:, kept_rows] @ valid.astype("float32") @ area_columns[:, kept_columns].T
        covered /= np.float32(step**2)
        flux = np.where(covered >= LEAST_COVERAGE, flux / np.clip(covered, LEAST_COVERAGE, 1), np.nan)
    return np.ascontiguousarray(np.moveaxis(flux, 0, -1), dtype="float32")


def resample_many(windows: np.ndarray, x: np.ndarray, y: np.ndarray, side: np.ndarray, size: int) -> np.ndarray:
    """What `resample` makes of each of many windows without a missing pixel.

    Parameters
    ----------
    windows : float32 [n, height, bands, width].
    x, y, side : [n], the squares' centres and sides, pixels of their windows. `first_pixel` and `last_pixel` of each
        are in the window, and either all sides are smaller than `size` or none is.

    Returns
    -------
    float32 [n, size, size, bands].
    """
    count, height, bands, width = windows.shape
    smooth = bool((side < size).all())
    rows = weights_along(y, side, size, height, smooth)
    columns = weights_along(x, side, size, width, smooth)
    # The bands lie side by side for the one product and one above the other for the other.
    flux = rows @ windows.reshape(count, height, bands * width)
    flux = flux.reshape(count, size * bands, width) @ columns.swapaxes(1, 2)
    return np.moveaxis(flux.reshape(count, size, bands, size), 2, 3)


def first_pixel(centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The first input pixel that squares need along an axis; it may be negative. int, of the shape of `centre`."""
    return np.floor(centre + 0.5 - side / 2).astype(int) - REACH


def last_pixel(centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The one after the last input pixel that squares need along an axis."""
    return np.ceil(centre + 0.5 + side / 2).astype(int) + REACH


def weights(centre: float, side: float, size: int) -> np.ndarray:
    """How much of each input pixel each pixel of a stamp takes along one axis.

    Parameters
    ----------
    centre, side : the square's centre and side, input pixels.
    size : pixels on a side of the stamp.

    Returns
    -------
    float32 [size, input pixels], from `first_pixel` to `last_pixel`.

    >>> weights(centre=5.0, side=4.0, size=2).sum(axis=1).tolist()
    [2.0, 2.0]
    """
    return _axis(centre, side, size, side < size)[1]


def _axis(centre: float, side: float, size: int, smooth: bool) -> tuple[int, np.ndarray]:
    """The first input pixel that a square needs along one axis, and its weights: float32 [size, input pixels]."""
    first, last = (int(end(np.array(centre), np.array(side))) for end in (first_pixel, last_pixel))
    return first, weights_along(np.array([centre - first]), np.array([side]), size, last - first, smooth)[0]


def weights_along(centre: np.ndarray, side: np.ndarray, size: int, count: int, smooth: bool) -> np.ndarray:
    """As `weights`, of many squares.

    Parameters
    ----------
    centre, side : [n], the squares' centres, from the first input pixel on, and sides, input pixels.
    size : pixels on a side of the stamps.
    count : input pixels.
    smooth : whether to interpolate the cumulative flux cubically and not linearly.

    Returns
    -------
    float32 [n, size, count].
    """
    # Edge coordinates: input pixel j covers j to j + 1.
    edges = (centre + 0.5 - side / 2)[:, None] + (side / size)[:, None] * np.arange(size + 1)
    cell = np.clip(np.floor(edges).astype(int), REACH - 1, count - REACH)
    t = edges - cell
    # How much of each pixel lies before each edge, in the interpolated cumulative flux: all of one well before it.
    before = np.tri(count, k=-1, dtype="float32")[cell].reshape(-1, count)
    edge, cell, t = np.arange(cell.size), cell.ravel(), t.ravel()
    if smooth:
        # Catmull-Rom: cubic through the values, with slopes from the neighbours.
        before[edge, cell - 1] = 1 + 0.5 * (t - 2 * t**2 + t**3)
        before[edge, cell] = 0.5 * (t + 3 * t**2 - 2 * t**3)
        before[edge, cell + 1] = 0.5 * (t**3 - t**2)
    else:
        before[edge, cell] = t
    return np.diff(before.reshape(len(centre), size + 1, count), axis=1)
