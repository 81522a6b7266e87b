"""Posteriors of z of many galaxies, from a frozen network, given any of what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from keras import ops

from morph.dataset import Galaxies
from morph.model.classifier import Classifier
from morph.model.conditions import encode_conditions
from morph.model.experts import MEASUREMENTS, bounded, product, transform
from morph.votes import vote_counts

#: Ways in which each galaxy is turned and mirrored: its image's expert is another one each time.
VIEWS = (0, 5, 2, 7)


@dataclass(frozen=True)
class Posteriors:
    """The Gaussian of every modality of some galaxies, of which any subset makes a posterior.

    Attributes
    ----------
    images : mean and log-variance of the image's expert in every view, [n, views, 2, d].
    others : the same of the other modalities' experts, [n, modalities - 1, 2, d].
    present : which modalities are known, bool [n, modalities].
    measurements : as `morph.model.experts.transform` gives them, [n, 5].
    conditions : everything known but the image (`morph.model.conditions`), [n, conditions].
    """

    images: np.ndarray
    others: np.ndarray
    present: np.ndarray
    measurements: np.ndarray
    conditions: np.ndarray

    def __len__(self) -> int:
        return len(self.present)

    @classmethod
    def of(cls, classifier: Classifier, galaxies: Galaxies, views: Sequence[int] = VIEWS) -> "Posteriors":
        """Those of galaxies of any kind.

        Parameters
        ----------
        classifier : frozen.
        galaxies : of which nothing needs to be known but the image.
        views : how their images are turned (see `turned`).
        """
        measured = np.stack([galaxies.properties[name] for name in MEASUREMENTS], axis=1)
        others, present = experts_of(classifier, galaxies)
        images = [classifier.image_expert(turned(galaxies.images, view)) for view in views]
        return cls(
            _stacked([image["mean"] for image in images], [bounded(image["log_variance"]) for image in images]),
            others,
            np.concatenate([images[0]["seen"], present[:, 1:]], axis=1) > 0,
            transform(measured),
            encode_conditions(len(galaxies), galaxies.votes, measured, galaxies.surveys, galaxies.kind),
        )

    @classmethod
    def concatenate(cls, parts: "Sequence[Posteriors]") -> "Posteriors":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def select(self, rows: np.ndarray) -> "Posteriors":
        """Some of the galaxies, by a mask or by indices."""
        return Posteriors(*(getattr(self, field.name)[rows] for field in fields(self)))

    def gaussian(self, view: np.ndarray | int = 0, given: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the posterior of z, [n, d] each.

        Parameters
        ----------
        view : of the images, one for all or int [n].
        given : which modalities are given, bool [n, modalities]; by default all that are known.
        """
        image = self.images[np.arange(len(self)), view]
        experts = np.concatenate([image[:, None], self.others], axis=1)
        mean, log_variance = product(
            [*experts[:, :, 0].swapaxes(0, 1)],
            [*experts[:, :, 1].swapaxes(0, 1)],
            (self.present if given is None else given).astype("float32"),
        )
        return ops.convert_to_numpy(mean), np.exp(0.5 * ops.convert_to_numpy(log_variance))

    def draw(self, random: np.random.Generator, view: np.ndarray | int = 0, given=None, draws: int = 1) -> np.ndarray:
        """Draws of z from the posteriors that `gaussian` describes: float32 [n, draws, d].

        Parameters
        ----------
        random : random numbers.
        view, given : as for `gaussian`.
        draws : for each galaxy.
        """
        mean, sigma = self.gaussian(view, given)
        noise = random.standard_normal((len(self), draws, mean.shape[1]))
        return (mean[:, None] + sigma[:, None] * noise).astype("float32")


def experts_of(classifier: Classifier, galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """The experts of all modalities but the image: mean and log-variance [n, modalities - 1, 2, d], and which
    modalities are known, the image first: [n, modalities].

    Parameters
    ----------
    classifier : frozen.
    galaxies : of which nothing needs to be known.
    """
    measured = np.stack([galaxies.properties[name] for name in MEASUREMENTS], axis=1)
    means, log_variances, present = classifier.experts(vote_counts(galaxies.votes), transform(measured))
    known = np.concatenate([np.ones((len(galaxies), 1)), ops.convert_to_numpy(present)], axis=1)
    return _stacked(means, log_variances), known.astype("float32")


def turned(images: np.ndarray, view: int) -> np.ndarray:
    """Images turned by `view` quarter turns, and from 4 on mirrored too."""
    images = np.rot90(images, view % 4, axes=(1, 2))
    return images[:, :, ::-1] if view >= 4 else images


def _stacked(means: Sequence, log_variances: Sequence) -> np.ndarray:
    """[n, experts, 2, d]."""
    parts = [
        np.stack([ops.convert_to_numpy(part) for part in pair], axis=1)
        for pair in zip(means, log_variances, strict=True)
    ]
    return np.stack(parts, axis=1)
