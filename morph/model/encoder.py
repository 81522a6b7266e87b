"""The shared image encoder: a small residual network."""

import keras
from keras import layers

#: Channels and residual blocks of each stage; every stage halves the image's side.
STAGES = ((32, 1), (64, 2), (128, 2), (192, 1))


def build_encoder(size: int, latent: int) -> keras.Model:
    """Image to features and the Gaussian posterior over the latent space.

    Parameters
    ----------
    size : pixels on a side of the stretched image.
    latent : dimensions of z.

    Returns
    -------
    A functional model from float32 [n, size, size, 3] to a dict: ``features`` [n, 192], ``mean`` and
    ``log_variance`` [n, latent].
    """
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = _activate(x)
    for width, blocks in STAGES:
        for block in range(blocks):
            x = _residual(x, width, stride=2 if block == 0 else 1)
    features = layers.GlobalAveragePooling2D(name="features")(_activate(x))
    mean = layers.Dense(latent, name="mean")(features)
    # Starting with a narrow posterior lets the decoder learn before the noise drowns it.
    log_variance = layers.Dense(latent, name="log_variance", kernel_initializer="zeros", bias_initializer=_narrow)(
        features
    )
    return keras.Model(image, {"features": features, "mean": mean, "log_variance": log_variance}, name="encoder")


def _narrow(shape, dtype=None):
    return keras.ops.full(shape, -3.0, dtype=dtype)


def _activate(x):
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))


def _residual(x, width: int, stride: int):
    """Pre-activation residual block (He et al. 2016); the shortcut of a shrinking block averages."""
    shortcut = x
    x = _activate(x)
    x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
    x = _activate(x)
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride)(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = layers.Conv2D(width, 1, use_bias=False)(shortcut)
    return layers.Add()([x, shortcut])
