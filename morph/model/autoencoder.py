"""The image encoder, a residual network of either of two sizes, and the decoder from its latent space to the image."""

from dataclasses import dataclass

import keras
from keras import layers

from morph.errors import InputError

#: Channels of the decoder at an eighth and at a quarter of the image's resolution.
DECODER_WIDTHS = (96, 64)


@dataclass(frozen=True)
class Architecture:
    """The size of a network.

    Attributes
    ----------
    size : pixels on a side of its input, all at one scale (see `morph.sizes`): a larger input is a wider field.
    stem : channels of the first convolution, which works at half the input's resolution.
    stages : channels and residual blocks of each stage; every stage halves the side.
    """

    size: int
    stem: int
    stages: tuple[tuple[int, int], ...]


#: The small one answers a few thousand galaxies a second on a processor. The large one sees twice as far to every
#: side, with about eight times as many operations; it is meant for GPUs, and teaches the small one.
ARCHITECTURES = {
    "small": Architecture(64, 32, ((64, 1), (128, 2), (256, 1))),
    "large": Architecture(128, 48, ((64, 1), (128, 2), (256, 2), (448, 2))),
}


def get_architecture(name: str) -> Architecture:
    """The architecture of that name; InputError if there is none.

    >>> get_architecture("small").size
    64
    """
    if name not in ARCHITECTURES:
        raise InputError(f"Unknown architecture '{name}'; use {' or '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def build_encoder(size: int, latent: int, precision: str = "float32", architecture: str = "small") -> keras.Model:
    """Build the network from an image to its features and the image's Gaussian expert over the latent space.

    Parameters
    ----------
    size : pixels on a side of the stretched image.
    latent : dimensions of z.
    precision : Keras's dtype policy of the convolutions. ``mixed_bfloat16`` trains much faster on processors that
        have it; the weights are float32 either way.
    architecture : one of `ARCHITECTURES`.

    Returns
    -------
    A functional model from float32 [n, size, size, 3] to a dict: ``features`` [n, channels of the last stage], and
    ``mean`` and ``log_variance`` [n, latent] of the image's expert (see `morph.model.experts`).
    """
    network = get_architecture(architecture)
    image = keras.Input((size, size, 3), name="image")
    # Two by two pixels become twelve channels: nothing is lost, and the costly full resolution is left at once.
    x = layers.Reshape((size // 2, 2, size // 2, 6))(image)
    x = layers.Reshape((size // 2, size // 2, 12))(layers.Permute((1, 3, 2, 4))(x))
    x = _convolve(x, network.stem, 3, 1, precision)
    for width, blocks in network.stages:
        for block in range(blocks):
            x = _residual(x, width, 2 if block == 0 else 1, precision)
    features = layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    mean = layers.Dense(latent, name="mean")(features)
    # Starting with a narrow posterior lets the decoder learn before the noise drowns it.
    log_variance = layers.Dense(latent, name="log_variance", kernel_initializer="zeros", bias_initializer=_narrow)(
        features
    )
    return keras.Model(image, {"features": features, "mean": mean, "log_variance": log_variance}, name="encoder")


def build_decoder(size: int, latent: int, precision: str = "float32") -> keras.Model:
    """Build the network from a latent vector to the galaxy's stretched image, without noise.

    It is kept cheap, since every classification runs it: nothing is convolved at more than a quarter of the
    resolution, and the last layer's channels are rearranged into four by four pixels each (sub-pixel convolution,
    Shi et al. 2016).

    Parameters
    ----------
    size, latent, precision : as for `build_encoder`.

    Returns
    -------
    A functional model from float32 [n, latent] to float32 [n, size, size, 3].
    """
    z = keras.Input((latent,), name="z")
    side = size // 16
    x = layers.Dense(side * side * 128, use_bias=False)(z)
    x = _normalise(layers.Reshape((side, side, 128))(x), precision)
    for width in DECODER_WIDTHS:
        x = layers.UpSampling2D(2, dtype=precision)(x)
        x = _convolve(x, width, 3, 1, precision)
    x = layers.Conv2D(48, 3, padding="same", dtype=precision)(x)
    x = layers.Reshape((size // 4, size // 4, 4, 12), dtype="float32")(x)
    x = layers.Permute((1, 3, 2, 4))(x)
    return keras.Model(z, layers.Reshape((size, size, 3), name="reconstruction")(x), name="decoder")


def _narrow(shape, dtype=None):
    return keras.ops.full(shape, -3.0, dtype=dtype)


def _convolve(x, width: int, kernel: int, stride: int, precision: str, activate: bool = True):
    """Convolution, batch normalisation and ReLU in this order, which inference fuses into one step."""
    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, dtype=precision)(x)
    return _normalise(x, precision, activate)


def _normalise(x, precision: str, activate: bool = True):
    x = layers.BatchNormalization(momentum=0.95, dtype=precision)(x)
    return layers.Activation("relu", dtype=precision)(x) if activate else x


def _residual(x, width: int, stride: int, precision: str):
    """Residual block (He et al. 2015); the shortcut of a shrinking block averages."""
    shortcut = x
    x = _convolve(x, width, 3, stride, precision)
    x = _convolve(x, width, 3, 1, precision, activate=False)
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, dtype=precision)(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = _convolve(shortcut, width, 1, 1, precision, activate=False)
    return layers.Activation("relu", dtype=precision)(layers.Add(dtype=precision)([x, shortcut]))
