"""Sky and noise of a stamp, read from its border."""

import numpy as np

#: Width in pixels of the border that counts as sky.
BORDER = 2


def border(image, xp=np):
    """Median and noise of the border, per galaxy and band, each [n, 1, 1, 3].

    The noise is the distance from the median down to the lower quartile, as a Gaussian's sigma: sources in the border
    only ever make it brighter. Order statistics skip missing pixels; where all are missing, both are 0.

    Parameters
    ----------
    image : float32 [n, size, size, 3], any linear brightness, NaN where there is no data.
    xp : `numpy`, or `keras.ops` inside the model; both give the same numbers.
    """
    size = image.shape[1]
    on_border = np.ones((size, size), dtype=bool)
    on_border[BORDER:-BORDER, BORDER:-BORDER] = False
    # Every other pixel: neighbours are correlated, and sorting is the slowest step of the way in.
    index = np.flatnonzero(on_border)[::2]
    pixels = xp.take(xp.reshape(image, (-1, size * size, 3)), index, axis=1)
    finite = xp.isfinite(pixels)
    pixels = xp.where(finite, pixels, np.float32(3e38))
    count = xp.sum(finite, axis=1, keepdims=True)
    ordered = xp.sort(pixels, axis=1)
    last = xp.maximum(count - 1, 0)
    median = xp.take_along_axis(ordered, last // 2, axis=1)
    quartile = xp.take_along_axis(ordered, last // 4, axis=1)
    known = count > 0
    sky = xp.where(known, median, np.float32(0))
    noise = xp.where(known, np.float32(1.4826) * (median - quartile), np.float32(0))
    return sky[:, :, None, :], noise[:, :, None, :]
