"""Augmentation: ways in which the same galaxy could have looked.

Turning, flipping, zooming and shifting cost nothing and change no answer. Blur, noise, colour and contrast are what
differs between surveys, so a network that has seen them varied carries over
(docs/explanation/methods.md has the measurement). Everything is backend-free and runs inside the training step.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops


@dataclass(frozen=True)
class Strength:
    """How strongly to vary; every number is explained by the line that uses it."""

    untouched: float = 0.35
    zoom: float = 0.12
    shift: float = 1.5
    contrast: float = 0.25
    gain: float = 0.12
    desaturate: float = 0.9
    blur: float = 0.8
    noise: float = 0.08
    missing_band: float = 0.05


class Turn(keras.layers.Layer):
    """Random rotation, reflection, zoom and shift of stamps with a margin, then the central crop.

    float32 [n, s, s, 3] to [n, size, size, 3]. In inference it is the central crop alone.
    """

    def __init__(self, size: int, strength: Strength, seed: int, **options):
        super().__init__(**options)
        self.size, self.strength = size, strength
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, image, training=False):
        if training:
            image = ops.image.affine_transform(
                image,
                self._transforms(ops.shape(image)[0], image.shape[1]),
                interpolation="bilinear",
                fill_mode="reflect",
            )
        start = (image.shape[1] - self.size) // 2
        return image[:, start : start + self.size, start : start + self.size]

    def _transforms(self, n, side: int):
        angle = keras.random.uniform((n,), 0, 2 * np.pi, seed=self.generator)
        zoom = ops.exp(self.strength.zoom * keras.random.normal((n,), seed=self.generator))
        mirror = ops.sign(keras.random.uniform((n,), -1, 1, seed=self.generator))
        shift = keras.random.normal((n, 2), stddev=self.strength.shift, seed=self.generator)
        a, b = ops.cos(angle) * zoom, -ops.sin(angle) * zoom * mirror
        c, d = ops.sin(angle) * zoom, ops.cos(angle) * zoom * mirror
        middle = (side - 1) / 2
        x = middle - a * middle - b * middle + shift[:, 0]
        y = middle - c * middle - d * middle + shift[:, 1]
        zero = ops.zeros_like(a)
        return ops.stack([a, b, x, c, d, y, zero, zero], axis=1)


class Disturb(keras.layers.Layer):
    """Random blur, colour, contrast, noise and missing bands of normalised images.

    Takes and returns the dict of `morph.model.preprocessing.Preprocessing`; adds ``clean``, the image before the
    noise, which is what the decoder should reconstruct.
    """

    def __init__(self, strength: Strength, seed: int, **options):
        super().__init__(**options)
        self.strength = strength
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        image, valid = inputs["image"], inputs["valid"]
        if not training:
            return {**inputs, "clean": image}
        n, s = ops.shape(image)[0], self.strength

        def uniform(low, high, channels=1):
            return keras.random.uniform((n, 1, 1, channels), low, high, seed=self.generator)

        # Seeing: mix with a copy blurred by about 1.2 px, so that every width in between occurs.
        soft = ops.average_pool(ops.average_pool(image, 3, 1, "same"), 3, 1, "same")
        image = image + s.blur * ops.square(uniform(0, 1)) * (soft - image)
        # Another telescope's filters and another survey's colour mapping.
        grey = ops.mean(image, axis=-1, keepdims=True)
        image = grey + uniform(1 - s.desaturate, 1.15) * (image - grey)
        image = image * ops.exp(s.gain * keras.random.normal((n, 1, 1, 3), seed=self.generator))
        # Another stretch: a power law leaves sky at zero and the central brightness at one.
        power = ops.exp(s.contrast * uniform(-1, 1))
        image = ops.sign(image) * ops.exp(power * ops.log(ops.abs(image) + 1e-4))
        kept = ops.cast(uniform(0, 1, 3) >= s.missing_band, "float32")
        # Nothing can be learned from a galaxy without any band.
        kept = ops.where(ops.sum(kept, axis=-1, keepdims=True) > 0, kept, 1.0)
        valid = valid * kept
        clean = image * valid
        level = s.noise * ops.square(uniform(0, 1))
        noise = level * keras.random.normal(ops.shape(image), seed=self.generator)
        # A share of the galaxies keeps its own colours and sharpness, so that the network learns from these too.
        touched = uniform(0, 1) >= s.untouched
        image = ops.where(touched, (clean + noise) * valid, inputs["image"])
        clean, valid = ops.where(touched, clean, inputs["image"]), ops.where(touched, valid, inputs["valid"])
        return {**inputs, "clean": clean, "image": image, "valid": valid}
