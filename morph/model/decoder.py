"""The decoder: a latent vector to the galaxy's stretched image, without noise."""

import keras
from keras import layers


def build_decoder(size: int, latent: int) -> keras.Model:
    """A functional model from float32 [n, latent] to float32 [n, size, size, 3].

    Kept cheap, since every classification pays for it: the last doubling of the resolution rearranges
    channels instead of convolving at full size (sub-pixel convolution, Shi et al. 2016).
    """
    z = keras.Input((latent,), name="z")
    side = size // 16
    x = layers.Dense(side * side * 128, use_bias=False)(z)
    x = _activate(layers.Reshape((side, side, 128))(x))
    for width in (64, 48, 32):
        x = layers.UpSampling2D(2)(x)
        x = _activate(layers.Conv2D(width, 3, padding="same", use_bias=False)(x))
    x = layers.Conv2D(12, 3, padding="same")(x)
    x = layers.Reshape((size // 2, size // 2, 2, 2, 3))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return keras.Model(z, layers.Reshape((size, size, 3), name="reconstruction")(x), name="decoder")


def _activate(x):
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))
