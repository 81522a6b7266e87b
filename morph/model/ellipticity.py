"""Ellipticities of restored galaxies, from the data by maximum likelihood.

The mean of a posterior lies between the data and the prior, and a restored galaxy is rounder than the galaxy is. Two
patterns, each along the axes and along the diagonals, are what a shear changes in a round galaxy of the restored
one's profile before any blurring, and the same further out. How much of them the data holds beyond the restored
image is fitted by generalised least squares and added, without a prior for the shear. Fluxes and sizes stay, since a
ring around the centre adds up to nothing in such patterns.

Images are [n, h, w], in units of the noise, one galaxy in the middle of each. All of it is stock operations.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

from morph.model.restoration import logarithmic_slope, multiply, transform

#: The galaxy is within a Gaussian of so many pixels; its patterns end smoothly between these radii.
WINDOW, ENDS = 16.0, (16.0, 24.0)
#: Pixels, of the Gaussian within which the centre is found; how often, and how far from the middle it may be.
CENTRE, CENTRING, FARTHEST_CENTRE = 6.0, 3, 4.0
#: The profile is known up to this radius, pixels; its rings are a pixel wide up to `FINE` and wider in proportion to
#: the radius beyond, since their gradient shows noise; and the last ones are the sky.
LAST_RADIUS, FINE, SKY_RINGS = 32.0, 6.0, 3
#: How much the shear of the outer parts differs from that of the inner ones: the width of its prior.
OUTER = 0.15
#: What the weight of the outer parts comes to far out; it is about 1 where most of the light ends.
FURTHEST = 3.0
#: The largest standard error of a shear with which it is fitted, and the largest shear.
LARGEST_ERROR, LARGEST_SHEAR = 0.2, 0.6
#: The share of a shear that the fit finds, since the patterns are those of the restored profile and not of the true
#: one: measured on simulated galaxies at signals to noise of 20 and 60, denoised and sharpened.
RESPONSE = 0.87
#: By how much the two sides of a galaxy may differ, units of the noise; more is a neighbour's.
UNEQUAL = 1.0
#: What is left of a neighbour, of its brightness: pixels that it fills count less.
NEIGHBOUR = 0.1


def data_ellipticity(image, residual, valid, blur: tuple[Any, Any], widths, noise_power) -> dict[str, Any]:
    """What gives the galaxies in the middle of restored images the ellipticity of their data.

    Parameters
    ----------
    image : restored, sky at 0, [n, h, w].
    residual : the data less `image` at the data's resolution, [n, h, w].
    valid : 1 where there is data, [n, h, w].
    blur : real and imaginary part of what blurs a sharpened image to the data (`morph.model.restoration.blurring`).
    widths : [n, 2], as for `morph.model.restorer.Restorer.estimate`.
    noise_power : the variance of the data's noise on the scale of galaxies, 1 for white noise: [n, 1, 1].

    Returns
    -------
    dict: ``change`` of the image, and ``data_change``, what that is at the data's resolution; ``variance`` of the
    change: [n, h, w] each. ``error``, the standard error of the shear [n]: NaN where it exceeds `LARGEST_ERROR`, and
    the change and its variance are 0.
    """
    sharpened = ops.reshape(widths[:, 1], (-1, 1, 1)) < 1.0
    blur = ops.where(sharpened, blur[0], 1.0), ops.where(sharpened, blur[1], 0.0)
    patterns, blurred, excess = _patterns(image, blur, logarithmic_slope(widths, image.shape[1:]))
    weight = valid / (1.0 + ops.square(NEIGHBOUR * excess))
    weighted = blurred * ops.expand_dims(weight, 1)
    information = ops.einsum("nahw,nbhw->nab", weighted, blurred) / noise_power
    # A prior keeps the system solvable where there is no galaxy.
    prior = np.diag(np.array([0.01, 0.01, OUTER**-2, OUTER**-2], dtype="float32"))
    covariance = ops.inv(information + prior) / RESPONSE**2
    slopes = ops.einsum("nahw,nhw->na", weighted, residual) / noise_power[:, 0]
    shear = ops.einsum("nab,nb->na", covariance, slopes) * RESPONSE
    error = ops.sqrt(0.5 * (covariance[:, 0, 0] + covariance[:, 1, 1]))
    fitted = error < LARGEST_ERROR
    size = ops.sqrt(ops.square(shear[:, :1]) + ops.square(shear[:, 1:2]))
    shear = ops.where(fitted[:, None], shear * ops.minimum(1.0, LARGEST_SHEAR / ops.maximum(size, 1e-6)), 0.0)
    variance = ops.sum(patterns * ops.einsum("nab,nbhw->nahw", covariance, patterns), axis=1)
    return {
        "change": ops.einsum("na,nahw->nhw", shear, patterns),
        "data_change": ops.einsum("na,nahw->nhw", shear, blurred),
        "variance": ops.where(fitted[:, None, None], variance, 0.0),
        "error": ops.where(fitted, error, np.float32(np.nan)),
    }


def _patterns(image, blur: tuple[Any, Any], slope) -> tuple[Any, Any, Any]:
    """The patterns [n, 4, h, w], the same at the data's resolution, and by how much the image exceeds its
    point-symmetric part, [n, h, w]."""
    shape = image.shape[1:]
    grid = _grid(*shape)
    x, y = _centre(image, grid)
    there, back = _shift(x, y, grid, 1.0), _shift(x, y, grid, -1.0)
    moved = ops.ifft2(multiply(transform(image), there))[0]
    # A neighbour has no counterpart on the other side.
    symmetric = ops.minimum(moved, ops.flip(moved, axis=(1, 2)) + UNEQUAL)
    round_image = _averaged(symmetric, grid)
    spectrum = transform(round_image)
    # The gradient as one complex number, and what of a shear is the point-spread function's.
    gradient = ops.ifft2(multiply(spectrum, (-grid["ky"], grid["kx"])))
    of_psf = ops.ifft2(multiply(spectrum, (slope * grid["cos"], slope * grid["sin"])))
    along, across = multiply((grid["x"], grid["y"]), gradient)
    along, across = (-(one + other) * grid["window"] for one, other in ((along, of_psf[0]), (across, of_psf[1])))
    further = grid["radius2"] / _mean_square_radius(round_image, grid)
    # Far from a small source it would make a ring of the noise.
    further = further / (1.0 + further / FURTHEST)
    made, blurred = [], []
    for part in ((along, across), (along * further, across * further)):
        placed = multiply(ops.fft2(part), back)
        made.extend(ops.ifft2(placed))
        blurred.extend(ops.ifft2(multiply(placed, blur)))
    excess = image - ops.ifft2(multiply(transform(symmetric), back))[0]
    return ops.stack(made, axis=1), ops.stack(blurred, axis=1), excess


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> dict[str, np.ndarray]:
    """Places and frequencies of images, pixels from the middle and radians a pixel: [h, w] each."""
    y, x = np.meshgrid(*(np.arange(each) - (each - 1) / 2 for each in (height, width)), indexing="ij")
    ky, kx = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(each) for each in (height, width)), indexing="ij")
    square = np.maximum(kx**2 + ky**2, 1e-9)
    radius2 = x**2 + y**2
    inside = np.clip((ENDS[1] - np.sqrt(radius2)) / (ENDS[1] - ENDS[0]), 0, 1)
    made = {
        "x": x,
        "y": y,
        "kx": kx,
        "ky": ky,
        "cos": (kx**2 - ky**2) / square,
        "sin": 2 * kx * ky / square,
        "radius2": radius2,
        "window": np.exp(-0.5 * radius2 / WINDOW**2) * inside**2 * (3 - 2 * inside),
    }
    # What turns sums over rings into their least-squares profile; a ring outside the image is 0.
    made["place"] = _place(np.sqrt(radius2)).ravel()
    rings = _rings(made["place"], np)
    made["normal"] = np.linalg.inv(rings @ rings.T + 1e-6 * np.eye(len(rings)))
    return {name: values.astype("float32") for name, values in made.items()}


def _place(radius):
    """Where radii lie on the scale of the rings, which are 1 wide on it."""
    return np.where(radius < FINE, radius, FINE + FINE * np.log(np.maximum(radius, FINE) / FINE))


def _rings(place, xp):
    """Cubic B-splines of the places on the scale of the rings, [rings, places]: a profile of them has no kinks."""
    centres = np.arange(-1, int(_place(np.float64(LAST_RADIUS))), dtype="float32")
    distance = xp.abs(place - centres[:, None])
    near = np.float32(2 / 3) - distance**2 + distance**3 / 2
    return xp.where(distance < 1, near, xp.maximum(2 - distance, 0) ** 3 / 6)


def _averaged(image, grid: dict[str, np.ndarray]):
    """Images as their profiles of rings, fitted by least squares, give them."""
    # As an operation of the graph this stays out of the file of an exported model.
    rings = _rings(ops.convert_to_tensor(grid["place"]), ops)
    sums = ops.matmul(ops.reshape(image, (-1, len(grid["place"]))), ops.transpose(rings))
    profile = ops.matmul(sums, grid["normal"])
    # Without the sky nothing ends abruptly where the rings do.
    profile = profile - ops.mean(profile[:, -SKY_RINGS:], axis=1, keepdims=True)
    return ops.reshape(ops.matmul(profile, rings), (-1, *image.shape[1:]))


def _centre(image, grid: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """The centroids within a Gaussian around them, pixels from the middle: x and y, [n, 1, 1] each."""
    x = y = ops.zeros_like(image[:, :1, :1])
    for _ in range(CENTRING):
        square = ops.square(grid["x"] - x) + ops.square(grid["y"] - y)
        weighted = image * ops.exp(square * np.float32(-0.5 / CENTRE**2))
        total = ops.sum(weighted, axis=(1, 2), keepdims=True)
        total = ops.where(total > 1e-6, total, np.float32(np.inf))
        x, y = (
            ops.clip(
                ops.sum(weighted * grid[axis], axis=(1, 2), keepdims=True) / total, -FARTHEST_CENTRE, FARTHEST_CENTRE
            )
            for axis in ("x", "y")
        )
    return x, y


def _shift(x, y, grid: dict[str, np.ndarray], sign: float) -> tuple[Any, Any]:
    """The response that moves what is at x, y to the middle, or back."""
    phase = (grid["kx"] * x + grid["ky"] * y) * sign
    return ops.cos(phase), ops.sin(phase)


def _mean_square_radius(round_image, grid: dict[str, np.ndarray]):
    """Three times the mean square radius of round galaxies within a Gaussian of 10 pixels, [n, 1, 1]."""
    light = ops.abs(round_image) * np.exp(-0.5 * grid["radius2"] / 100.0)
    total = ops.maximum(ops.sum(light, axis=(1, 2), keepdims=True), 1e-6)
    return 3.0 * ops.maximum(ops.sum(light * grid["radius2"], axis=(1, 2), keepdims=True) / total, 1.0)
