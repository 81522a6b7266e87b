"""The arithmetic of restoring: transfer functions of point-spread functions, sharpening, smoothing.

Images are [n, h, w], one band each. Point-spread functions are those of the pixels, as an image of a star shows them:
the integration over a pixel is part of them. All of it is stock operations, so that an exported model holds it.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops
from scipy.special import kv

#: Slope of the wings of a point-spread function of which only the width is given.
BETA = 3.0
#: Standard deviation of a Gaussian in its full width at half maximum.
SIGMA_OF_FWHM = 1 / 2.3548
#: Parts of the noise that are amplified at most: a sharpened image divides by no less than this of the target's
#: transfer function.
GENTLE, STRONG = 0.6, 0.12
#: The table of a Moffat profile's transfer function: the argument up to which it goes, and its entries.
_FARTHEST, _ENTRIES = 40.0, 2048


def moffat_transfer(argument: np.ndarray, beta: float = BETA) -> np.ndarray:
    """The transfer function of a Moffat profile (1 + (r / a)^2)^-beta of unit flux.

    Parameters
    ----------
    argument : 2 pi times the frequency times a.
    beta : the slope of its wings.
    """
    order = beta - 1
    x = np.maximum(argument, 1e-6)
    # The limit at 0 is 1: x^order K(x) goes to 2^(order - 1) Gamma(order).
    limit = 1e-6**order * kv(order, 1e-6)
    return np.where(argument < 1e-6, 1.0, x**order * kv(order, x) / limit)


def moffat_radius(fwhm, beta: float = BETA):
    """The radius a of a Moffat profile of a full width at half maximum."""
    return fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))


@lru_cache(maxsize=32)
def frequencies(height: int, width: int) -> np.ndarray:
    """How far each place of a discrete Fourier transform is from the zero frequency, cycles a pixel: [h, w]."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)).astype("float32")


@lru_cache(maxsize=64)
def moffat_table(beta: float = BETA) -> tuple[np.ndarray, np.ndarray]:
    """Arguments, and `moffat_transfer` of each: float32 [entries]."""
    argument = np.linspace(0, _FARTHEST, _ENTRIES)
    return argument.astype("float32"), moffat_transfer(argument, beta).astype("float32")


@lru_cache(maxsize=1)
def _slope_table() -> np.ndarray:
    """The logarithmic slope of `moffat_transfer` at the arguments of `moffat_table`."""
    argument = np.maximum(np.linspace(0, _FARTHEST, _ENTRIES), 1e-6)
    return (-argument * kv(BETA - 2, argument) / kv(BETA - 1, argument)).astype("float32")


def moffat(fwhm, shape: tuple[int, int]):
    """Transfer functions of Moffat profiles, [n, h, w].

    Parameters
    ----------
    fwhm : [n], pixels.
    shape : h and w.
    """
    return _tabulated(moffat_table()[1], fwhm, shape)


def logarithmic_slope(widths, shape: tuple[int, int]):
    """The logarithmic slopes of the transfer functions of restored images, [n, h, w]; 0 where they are not known.

    Parameters
    ----------
    widths : [n, 2], as for `morph.model.restorer.Restorer.estimate`: a sharpened image has the Gaussian of its target,
        another one its own Moffat profile.
    shape : h and w.
    """
    fwhm, relative = (ops.reshape(widths[:, column], (-1, 1, 1)) for column in (0, 1))
    of_gaussian = -ops.square(fwhm * relative * np.float32(2 * np.pi * SIGMA_OF_FWHM) * frequencies(*shape))
    of_moffat = _tabulated(_slope_table(), fwhm, shape)
    return ops.where(fwhm > 0, ops.where(relative < 1.0, of_gaussian, of_moffat), 0.0)


def _tabulated(table: np.ndarray, fwhm, shape: tuple[int, int]):
    """Values of a table at the arguments of `moffat_table`, for each frequency: [n, h, w]."""
    scaled = frequencies(*shape) * np.float32(2 * np.pi * moffat_radius(1.0) * (_ENTRIES - 1) / _FARTHEST)
    place = ops.minimum(ops.reshape(fwhm, (-1, 1, 1)) * scaled, np.float32(_ENTRIES - 1.001))
    below = ops.floor(place)
    index = ops.cast(below, "int32")
    low, high = ops.take(table, index, axis=0), ops.take(table, index + 1, axis=0)
    return low + (place - below) * (high - low)


def gaussian(fwhm, shape: tuple[int, int]):
    """Transfer functions of Gaussians, as `moffat`."""
    width = ops.reshape(fwhm, (-1, 1, 1)) * np.float32(2 * np.pi * SIGMA_OF_FWHM)
    return ops.exp(-0.5 * ops.square(width * frequencies(*shape)))


def ratio(psf: tuple[Any, Any], target, floor: float) -> tuple[Any, Any]:
    """What sharpens an image to a target, real and imaginary part: [n, h, w].

    The target over the point-spread function, where that passes much, and where it passes little no more than
    1 / (2 `floor`): T P* / (|P|^2 + (`floor` T)^2), Tikhonov's regularisation.

    Parameters
    ----------
    psf : real and imaginary part of the transfer function.
    target : that of the target, real.
    floor : one of `GENTLE` and `STRONG`.
    """
    real, imaginary = psf
    power = real * real + imaginary * imaginary + floor**2 * target * target + 1e-12
    # The zero frequency is the flux, and stays.
    norm = 1 + floor**2
    return norm * target * real / power, -norm * target * imaginary / power


def blurring(psf: tuple[Any, Any], target) -> tuple[Any, Any]:
    """What turns an image at the target's resolution into one at the data's: P / T, of a size of at most 1.

    Parameters
    ----------
    psf, target : as for `ratio`.
    """
    safe = ops.maximum(target, 1e-6)
    real, imaginary = (part / safe for part in psf)
    size = ops.maximum(ops.sqrt(ops.square(real) + ops.square(imaginary)), 1.0)
    return real / size, imaginary / size


def transform(image) -> tuple[Any, Any]:
    """The discrete Fourier transform of real images [n, h, w]."""
    return ops.fft2((image, ops.zeros_like(image)))


def multiply(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """The product of two complex tensors."""
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def filtered(spectrum: tuple[Any, Any], response: tuple[Any, Any]):
    """The image of a spectrum times a response, both of real images."""
    return ops.ifft2(multiply(spectrum, response))[0]


def both_filtered(spectrum: tuple[Any, Any], one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """`filtered` with two responses, in one transform: one image is the real part, the other the imaginary.

    Parameters
    ----------
    spectrum, one, other : real and imaginary parts.
    """
    return ops.ifft2(multiply(spectrum, (one[0] - other[1], one[1] + other[0])))


@lru_cache(maxsize=64)
def _smoothing(length: int, sigma: float) -> np.ndarray:
    """A matrix that smooths along an axis by a Gaussian; what would come from outside is mirrored, so that a row and
    a column each sum to 1 and the flux stays."""
    place = np.arange(length)
    matrix = np.zeros((length, length))
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for offset, weight in zip(range(-reach, reach + 1), kernel / kernel.sum(), strict=True):
        mirrored = (place + offset) % (2 * length)
        mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
        np.add.at(matrix, (place, mirrored), weight)
    return matrix.astype("float32")


def smooth(image, sigma: float):
    """Images [n, h, w] smoothed by a Gaussian of `sigma` pixels, mirrored at the edges."""
    rows = ops.matmul(_smoothing(image.shape[1], sigma), image)
    return ops.matmul(rows, np.ascontiguousarray(_smoothing(image.shape[2], sigma).T))
