"""The shared image encoder: a small residual network."""

import keras
from keras import layers

#: Channels of the stem, which works at half the input's resolution.
STEM = 32
#: Channels and residual blocks of each stage; every stage halves the side.
STAGES = ((64, 1), (128, 2), (256, 1))


def build_encoder(size: int, latent: int, precision: str = "float32") -> keras.Model:
    """Image to features and the Gaussian expert over the latent space.

    Parameters
    ----------
    size : pixels on a side of the stretched image.
    latent : dimensions of z.
    precision : Keras's dtype policy of the convolutions. ``mixed_bfloat16`` trains much faster on processors that
        have it; the weights are float32 either way.

    Returns
    -------
    A functional model from float32 [n, size, size, 3] to a dict: ``features`` [n, 256], and ``mean`` and
    ``log_variance`` [n, latent] of the image's expert (see `morph.model.experts`).
    """
    image = keras.Input((size, size, 3), name="image")
    # Two by two pixels become twelve channels: nothing is lost, and the costly full resolution is left at once.
    x = layers.Reshape((size // 2, 2, size // 2, 6))(image)
    x = layers.Reshape((size // 2, size // 2, 12))(layers.Permute((1, 3, 2, 4))(x))
    x = _convolve(x, STEM, 3, 1, precision)
    for width, blocks in STAGES:
        for block in range(blocks):
            x = _residual(x, width, 2 if block == 0 else 1, precision)
    features = layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    mean = layers.Dense(latent, name="mean")(features)
    # Starting with a narrow posterior lets the decoder learn before the noise drowns it.
    log_variance = layers.Dense(latent, name="log_variance", kernel_initializer="zeros", bias_initializer=_narrow)(
        features
    )
    return keras.Model(image, {"features": features, "mean": mean, "log_variance": log_variance}, name="encoder")


def _narrow(shape, dtype=None):
    return keras.ops.full(shape, -3.0, dtype=dtype)


def _convolve(x, width: int, kernel: int, stride: int, precision: str, activate: bool = True):
    """Convolution, batch normalisation and ReLU in this order, which inference fuses into one step."""
    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, dtype=precision)(x)
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
