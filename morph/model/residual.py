"""What comes back of the data: of each part of the residual, by its size on the sky, the share that exceeds the noise
where it stands, and all that is smoother than `FLUX_SCALE`."""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from keras import ops

from morph.model.restoration import smooth

#: Scales of the residual, pixels: it is divided into what lies between these.
SCALES = (0.8, 1.6, 3.2, 6.4)
#: The residual that is smoother than this is the data's, so that fluxes in apertures are.
FLUX_SCALE = 16.0
#: The power of a residual is its mean around a pixel, by a Gaussian of so many times its scale.
REACH = 2.0
#: By how much correlation raises the power of noise at most; more is structure that fills the image.
MOST_CORRELATED = 4.0
#: The median of the square of a standard normal number.
MEDIAN_OF_SQUARES = 0.4549
#: The power of a residual in units of the noise's above which it is a structure.
STRUCTURE = 3.0
#: The parts of the residual, about as large as galaxies, in which correlation of the noise shows.
CORRELATION_PARTS = (2, 3)


def structure(residual, valid) -> tuple[Any, Any, Any]:
    """The part of a residual that is not noise, the variance of the noise in it, and how the noise is correlated.

    The residual is divided by scale. Of each part the share stays by which its power, around a pixel, exceeds
    `STRUCTURE` times that of noise (James & Stein 1961): nothing of pure noise, all of what stands far above it. The
    noise is white, or what most of the image's pixels show where that is more, as noise is correlated in coadds.

    Parameters
    ----------
    residual : in units of the noise, 0 where there is no data.
    valid : 1 where there is data.

    Returns
    -------
    The part, and its variance: [n, h, w] each. The power of the noise on the scale of galaxies in units of that of
    white noise: [n, 1, 1], from 1 to `MOST_CORRELATED`.
    """
    levels = [residual, *(smooth(residual, scale) for scale in (*SCALES, FLUX_SCALE))]
    # Where pixels are missing the mean is over those that are there.
    low = levels[-1] / ops.maximum(smooth(valid, FLUX_SCALE), 0.1)
    found, variance = low * valid, ops.zeros_like(residual) + white_power(len(SCALES) + 1)
    powers = []
    for number, (finer, coarser) in enumerate(pairwise(levels)):
        part = finer - coarser
        white = white_power(number)
        noise = ops.clip(_typical(ops.square(part)), white, MOST_CORRELATED * white)
        powers.append(noise / white)
        reach = REACH * (SCALES[number] if number < len(SCALES) else FLUX_SCALE)
        power = smooth(ops.square(part), reach)
        share = ops.clip(1.0 - STRUCTURE * noise / ops.maximum(power, 1e-12), 0.0, 1.0)
        found = found + share * part
        variance = variance + ops.square(share) * noise
    return found, variance, sum(powers[number] for number in CORRELATION_PARTS) / len(CORRELATION_PARTS)


def _typical(squared):
    """The mean square of most of an image by the median of its squares: [n, 1, 1]."""
    height, width = squared.shape[1:]
    some = ops.reshape(squared[:, 1::4, 1::4], (-1, len(range(1, height, 4)) * len(range(1, width, 4))))
    middle = ops.sort(some, axis=1)[:, some.shape[1] // 2]
    return ops.reshape(middle / MEDIAN_OF_SQUARES, (-1, 1, 1))


@lru_cache(maxsize=16)
def white_power(number: int) -> float:
    """The variance of white noise of unit variance in a part of `structure`; the last is what is smoothest."""
    place = np.arange(-64, 65)
    widths = (0.0, *SCALES, FLUX_SCALE)
    kernels = [np.exp(-0.5 * (place / max(width, 1e-3)) ** 2) for width in widths]
    squares = [np.outer(each, each) / each.sum() ** 2 for each in kernels]
    part = squares[-1] if number == len(widths) - 1 else squares[number] - squares[number + 1]
    return float((part**2).sum())
