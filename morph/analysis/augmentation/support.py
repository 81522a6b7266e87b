"""Which images look like those of photometric galaxies."""

from collections.abc import Iterable

import numpy as np

from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.stamps.stretch import centre_crop

#: Samples farther from their nearest photometric galaxies than this share of these is from each other are left out.
SHARE = 0.99
#: Photometric galaxies that samples are compared with.
COMPARED = 5000


class Support:
    """The images as near to a photometric galaxy, in the embedding, as nearly all of these are to another.

    Parameters
    ----------
    classifier : whose embedding it is.
    images : of photometric galaxies, some at a time, float32 [n, size, size, 3]. InputError where fewer than two have
        data.
    """

    def __init__(self, classifier: Classifier, images: Iterable[np.ndarray]):
        from sklearn.neighbors import NearestNeighbors

        self.classifier = classifier
        embedding = np.concatenate([self._embedding(some) for some in images])
        # A stamp without data has none.
        embedding = embedding[np.isfinite(embedding).all(axis=1)]
        if len(embedding) < 2:
            raise InputError("Fewer than two photometric galaxies have data in their images; nothing can be compared.")
        self.scale = embedding.std(axis=0) + 1e-6
        self.nearest = NearestNeighbors(n_neighbors=1).fit(embedding / self.scale)
        others = self.nearest.kneighbors(embedding / self.scale, n_neighbors=2)[0][:, -1]
        self.reach = float(np.quantile(others, SHARE))

    def _embedding(self, images: np.ndarray) -> np.ndarray:
        return self.classifier.answer(centre_crop(images, self.classifier.size))["embedding"]

    def contains(self, images: np.ndarray) -> np.ndarray:
        """Whether each image [n, size, size, 3] is one of them: bool [n]."""
        embedding = self._embedding(images) / self.scale
        known = np.isfinite(embedding).all(axis=1)
        distance, _ = self.nearest.kneighbors(np.where(known[:, None], embedding, 0.0))
        return known & (distance[:, 0] <= self.reach)
