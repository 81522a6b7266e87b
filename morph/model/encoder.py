"""The shared image encoder: a small residual network."""

import keras
from keras import layers

#: Channels and residual blocks of each stage; every stage but the first halves the side.
STAGES = ((32, 1), (64, 2), (128, 2), (192, 1))


def build_encoder(size: int, latent: int, precision: str = "float32") -> keras.Model:
    """Image to features and the Gaussian posterior over the latent space.

    Parameters
    ----------
    size : pixels on a side of the stretched image.
    latent : dimensions of z.
    precision : Keras's dtype policy of the convolutions. ``mixed_bfloat16`` trains more than twice as fast on
        processors that have it; the weights are float32 either way.

    Returns
    -------
    A functional model from float32 [n, size, size, 3] to a dict: ``features`` [n, 192], ``mean`` and
    ``log_variance`` [n, latent].
    """
    image = keras.Input((size, size, 3), name="image")
    # Two by two pixels become twelve channels: nothing is lost, and the costly full resolution is left at once.
    x = layers.Reshape((size // 2, 2, size // 2, 2, 3))(image)
    x = layers.Reshape((size // 2, size // 2, 12))(layers.Permute((1, 3, 2, 4, 5))(x))
    x = layers.Conv2D(STAGES[0][0], 3, padding="same", use_bias=False, dtype=precision)(x)
    for stage, (width, blocks) in enumerate(STAGES):
        for block in range(blocks):
            x = _residual(x, width, 2 if stage and block == 0 else 1, precision)
    features = layers.GlobalAveragePooling2D(name="features", dtype="float32")(_activate(x, precision))
    mean = layers.Dense(latent, name="mean")(features)
    # Starting with a narrow posterior lets the decoder learn before the noise drowns it.
    log_variance = layers.Dense(latent, name="log_variance", kernel_initializer="zeros", bias_initializer=_narrow)(
        features
    )
    return keras.Model(image, {"features": features, "mean": mean, "log_variance": log_variance}, name="encoder")


def _narrow(shape, dtype=None):
    return keras.ops.full(shape, -3.0, dtype=dtype)


def _activate(x, precision: str):
    x = layers.BatchNormalization(momentum=0.95, dtype=precision)(x)
    return layers.Activation("relu", dtype=precision)(x)


def _residual(x, width: int, stride: int, precision: str):
    """Pre-activation residual block (He et al. 2016); the shortcut of a shrinking block averages."""
    shortcut = x
    x = _activate(x, precision)
    x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, dtype=precision)(x)
    x = _activate(x, precision)
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, dtype=precision)(x)
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, dtype=precision)(shortcut)
    if shortcut.shape[-1] != width:
        shortcut = layers.Conv2D(width, 1, use_bias=False, dtype=precision)(shortcut)
    return layers.Add(dtype=precision)([x, shortcut])
