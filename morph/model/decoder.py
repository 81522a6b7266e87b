"""The image decoder: a latent vector to the galaxy's stretched image, without noise."""

import keras
from keras import layers

#: Channels at an eighth and at a quarter of the image's resolution.
WIDTHS = (96, 64)


def build_decoder(size: int, latent: int, precision: str = "float32") -> keras.Model:
    """A functional model from float32 [n, latent] to float32 [n, size, size, 3].

    Kept cheap, since every classification pays for it: nothing is convolved at more than a quarter of the
    resolution, and the last layer's channels are rearranged into four by four pixels each (sub-pixel convolution,
    Shi et al. 2016). `precision` as for the encoder.
    """
    z = keras.Input((latent,), name="z")
    side = size // 16
    x = layers.Dense(side * side * 128, use_bias=False)(z)
    x = _activate(layers.Reshape((side, side, 128))(x), precision)
    for width in WIDTHS:
        x = layers.UpSampling2D(2, dtype=precision)(x)
        x = _activate(layers.Conv2D(width, 3, padding="same", use_bias=False, dtype=precision)(x), precision)
    x = layers.Conv2D(48, 3, padding="same", dtype=precision)(x)
    x = layers.Reshape((size // 4, size // 4, 4, 12), dtype="float32")(x)
    x = layers.Permute((1, 3, 2, 4))(x)
    return keras.Model(z, layers.Reshape((size, size, 3), name="reconstruction")(x), name="decoder")


def _activate(x, precision: str):
    x = layers.BatchNormalization(momentum=0.95, dtype=precision)(x)
    return layers.Activation("relu", dtype=precision)(x)
