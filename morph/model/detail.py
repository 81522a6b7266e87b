"""The detail decoder: what the likelihood decoder smooths away, drawn anew for every sample.

The likelihood decoder gives the mean of all images that a latent vector allows, and so neither knots nor the edges of
arms. This network adds to its picture one possible set of them, from noise. It is learned against critics
(`training.fitting.detail`; Larsen et al. 2016, Sauer et al. 2021), so it invents: samples are drawn by it, and nothing
else is. Answers, embeddings, flags, reconstructions and restored images never see it.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from morph.model.fitted import Fitted, dense

#: Pixels on a side of the coarsest map, and channels of the map of each side.
COARSEST, WIDTHS = 8, {8: 64, 16: 48, 32: 24, 64: 12, 128: 12}
#: Numbers of noise that concern the whole galaxy, and the sides of the maps of noise.
GLOBAL, MAPS = 64, (8, 16, 32)
#: Numbers that sum up z and the global noise.
CONTEXT = 128
#: Slope of the activations below 0.
LEAK = 0.2
#: The stretched brightness at which half of the detail is added: a fortieth of the galaxy's central brightness.
FAINT = 0.05


def noise_size() -> int:
    """How many standard normal numbers a sample's detail takes.

    >>> noise_size()
    1408
    """
    return GLOBAL + sum(side * side for side in MAPS)


@keras.saving.register_keras_serializable(package="morph")
class Detail(Fitted):
    """A latent vector, the likelihood decoder's picture of it and noise to a picture with detail.

    A pyramid of maps from 8 px to the full size, each a residual block of two convolutions that reads the map before
    it, the picture at its own resolution and noise, scaled and shifted by what z and the noise say of the whole galaxy
    (Perez et al. 2018). Maps grow by bilinear interpolation, which leaves no checkerboard. Nothing is added where the
    picture shows no light (`light`): neighbours and sky are not the galaxy's. A new layer gives the picture back as it
    is.

    Parameters
    ----------
    size : pixels on a side of the picture, 8 times a power of two.
    latent : dimensions of z.
    """

    def __init__(self, size: int, latent: int, **options):
        super().__init__(**options)
        self.size, self.latent = size, latent
        self.sides = [side for side in WIDTHS if side <= size]
        self.context = [self.dense("context-0", latent + GLOBAL, CONTEXT), self.dense("context-1", CONTEXT, CONTEXT)]
        self.blocks = []
        before = 2
        for side in self.sides:
            inputs, width = before + 3 + (side in MAPS), WIDTHS[side]
            self.blocks.append(
                {
                    "in": self._convolution(f"block-{side}-0", inputs, width),
                    "out": self._convolution(f"block-{side}-1", width, width),
                    "skip": self._convolution(f"block-{side}-skip", inputs, width, 1),
                    "style": self.dense(f"style-{side}", CONTEXT, 2 * width, "zeros"),
                }
            )
            before = width
        # All zero at first: no detail.
        self.last = self._convolution("last", before, 3, initializer="zeros")
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "latent": self.latent}

    def save_own_variables(self, store):
        """Nothing where it is not fitted: a model's file need not hold random numbers."""
        if self.fitted:
            super().save_own_variables(store)

    def call(self, z, picture, noise):
        """Draw detail.

        Parameters
        ----------
        z : float32 [n, d].
        picture : the likelihood decoder's, stretched, float32 [n, size, size, 3].
        noise : float32 [n, `noise_size()`], standard normal.

        Returns
        -------
        The picture with detail and without noise, stretched, float32 [n, size, size, 3].
        """
        maps, start = {}, GLOBAL
        for side in MAPS:
            maps[side] = ops.reshape(noise[:, start : start + side * side], (-1, side, side, 1))
            start += side * side
        context = dense(self.context, ops.concatenate([z, noise[:, :GLOBAL]], axis=-1), _leaky, _leaky)
        # Where in the picture a place is: an arm winds around the middle.
        x = ops.zeros_like(picture[:, :COARSEST, :COARSEST, :2]) + _places()
        for side, block in zip(self.sides, self.blocks, strict=True):
            if side > COARSEST:
                x = ops.image.resize(x, (side, side), "bilinear", data_format="channels_last")
            read = [x, shrunk(picture, self.size // side), *([maps[side]] if side in maps else [])]
            x = self._block(ops.concatenate(read, axis=-1), context, block)
        return picture + convolve(x, *self.last) * light(picture)

    @staticmethod
    def _block(x, context, block: dict):
        scale, shift = ops.split(dense([block["style"]], context)[:, None, None, :], 2, axis=-1)
        inner = _leaky(convolve(x, *block["in"]))
        inner = convolve(inner * (1.0 + scale) + shift, *block["out"])
        return _leaky((inner + convolve(x, *block["skip"])) * float(np.sqrt(0.5)))

    def _convolution(self, name: str, inputs: int, outputs: int, side: int = 3, initializer: str = "he_normal"):
        shape = (side, side, inputs, outputs)
        kernel = self.add_weight(name=f"{name}-kernel", shape=shape, initializer=initializer)
        return kernel, self.add_weight(name=f"{name}-bias", shape=(outputs,), initializer="zeros")


def light(picture):
    """How much of a galaxy is where, from 0 in the sky to 1: [n, size, size, 1].

    Parameters
    ----------
    picture : the likelihood decoder's, stretched, [n, size, size, 3].
    """
    brightness = ops.relu(ops.mean(picture, axis=-1, keepdims=True))
    return brightness / (brightness + FAINT)


def convolve(x, kernel, bias):
    """A convolution that keeps the size of maps.

    Parameters
    ----------
    x : maps, [n, h, w, c].
    kernel, bias : [side, side, c, d] and [d].
    """
    return ops.conv(x, kernel, padding="same", data_format="channels_last") + bias


def shrunk(picture, factor: int):
    """The means of squares of `factor` pixels: [n, size / factor, size / factor, c]."""
    if factor == 1:
        return picture
    return ops.average_pool(picture, factor, factor, padding="valid", data_format="channels_last")


def _places() -> np.ndarray:
    """Across and down the coarsest map, from -1 to 1: float32 [1, COARSEST, COARSEST, 2]."""
    along = np.linspace(-1.0, 1.0, COARSEST, dtype="float32")
    return np.stack(np.meshgrid(along, along), axis=-1)[None]


def _leaky(x):
    return ops.leaky_relu(x, LEAK)
