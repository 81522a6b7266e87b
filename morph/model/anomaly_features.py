"""The features of a galaxy from which the anomaly score is computed.

The encoder's pooled features describe what the galaxy looks like, but a network trained to answer questions about
galaxies ignores what no question asks about: a band out of place, a trail, a thin arc. A few dozen plain statistics of
the stretched image and of the residual are therefore added. All but the errors are taken on
patches of `PATCH` x `PATCH` pixels: a smoothing that costs next to nothing and lifts faint structure above the noise.
"""

import numpy as np
from keras import ops

from morph.model.preprocessing import SOFTENING
from morph.sizes import NETWORK_SIZE

#: Pixels on a side of a patch.
PATCH = 4
#: Half-light radii from the centre beyond which patches count as the border.
BORDER = 2.25
#: How many statistics `statistics` returns.
STATISTICS = 32


def anomaly_features(inputs: dict, residual, features, window: np.ndarray):
    """The input of the anomaly score.

    Parameters
    ----------
    inputs : the output of `morph.model.preprocessing.Preprocessing`.
    residual : [n, size, size, 3], the image less its reconstruction in units of the expected noise.
    features : [n, features], the encoder's pooled features, none negative.
    window : [1, size, size, 3], the weight of each pixel, the same in every band.

    Returns
    -------
    float32 [n, features + `STATISTICS` + 1]; the last is `signal_to_noise`.
    """
    # Pooled activations spread over orders of magnitude; their logarithms are nearly Gaussian.
    pooled = ops.log(ops.abs(features) + 0.05)
    return ops.concatenate([pooled, statistics(inputs, residual, window), signal_to_noise(inputs)], axis=-1)


def signal_to_noise(inputs: dict):
    """The central brightness over the noise of a pixel of the sky, means over the bands with data, [n, 1].

    Read from the noise after the stretch, which is greatest where the image is at the level of the sky; no pixel's
    brightness falls below `morph.model.preprocessing.FAINTEST` times its noise, and none exceeds 1 / `NOISE_FLOOR`.
    """
    noise = ops.max(inputs["sigma"] * inputs["valid"], axis=(1, 2))
    seen = ops.cast(noise > 0, "float32")
    mean = ops.sum(noise, axis=-1, keepdims=True) / ops.maximum(ops.sum(seen, axis=-1, keepdims=True), 1.0)
    return SOFTENING / float(np.arcsinh(SOFTENING)) / ops.maximum(mean, 1e-6)


def statistics(inputs: dict, residual, window: np.ndarray):
    """Plain statistics of the image and the residual, [n, `STATISTICS`].

    Parameters
    ----------
    inputs, residual, window : as for `anomaly_features`.
    """
    image, valid = inputs["image"], inputs["valid"]
    start = (image.shape[1] - NETWORK_SIZE) // 2
    if start > 0:
        # A wider field holds more neighbours, which are not the galaxy.
        part = slice(start, start + NETWORK_SIZE)
        image, valid, residual, window = (each[:, part, part] for each in (image, valid, residual, window))
    residual_patches, light, seen = _patches(residual * valid), _patches(image), _patches(valid)
    size = image.shape[1]
    side = size // PATCH
    near = window.reshape(side, PATCH, side, PATCH, 3).mean(axis=(1, 3)).astype("float32")[None]
    return ops.concatenate(
        [
            _errors(residual, valid, window),
            _residual_light(residual_patches * near),
            _moments(light * near),
            _light(light, near),
            1.0 - ops.mean(seen, axis=(1, 2)),
        ],
        axis=-1,
    )


def _patches(image):
    """Means over `PATCH` x `PATCH` pixels, [n, side, side, 3]: over rows first, which lie side by side in memory."""
    size = image.shape[1]
    side = size // PATCH
    rows = ops.mean(ops.reshape(image, (-1, side, PATCH, size * 3)), axis=2)
    return ops.mean(ops.reshape(rows, (-1, side, side, PATCH, 3)), axis=3)


def _errors(residual, valid, window):
    """Logarithm of each band's mean square residual, [n, 3]."""
    weight = valid * window
    total = ops.sum(weight * ops.square(residual), axis=(1, 2))
    return ops.log(total / ops.maximum(ops.sum(weight, axis=(1, 2)), 1e-6) + 1e-3)


def _residual_light(patches):
    """Residual light where there is most and least of it, its colour, and how lopsided it is, [n, 13]."""
    grey = ops.mean(patches, axis=-1, keepdims=True)
    colour = patches - grey
    # One axis at a time: not every runtime that a model is converted to turns both at once.
    lopsided = grey - ops.flip(ops.flip(grey, axis=1), axis=2)
    return ops.concatenate(
        [
            _log(ops.max(patches, axis=(1, 2))),
            _log(-ops.min(patches, axis=(1, 2))),
            _log(ops.max(grey, axis=(1, 2))),
            _log(-ops.min(grey, axis=(1, 2))),
            _log(ops.max(ops.abs(colour), axis=(1, 2, 3)))[:, None],
            _log(ops.max(ops.abs(lopsided), axis=(1, 2))),
            _power(grey, 1e-4),
            _power(colour, 1e-4),
            _power(lopsided, 1e-4),
        ],
        axis=-1,
    )


def _moments(patches):
    """Where the light lies: its distance from the centre, each band's distance from the other bands, the colour and
    the amount, [n, 8]. Lengths in units of the half-width."""
    side = patches.shape[1]
    offset = ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype("float32")
    light = ops.sum(patches, axis=(1, 2))
    total = ops.maximum(ops.mean(ops.abs(light), axis=1, keepdims=True), 1.0 / PATCH**2)
    share = light / total
    x = ops.sum(patches * offset[None, None, :, None], axis=(1, 2)) / total
    y = ops.sum(patches * offset[None, :, None, None], axis=(1, 2)) / total
    mean_x, mean_y = ops.mean(x, axis=1, keepdims=True), ops.mean(y, axis=1, keepdims=True)
    own = ops.maximum(share, 0.05)
    return ops.concatenate(
        [
            ops.log(_distance(mean_x, mean_y) + 1e-3),
            ops.log(_distance(x / own - mean_x, y / own - mean_y) + 1e-3),
            _log(10.0 * (share - 1.0)),
            ops.log(ops.mean(ops.abs(light), axis=1, keepdims=True) + 1.0 / PATCH**2),
        ],
        axis=-1,
    )


def _light(patches, near):
    """The brightest patch, the brightest and the mean patch of the border, and how varied the colour is, [n, 5]."""
    side = patches.shape[1]
    offset = np.arange(side) - (side - 1) / 2
    # The half-width spans three half-light radii.
    beyond = np.hypot(offset[:, None], offset[None, :]) > BORDER / 3 * side / 2
    border = ops.take(ops.reshape(patches, (-1, side * side, 3)), np.flatnonzero(beyond), axis=1)
    colour = (patches - ops.mean(patches, axis=-1, keepdims=True)) * near
    return ops.concatenate(
        [
            ops.log(ops.maximum(ops.max(patches, axis=(1, 2, 3)), 0.1))[:, None],
            _log(10.0 * ops.max(border, axis=(1, 2)))[:, None],
            _log(10.0 * ops.mean(border, axis=(1, 2)))[:, None],
            _power(colour, 1e-5),
            ops.log(ops.max(ops.abs(colour), axis=(1, 2, 3)) + 1e-3)[:, None],
        ],
        axis=-1,
    )


def _distance(x, y):
    return ops.sqrt(ops.square(x) + ops.square(y) + 1e-12)


def _power(patches, floor: float):
    """Logarithm of the mean square, [n, 1]."""
    return ops.log(ops.mean(ops.square(patches), axis=(1, 2, 3)) + floor)[:, None]


def _log(value):
    """A logarithm for values of either sign, linear near zero."""
    return ops.sign(value) * ops.log1p(ops.abs(value))
