"""The restorer: a network for galaxies without noise at a target's resolution, and a step that keeps to the data.

The network is trained on simulated pairs (`training.fitting.restorer`), one band at a time, so that it learns shapes
and not colours. It sees pixels in units of their noise, through an asinh, and is made of convolutions only: stamps and
tiles of any size go through it. What it cannot explain of the data comes back (`morph.model.residual`), so that an arc
or a trail that no training set holds stays, and so does the flux.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from morph.atomic import atomic
from morph.model.fitted import Fitted
from morph.model.residual import structure
from morph.model.restoration import (
    GENTLE,
    STRONG,
    blurring,
    both_filtered,
    filtered,
    multiply,
    ratio,
    smooth,
    transform,
)

#: Channels of the convolutions at pixels of 2, 4 and 8 times the image's.
WIDTHS = (32, 48, 64)
#: Images in, and out: the restored one and the logarithm of its uncertainty.
INPUTS, OUTPUTS = 6, 2
#: An image's sides must be a multiple of this.
MULTIPLE = 8
#: Noise in the units of the asinh.
SOFTENING = 2.0
#: Limits of what the network may add in the units of the asinh, and of its uncertainty, in units of the noise.
MOST_CHANGE, LEAST_SIGMA, MOST_SIGMA = 4.0, 1e-3, 1e3
#: The power of the errors is known in so many bins, up to this frequency times the width of the target.
SPECTRUM_BINS, SPECTRUM_END = 16, 2.4
#: The variance of an error grows with this power of that of correlated noise on the scale of galaxies; the network
#: takes the noise to be white.
CORRELATED_POWER = 0.4
#: Missing pixels are filled by a Gaussian of this many pixels.
FILLING = 2.0


@keras.saving.register_keras_serializable(package="morph")
class Restorer(Fitted):
    """Noisy images of one band to restored ones; see `restore`.

    The network has the shape of a U: convolutions at three resolutions with connections across.
    """

    def __init__(self, **options):
        super().__init__(**options)
        fine, middle, coarse = WIDTHS
        # fmt: off
        self.convolutions = {
            name: self._convolution(name, *shape)
            for name, shape in {
                "stem": (3, INPUTS * 4, fine), "fine-1": (3, fine, fine), "fine-2": (3, fine, fine),
                "middle-in": (2, fine, middle), "middle-1": (3, middle, middle), "middle-2": (3, middle, middle),
                "coarse-in": (2, middle, coarse), "coarse-1": (3, coarse, coarse), "coarse-2": (3, coarse, coarse),
                "coarse-out": (1, coarse, middle * 4),
                "middle-3": (3, middle, middle), "middle-4": (3, middle, middle), "middle-out": (1, middle, fine * 4),
                "fine-3": (3, fine, fine), "fine-4": (3, fine, fine), "out": (3, fine, OUTPUTS * 4),
            }.items()
        }
        # fmt: on
        self.calibration = self.fixed("calibration", (2,), "ones")
        self.error_spectrum = self.fixed("error-spectrum", (SPECTRUM_BINS,), "ones")
        self.built = True

    def save_own_variables(self, store) -> None:
        """Leave the weights out of a model's file: they depend neither on its network nor on its survey, and ship in a
        file of their own (`morph.model.store.load_model` reads it)."""

    def write(self, to: Path) -> None:
        """Write the weights as a file of their own, kernels in half precision."""
        arrays = {weight.name: ops.convert_to_numpy(weight) for weight in self.weights}
        halved = {name: each.astype("float16") if name.endswith("kernel") else each for name, each in arrays.items()}
        with atomic(to) as building, building.open("wb") as file:
            np.savez_compressed(file, **halved)

    def read(self, path: Path) -> None:
        """Take the weights of a file that `write` made."""
        with np.load(path) as arrays:
            for weight in self.weights:
                weight.assign(arrays[weight.name].astype("float32"))
        self.__dict__.pop("digest", None)

    @cached_property
    def digest(self) -> str:
        """What identifies the weights."""
        sha = hashlib.sha256()
        for weight in self.weights:
            sha.update(np.ascontiguousarray(ops.convert_to_numpy(weight), dtype="<f4").tobytes())
        return sha.hexdigest()[:32]

    def _convolution(self, name: str, size: int, inputs: int, outputs: int) -> tuple[Any, Any]:
        start = "zeros" if name == "out" else "he_normal"
        kernel = self.add_weight(name=f"{name}-kernel", shape=(size, size, inputs, outputs), initializer=start)
        return kernel, self.add_weight(name=f"{name}-bias", shape=(outputs,), initializer="zeros")

    def _apply(self, name: str, x):
        kernel, bias = self.convolutions[name]
        size = kernel.shape[0]
        strides, padding = (2, "valid") if size == 2 else (1, "same")
        return ops.conv(x, kernel, strides=strides, padding=padding) + bias

    def _residual(self, first: str, second: str, x):
        return x + self._apply(second, ops.gelu(self._apply(first, ops.gelu(x))))

    def network(self, x):
        """The network alone: [n, h, w, `INPUTS`] to [n, h, w, `OUTPUTS`]."""
        fine = self._residual("fine-1", "fine-2", self._apply("stem", _to_depth(x)))
        middle = self._residual("middle-1", "middle-2", self._apply("middle-in", fine))
        coarse = self._residual("coarse-1", "coarse-2", self._apply("coarse-in", middle))
        middle = self._residual(
            "middle-3", "middle-4", middle + _to_space(self._apply("coarse-out", ops.gelu(coarse)))
        )
        fine = self._residual("fine-3", "fine-4", fine + _to_space(self._apply("middle-out", ops.gelu(middle))))
        return _to_space(self._apply("out", ops.gelu(fine)))

    def estimate(self, data, valid, starts, widths):
        """The network's restored image and its uncertainty, in units of the noise: [n, h, w] each.

        Parameters
        ----------
        data : [n, h, w], in units of the noise, sky at 0.
        valid : [n, h, w], 1 where there is data.
        starts : the data sharpened gently and strongly.
        widths : [n, 2], full widths at half maximum of the data's point-spread function, or 0 where that is not known,
            and of the target's in units of the data's, 1 where nothing is sharpened.
        """
        unit = 1 / SOFTENING
        gentle, strong = starts
        constant = ops.ones_like(data)
        images = [
            *(ops.arcsinh(each * unit) for each in (data, gentle, strong)),
            1.0 - valid,
            constant * ops.reshape(widths[:, 0], (-1, 1, 1)) * 0.25,
            constant * ops.reshape(widths[:, 1], (-1, 1, 1)),
        ]
        found = self.network(ops.stack(images, axis=-1))
        change = MOST_CHANGE * ops.tanh(found[..., 0] / MOST_CHANGE)
        restored = SOFTENING * ops.sinh(ops.clip(images[1] + change, -15.0, 15.0))
        sigma = ops.exp(ops.clip(found[..., 1], np.log(LEAST_SIGMA), np.log(MOST_SIGMA)))
        return restored, sigma

    def restore(self, flux, noise, psf, target, widths) -> dict[str, Any]:
        """Restore images of one band.

        Parameters
        ----------
        flux : [n, h, w], sky at 0, NaN where there is no data; h and w are multiples of `MULTIPLE`.
        noise : [n], of a pixel.
        psf : real and imaginary part of the transfer functions of the data, [n, h, w].
        target : those of the target, real.
        widths : [n, 2], as for `estimate`.

        Returns
        -------
        dict: ``restored`` (NaN where there is no data), ``sigma`` (infinite there) in the units of the flux;
        ``prior_fraction``, the share of each pixel's information (its inverse variance) that the data alone,
        sharpened, does not say; ``residual``, the data less the restored image at its resolution, in units of the
        noise, 0 where there is no data: [n, h, w] each; and ``noise_power``, the power of the noise on the scale of
        galaxies in units of that of white noise, [n, 1, 1].
        """
        seen = ops.isfinite(flux)
        valid = ops.cast(seen, "float32")
        unit = ops.reshape(ops.maximum(noise, 1e-30), (-1, 1, 1))
        data = fill(ops.where(seen, flux / unit, 0.0), valid)
        sharpened = ops.reshape(widths[:, 1], (-1, 1, 1)) < 1.0
        sharpen = ratio(psf, target, STRONG)
        starts = both_filtered(transform(data), ratio(psf, target, GENTLE), sharpen)
        starts = tuple(ops.where(sharpened, start, data) for start in starts)
        found, sigma = self.estimate(data, valid, starts, widths)
        blurred = ops.where(sharpened, filtered(transform(found), blurring(psf, target)), found)
        explained, noise_added, noise_power = structure(valid * (data - blurred), valid)
        gentle = ratio(psf, target, GENTLE)
        # What is added at the target's resolution, and what that is at the data's.
        sharp = both_filtered(transform(explained), gentle, multiply(gentle, blurring(psf, target)))
        added, explained = (ops.where(sharpened, each, explained) for each in sharp)
        gain, data_gain = (_amplified(response, sharpened) for response in (gentle, sharpen))
        sharper = ops.cast(sharpened, "float32")
        calibration = self.calibration[0] * (1.0 - sharper) + self.calibration[1] * sharper
        variance = (ops.square(sigma) * noise_power**CORRELATED_POWER + gain * noise_added) * ops.square(calibration)
        return {
            "noise_power": noise_power,
            "residual": valid * (data - blurred - explained),
            "restored": ops.where(seen, (found + added) * unit, np.float32(np.nan)),
            "sigma": ops.where(seen, ops.sqrt(variance) * unit, np.float32(np.inf)),
            "prior_fraction": ops.where(seen, ops.clip(1.0 - variance / data_gain, 0.0, 1.0), 1.0),
        }


def draw_errors(restorer: Restorer, shape: tuple[int, int], fwhm: float, random: np.random.Generator) -> np.ndarray:
    """Errors of restored pixels in units of their uncertainties, correlated as errors of simulated images are.

    Parameters
    ----------
    restorer : whose errors they are.
    shape : of the image.
    fwhm : of the restored image's point-spread function, pixels.
    random : random numbers.

    Returns
    -------
    float32 of the shape, of unit variance.
    """
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) * fwhm
    centres = (np.arange(SPECTRUM_BINS) + 0.5) * SPECTRUM_END / SPECTRUM_BINS
    power = np.interp(frequency, centres, ops.convert_to_numpy(restorer.error_spectrum))
    drawn = np.fft.irfft2(np.fft.rfft2(random.standard_normal(shape)) * np.sqrt(power), s=shape)
    return (drawn / max(float(drawn.std()), 1e-9)).astype("float32")


def fill(data, valid):
    """Images [n, h, w] with missing pixels (`valid` is 0) as the mean of those around them."""
    around = smooth(data * valid, FILLING) / ops.maximum(smooth(valid, FILLING), 1e-3)
    return ops.where(valid > 0, data, around)


def _amplified(response: tuple[Any, Any], sharpened):
    """The variance that a filter makes of white noise of unit variance: [n, 1, 1]; 1 where nothing is sharpened."""
    power = ops.mean(response[0] * response[0] + response[1] * response[1], axis=(1, 2), keepdims=True)
    return ops.where(sharpened, power, 1.0)


def _to_depth(x):
    """Four neighbouring pixels as one with four times the channels."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // 2, width // 2, 4 * channels))


def _to_space(x):
    """The inverse of `_to_depth`."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, width, 2, 2, channels // 4))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 2 * height, 2 * width, channels // 4))
