"""Preprocessing: sky subtraction, brightness scale and stretch.

Nanomaggies of any depth and the linearised pixels of a colour picture become the same kind of image: sky at zero, the
galaxy's central brightness at one, compressed by an asinh. The layer is part of the exported model, so that no caller
can do it differently, and training uses the same layer.
"""

import keras
import numpy as np
from keras import ops

from morph.stamps.signal_to_noise import border

#: Radius in pixels of the disc whose mean brightness sets the scale: about two thirds of a half-light radius.
APERTURE = 6.0
#: Softening of the asinh, in units of 1 / central brightness. At 4 a tenth of the central brightness comes out
#: at 0.19 and ten times the central brightness (a nucleus) at 2.1: faint arms and bright cores both fit.
SOFTENING = 4.0
#: The argument beyond which the inverse of the stretch goes no further: pixels 400,000 times as bright as the scale.
FARTHEST = 15.0
#: The scale never falls below this many times the sky noise: pure noise must not be scaled up to a galaxy.
FAINTEST = 2.0
#: No pixel falls below the sky by more than this, in units of the central brightness over the softening.
DEEPEST = -30.0
#: The least noise of a pixel, in units of the central brightness: 8-bit pictures have no visible noise.
NOISE_FLOOR = 0.004


@keras.saving.register_keras_serializable(package="morph")
class Preprocessing(keras.layers.Layer):
    """Sky-subtracted, scaled and stretched images, and the terms of the inverse.

    The input is float32 [n, size, size, 3], any linear brightness, NaN where there is no data; the output a dict:

    - ``image``: float32 [n, size, size, 3], the stretched image, 0 where there is no data;
    - ``sigma``: float32 [n, size, size, 3], the sky noise after the stretch;
    - ``valid``: float32 [n, size, size, 3], 1 where there is data;
    - ``sky`` [n, 1, 1, 3] and ``scale`` [n, 1, 1, 1] in the units of the input.
    """

    def call(self, image):
        return self.stretch(image, *border(image, xp=ops))

    def stretch(self, image, sky, noise):
        """What the layer returns, given the sky.

        Parameters
        ----------
        image : as for the layer.
        sky, noise : as `morph.stamps.signal_to_noise.border` measures them.
        """
        finite = ops.isfinite(image)
        valid = ops.cast(finite, "float32")
        flux = ops.where(finite, image - self._along(sky, image), 0.0)
        scale = self._in_disc(flux) / ops.maximum(self._in_disc(valid), 1.0)
        # The mean noise of the bands that hold data.
        seen = ops.cast(noise > 0, "float32")
        mean_noise = ops.sum(noise, axis=-1, keepdims=True) / ops.maximum(ops.sum(seen, axis=-1, keepdims=True), 1.0)
        # Without any sky noise (a blank, or a picture whose border is one value) a tiny floor avoids 0 / 0.
        scale = ops.maximum(scale, ops.maximum(FAINTEST * mean_noise, 1e-9))
        # No hole in the sky is that deep; below it the logarithm would lose its digits.
        linear = ops.maximum(flux * self._along(SOFTENING / scale, image), DEEPEST)
        unit = float(np.arcsinh(SOFTENING))
        # log(x + sqrt(1 + x^2)) is several times faster than the libraries' arcsinh, which is not vectorised.
        root = ops.sqrt(1.0 + ops.square(linear))
        stretched = ops.log(linear + root) * (1.0 / unit)
        sigma = self._along(ops.maximum(noise / scale, NOISE_FLOOR) * (SOFTENING / unit), image) / root
        return {"image": stretched, "sigma": sigma, "valid": valid, "sky": sky, "scale": scale}

    @staticmethod
    def restore(image, sky, scale):
        """Back to the units of the input: the inverse of the stretch.

        Parameters
        ----------
        image, sky, scale : as the layer returns them.
        """
        unit = float(np.arcsinh(SOFTENING))
        # What a decoder makes of noise may be anything, and the sinh of it infinite.
        return ops.sinh(ops.clip(image * unit, -FARTHEST, FARTHEST)) * (scale / SOFTENING) + sky

    @staticmethod
    def _along(value, image):
        """Repeat a value, [n, 1, 1, 3 or 1], for every pixel of a row, [n, 1, size, 3]: broadcasting along the bands
        would compute three numbers at a time."""
        return ops.tile(value, (1, 1, image.shape[2], 3 // value.shape[3]))

    @staticmethod
    def _in_disc(image):
        """Sum over the bands inside the central aperture, [n, 1, 1, 1]."""
        size = image.shape[1]
        offset = np.arange(size) - (size - 1) / 2
        inside = np.hypot(offset[:, None], offset[None, :]) < APERTURE
        # Only the square around the disc is worth reading.
        span = np.flatnonzero(inside.any(axis=0))
        part = slice(span[0], span[-1] + 1)
        weight = inside[part, part].astype("float32")[None, :, :, None]
        return ops.sum(image[:, part, part] * weight, axis=(1, 2, 3), keepdims=True)
