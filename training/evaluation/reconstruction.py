"""How well a model's reconstruction holds what an astronomer measures on a galaxy: size, profile and brightness.

The galaxies are simulated, so that the truth is known: the galaxy without noise, as its survey's point-spread function
blurs it. A decoder draws the seeing that it was trained on, whatever that of the galaxy's own image.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from morph.dataset import Galaxies
from morph.simulation.sample import noiseless
from morph.stamps.signal_to_noise import flux_and_noise
from training.evaluation.decoded import RADIUS, shapes

if TYPE_CHECKING:
    from morph.model.classifier import Classifier

#: Edges of the rings of a profile, half-light radii.
RINGS = np.linspace(0, 3, 7)
#: Galaxies with less light within the half-light radius, in units of its noise, are not measured.
LEAST_SIGNAL = 20.0


def profiles(images: np.ndarray) -> np.ndarray:
    """The mean brightness of the middle band in `RINGS` around the middle of stamps: [n, rings].

    Parameters
    ----------
    images : linear brightness, sky at 0, float32 [n, size, size, 3]; a stamp has 6 half-light radii in 64 pixels.
    """
    offset = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    radius = np.hypot(offset[:, None], offset) / RADIUS
    rings = np.array([(radius >= low) & (radius < high) for low, high in pairwise(RINGS)])
    return np.einsum("nyx,ryx->nr", images[..., 1], rings) / rings.sum(axis=(1, 2))


def measure_reconstruction(classifier: "Classifier", galaxies: Galaxies) -> dict[str, np.ndarray]:
    """Compare reconstructions with the galaxies themselves.

    Parameters
    ----------
    classifier : whose reconstructions they are.
    galaxies : of `morph simulate galaxies`.

    Returns
    -------
    Of the galaxies of `LEAST_SIGNAL` or more: ``magnitude`` [n], that of the reconstruction less the truth's, middle
    band, within two half-light radii; ``radius`` [n], the relative difference of the half-light radii; ``profile``
    [n, rings], the relative differences of `profiles`.
    """
    images, truth = (classifier.central(each) for each in (galaxies.images, noiseless(galaxies)))
    flux, noise, _, _ = flux_and_noise(images)
    bright = (flux[:, 1] >= LEAST_SIGNAL * noise[:, 1]) & np.isfinite(images).all(axis=(1, 2, 3))
    images, truth = images[bright], truth[bright]
    made = np.concatenate(
        [np.asarray(classifier.reconstruct(images[k : k + 64])["reconstruction"]) for k in range(0, len(images), 64)]
    )
    # The sky that an image has too much, or too little, is a part of its reconstruction, and not of the truth.
    made = made - (images - truth).mean(axis=(1, 2), keepdims=True)
    (true_light, true_radius, _), (light, radius, _) = (shapes(each) for each in (truth, made))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "magnitude": -2.5 * np.log10(light / true_light),
            "radius": radius / true_radius - 1,
            "profile": profiles(made) / profiles(truth) - 1,
        }
    known = np.isfinite(found["magnitude"]) & np.isfinite(found["radius"])
    return {name: values[known] for name, values in found.items()}
