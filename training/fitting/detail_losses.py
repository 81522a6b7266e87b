"""The losses by which the detail decoder and its critics learn: adversarial ones, and likeness to a real galaxy.

The critics look through the frozen encoder (Sauer et al. 2021), whose features are also the likeness (Larsen et al.
2016).
"""

import keras
import numpy as np
from keras import ops

from morph.model.classifier import Classifier
from morph.model.detail import Detail, convolve, light, shrunk
from morph.model.experts import bounded, product
from morph.model.preprocessing import FARTHEST, SOFTENING
from training.fitting.optimisation import MeanLoss

#: Channels of each critic's hidden maps.
CRITIC = 32
#: Parts of the image, on a side, in which features and structure are compared.
PARTS = 4
#: How much features, structure and light count beside the critics.
FEATURES, STRUCTURE, LIGHT = 1.0, 0.3, 100.0
#: Scales of structure: from 1 pixel, each twice the one before. The mean square that is as good as none.
SCALES, NEGLIGIBLE = 3, 1e-5
#: Pixels on a side over which the light must stay.
SMOOTHED = 8
#: The stretch is arcsinh(SOFTENING x) over this.
UNIT = float(np.arcsinh(SOFTENING))


class Critic(keras.layers.Layer):
    """Distinguishes real from drawn, at every place of a map of features: [n, h, w, c] to [n, h, w, 1].

    Three convolutions, the first two divided by their spectral norm (Miyato et al. 2018), which power iteration finds
    anew at every step: there is no state beside the weights. With `fixed` no gradient reaches the weights.

    Parameters
    ----------
    channels : of the map.
    """

    def __init__(self, channels: int, **options):
        super().__init__(**options)
        shapes = [(3, 3, channels, CRITIC), (3, 3, CRITIC, CRITIC), (1, 1, CRITIC, 1)]
        self.convolutions = [
            (
                self.add_weight(name=f"{number}-kernel", shape=shape, initializer="glorot_normal"),
                self.add_weight(name=f"{number}-bias", shape=shape[-1:], initializer="zeros"),
            )
            for number, shape in enumerate(shapes)
        ]
        self.built = True

    def call(self, x, fixed: bool = False):
        for number, (kernel, bias) in enumerate(self.convolutions):
            kernel, bias = ops.convert_to_tensor(kernel), ops.convert_to_tensor(bias)
            if fixed:
                kernel, bias = ops.stop_gradient(kernel), ops.stop_gradient(bias)
            if number == len(self.convolutions) - 1:
                return convolve(x, kernel, bias)
            x = ops.leaky_relu(convolve(x, kernel / _gain(kernel), bias), 0.2)
        return x


def _gain(kernel, iterations: int = 4):
    """The largest singular value of a convolution's kernel as a matrix, by power iteration."""
    matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
    still = ops.stop_gradient(matrix)
    right = ops.ones((matrix.shape[1], 1)) / float(np.sqrt(matrix.shape[1]))
    for _ in range(iterations):
        left = _of_length_one(ops.matmul(still, right))
        right = _of_length_one(ops.matmul(ops.transpose(still), left))
    return ops.sum(left * ops.matmul(matrix, right)) + 1e-6


def _of_length_one(vector):
    return vector * ops.rsqrt(ops.sum(ops.square(vector)) + 1e-12)


class AdversarialLoss(MeanLoss):
    """The losses of both sides for each galaxy of a batch, in one model: no gradient of one side reaches the other.

    Parameters
    ----------
    detail : what learns.
    frozen : the classifier whose encoder and decoder are used.
    """

    def __init__(self, detail: Detail, frozen: Classifier):
        super().__init__()
        self.detail = detail
        self.decoder, self.encoder = frozen.decoder, feature_maps(frozen.encoder)
        self.decoder.trainable = self.encoder.trainable = False
        channels = [maps.shape[-1] for maps in self.encoder.output["maps"]]
        #: What the channels of each map are divided by.
        self.scales = [np.ones(each, "float32") for each in channels]
        # The encoder leaves the full resolution at once; the pixels themselves are judged with its first maps.
        channels[0] += 12
        self.critics = [Critic(each, name=f"critic-{number}") for number, each in enumerate(channels)]
        names = ("critics", "deceived", "features", "structure", "light")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    def build(self, input_shape=None):
        """Every part is built."""

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers.values()]

    def scale(self, images: np.ndarray) -> None:
        """Measure the root mean square of each channel of every map.

        Parameters
        ----------
        images : real ones, stretched.
        """
        seen = self.encoder.predict_on_batch(images)["maps"]
        self.scales = [np.sqrt(np.mean(np.square(maps, dtype="float32"), axis=(0, 1, 2))) + 1e-3 for maps in seen]

    def call(self, given, training=False):
        """The sum of all losses, [n]."""
        real = given["image"]
        seen = self.encoder(real, training=False)
        z = posterior_draw(seen, given)
        picture = self.decoder(z, training=False)
        noisy = observed(self.detail(z, picture, given["noise"]), given["sky"])
        theirs, ours = self._scaled(seen["maps"]), self._scaled(self.encoder(noisy, training=False)["maps"])
        weight = light(picture)
        terms = {
            **self._adversarial(theirs, ours, real, noisy, weight),
            "features": FEATURES * _features_apart(theirs, ours, weight),
            "structure": STRUCTURE * _structure_apart(real, noisy, weight),
            "light": LIGHT * _mean(ops.square(shrunk(noisy, SMOOTHED) - shrunk(real, SMOOTHED))),
        }
        for name, value in terms.items():
            self.trackers[name].update_state(value)
        return sum(terms.values())

    def _scaled(self, maps) -> list:
        return [ops.cast(each, "float32") / scale for each, scale in zip(maps, self.scales, strict=True)]

    def _adversarial(self, theirs, ours, real, noisy, weight) -> dict:
        """The hinge losses of the critics, and what they make of what is drawn, where the galaxy is."""
        critics, deceived = 0.0, 0.0
        theirs, ours = ([_with_pixels(maps[0], image), *maps[1:]] for maps, image in ((theirs, real), (ours, noisy)))
        for critic, true, false in zip(self.critics, theirs, ours, strict=True):
            where = shrunk(weight, real.shape[1] // true.shape[1])
            where = where / _mean(where)[:, None, None, None]
            critics = critics + _mean(where * ops.relu(1.0 - critic(true)))
            critics = critics + _mean(where * ops.relu(1.0 + critic(ops.stop_gradient(false))))
            deceived = deceived - _mean(where * critic(false, fixed=True))
        return {"critics": critics, "deceived": deceived}


def posterior_draw(encoded: dict, given: dict):
    """A draw of z from the posteriors of galaxies, [n, d].

    Parameters
    ----------
    encoded : of the encoder.
    given : ``draw``, standard normal [n, d]; ``experts``, mean and log-variance of the other modalities' experts
        [n, modalities - 1, 2, d]; and ``known``, 1 for the modalities that take part, [n, modalities].
    """
    means, log_variances = (ops.unstack(given["experts"][:, :, part], axis=1) for part in (0, 1))
    mean, log_variance = product(
        [encoded["mean"], *means], [bounded(encoded["log_variance"]), *log_variances], given["known"]
    )
    return mean + ops.exp(0.5 * log_variance) * given["draw"]


def observed(drawn, sky):
    """Stretched images with noise.

    Parameters
    ----------
    drawn : stretched images without noise, [n, size, size, 3].
    sky : noise where the stretch has a slope of 1.
    """
    return drawn + sky / ops.cosh(ops.clip(UNIT * drawn, -FARTHEST, FARTHEST))


def feature_maps(encoder: keras.Model) -> keras.Model:
    """The encoder with its last map at every resolution, from fine to coarse (``maps``), beside its outputs."""
    last: dict[int, object] = {}
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Activation):
            last[layer.output.shape[1]] = layer.output
    return keras.Model(encoder.input, {"maps": [last[side] for side in sorted(last, reverse=True)], **encoder.output})


def _with_pixels(maps, image):
    """Maps at half of the resolution with the pixels, four in one place: [n, size / 2, size / 2, c + 12]."""
    side = image.shape[1] // 2
    pixels = ops.reshape(image, (-1, side, 2, side, 2, 3))
    pixels = ops.reshape(ops.transpose(pixels, (0, 1, 3, 2, 4, 5)), (-1, side, side, 12))
    return ops.concatenate([maps, pixels], axis=-1)


def _features_apart(theirs, ours, weight):
    """How far the mean features of every part of the images are apart, [n]."""
    apart = [ops.square(_parts(one) - _parts(other)) for one, other in zip(theirs, ours, strict=True)]
    return sum(_weighted(each, weight) for each in apart) / len(apart)


def _structure_apart(real, drawn, weight):
    """How far the logarithms of the strength of structure in every part of the images are apart, [n]."""
    apart = [ops.square(one - other) for one, other in zip(structure(real), structure(drawn), strict=True)]
    return sum(_weighted(each, weight) for each in apart) / len(apart)


def structure(image) -> list:
    """Logarithms of the mean square of each scale of an image, from fine to coarse, in the parts of the image.

    Parameters
    ----------
    image : [n, size, size, 3].

    Returns
    -------
    [n, PARTS, PARTS, 5] for each scale: of the three bands, and of the two differences of neighbours, since structure
    of independent bands would be specks of colour.
    """
    image = ops.concatenate([image, image[..., :2] - image[..., 1:]], axis=-1)
    found = []
    for _ in range(SCALES):
        coarser = shrunk(image, 2)
        finer = image - ops.repeat(ops.repeat(coarser, 2, axis=1), 2, axis=2)
        found.append(ops.log(_parts(ops.square(finer)) + NEGLIGIBLE))
        image = coarser
    return found


def _parts(maps):
    """The mean in each part of the image, [n, PARTS, PARTS, c]."""
    return shrunk(maps, maps.shape[1] // PARTS)


def _weighted(parts, weight):
    """The mean over the parts, each weighted by its light, and over the channels, [n]."""
    where = _parts(weight)
    return _mean(parts * where) / _mean(where)


def _mean(maps):
    """The mean of each galaxy's, [n]."""
    return ops.mean(maps, axis=tuple(range(1, len(maps.shape))))
