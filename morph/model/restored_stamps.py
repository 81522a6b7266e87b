"""Restoring stamps of three bands, one galaxy in the middle of each: what the signature `restore` does."""

from typing import Any

import numpy as np
from keras import ops

from morph.model.ellipticity import data_ellipticity
from morph.model.restoration import blurring, gaussian, moffat
from morph.model.restorer import Restorer
from morph.sizes import NARROWEST_PSF
from morph.stamps.signal_to_noise import border

#: Pixels that are added on each side of a stamp.
PADDING = 8
#: Pixels between which noise is taken to be independent.
APART = 3


def restore_stamps(restorer: Restorer, image, psf_fwhm, target_fwhm) -> dict[str, Any]:
    """Restore stamps of three bands; see `morph.model.classifier.Classifier.restore`.

    The sky is that of the border (`morph.stamps.signal_to_noise.border`), the noise by `noise_of_differences`, and the
    point-spread function a Moffat profile. Beyond its edges a stamp is taken to go on as its mirror image.

    Parameters
    ----------
    restorer : does it.
    image : float32 [n, size, size, 3].
    psf_fwhm, target_fwhm : float32 [n], or [n, 3] for each band, pixels.
    """
    size = image.shape[1]
    sky, _ = border(image, xp=ops)
    noise = noise_of_differences(image)
    sized = ops.pad(image - sky, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="reflect")
    side = size + 2 * PADDING
    bands = ops.reshape(ops.transpose(sized, (0, 3, 1, 2)), (-1, side, side))
    psf_fwhm, target_fwhm = (_of_bands(ops.cast(each, "float32")) for each in (psf_fwhm, target_fwhm))
    known = psf_fwhm > 0
    asked = target_fwhm > 0
    width = ops.where(known, psf_fwhm, 0.0)
    target = ops.where(asked, target_fwhm, width)
    possible = ops.logical_or(target == width, ops.logical_and(target >= NARROWEST_PSF, target < width))
    relative = ops.where(known, target / ops.maximum(width, 1e-6), 1.0)
    shape = (side, side)
    transfer = moffat(ops.where(known, width, 3.0), shape)
    psf = transfer, ops.zeros_like(transfer)
    sharp = gaussian(ops.where(possible, ops.where(known, target, 3.0), 3.0), shape)
    widths = ops.stack([width, relative], axis=-1)
    noise = ops.reshape(noise, (-1,))
    found = restorer.restore(bands, noise, psf, sharp, widths)
    found |= _with_ellipticity(found, noise, blurring(psf, sharp), widths)

    def stamps(values):
        inside = ops.reshape(values[:, PADDING:-PADDING, PADDING:-PADDING], (-1, 3, size, size))
        right = ops.reshape(possible, (-1, 3, 1, 1))
        return ops.transpose(ops.where(right, inside, np.float32(np.nan)), (0, 2, 3, 1))

    outputs = {name: stamps(found[name]) for name in ("restored", "sigma", "prior_fraction")}
    right = ops.reshape(possible, (-1, 3))
    outputs["shape_error"] = ops.where(right, ops.reshape(found["error"], (-1, 3)), np.float32(np.nan))
    squared = ops.square(stamps(found["residual"]))
    seen = ops.cast(ops.isfinite(image), "float32")
    chi_square = ops.sum(squared * seen, axis=(1, 2, 3)) / ops.sum(seen, axis=(1, 2, 3))
    return {**outputs, "restored": outputs["restored"] + sky, "chi_square": chi_square}


def _with_ellipticity(found: dict[str, Any], noise, blur: tuple[Any, Any], widths) -> dict[str, Any]:
    """The restored image, its uncertainty and the residual with the ellipticity of the data, and ``error``, as
    `data_ellipticity` gives it.

    Parameters
    ----------
    found, noise, widths : what `Restorer.restore` gives, and is given.
    blur : what blurs a sharpened image to the data.
    """
    unit = ops.reshape(ops.maximum(noise, 1e-30), (-1, 1, 1))
    there = ops.isfinite(found["restored"])
    inside = np.pad(np.ones([length - 2 * PADDING for length in there.shape[1:]], "float32"), PADDING)
    made = data_ellipticity(
        ops.where(there, found["restored"] / unit, 0.0),
        found["residual"],
        ops.cast(there, "float32") * inside,
        blur,
        widths,
        found["noise_power"],
    )
    return {
        "restored": found["restored"] + made["change"] * unit,
        "sigma": ops.sqrt(ops.square(found["sigma"]) + made["variance"] * ops.square(unit)),
        "residual": found["residual"] - ops.where(there, made["data_change"], 0.0),
        "error": made["error"],
    }


def noise_of_differences(image):
    """The noise of a pixel in each band by the median size of differences of pixels `APART`, around the middle of
    stamps: [n, 3]. Galaxies hardly change it, and missing pixels are left out; 0 where all are missing.

    Parameters
    ----------
    image : float32 [n, size, size, 3], NaN where there is no data.
    """
    size = image.shape[1]
    row, column = np.indices((size, size - APART))
    outside = np.maximum(np.abs(row - size / 2), np.abs(column - size / 2)) > size / 4
    index = np.flatnonzero(outside)[::APART]
    difference = ops.reshape(image[:, :, APART:] - image[:, :, :-APART], (-1, size * (size - APART), 3))
    some = ops.abs(ops.take(difference, index, axis=1))
    known = ops.isfinite(some)
    ordered = ops.sort(ops.where(known, some, np.float32(3e38)), axis=1)
    count = ops.sum(ops.cast(known, "int32"), axis=1, keepdims=True)
    middle = ops.take_along_axis(ordered, count // 2 - ops.cast(count > 1, "int32") * (1 - count % 2), axis=1)
    return ops.where(count > 0, middle * np.float32(1.4826 / np.sqrt(2)), 0.0)[:, 0]


def _of_bands(values):
    """One value for each band, [3 n], of [n] or [n, 3]."""
    return ops.repeat(values, 3) if len(values.shape) == 1 else ops.reshape(values, (-1,))
