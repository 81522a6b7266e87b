"""The same galaxy in two datasets: found by its looks, since public releases name galaxies differently.

Every stamp is cut to its galaxy's own size, so two pictures of one galaxy from the same survey come out nearly alike
whatever their files looked like. They are compared as small thumbnails.
"""

from collections.abc import Sequence

import numpy as np

from morph.galaxies import NETWORK_SIZE, Galaxies
from morph.images.stretch import from_composite

#: Pixels on a side of a thumbnail: enough to tell galaxies apart, few enough to forgive a slightly different crop.
THUMBNAIL = 16
#: Thumbnails that correlate more than this show the same galaxy; different galaxies of like shape reach about
#: 0.97 (round, smooth, without neighbours), the same galaxy in two releases 0.99 and more.
SAME = 0.985


def thumbnails(galaxies: Galaxies) -> np.ndarray:
    """Unit vectors, float32 [n, THUMBNAIL^2 * 3], of stretched and centred thumbnails."""
    margin = (galaxies.size - NETWORK_SIZE) // 2
    factor = NETWORK_SIZE // THUMBNAIL
    vectors = np.empty((len(galaxies), THUMBNAIL * THUMBNAIL * 3), dtype="float32")
    for start in range(0, len(galaxies), 512):
        images = galaxies.images[start : start + 512, margin : margin + NETWORK_SIZE, margin : margin + NETWORK_SIZE]
        light = from_composite(images) if images.dtype == np.uint8 else np.nan_to_num(images)
        small = light.reshape(len(images), THUMBNAIL, factor, THUMBNAIL, factor, 3).mean(axis=(2, 4))
        # The square root keeps the nucleus from deciding alone.
        vector = np.sqrt(np.maximum(small, 0)).reshape(len(images), -1)
        vector -= vector.mean(axis=1, keepdims=True)
        vectors[start : start + 512] = vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-6)
    return vectors


def duplicates_of(galaxies: Galaxies, others: Galaxies) -> np.ndarray:
    """Indices of the galaxies that also occur among the others."""
    if not len(galaxies) or not len(others):
        return np.empty(0, dtype=int)
    reference = thumbnails(others).T
    mine = thumbnails(galaxies)
    best = [(mine[start : start + 1024] @ reference).max(axis=1) for start in range(0, len(mine), 1024)]
    return np.flatnonzero(np.concatenate(best) > SAME)


def without_duplicates(galaxies: Galaxies, held_out: Sequence[Galaxies]) -> Galaxies:
    """The galaxies that occur in none of the held-out sets of the same kind of image."""
    keep = np.ones(len(galaxies), dtype=bool)
    for others in held_out:
        if (others.kind, others.size) == (galaxies.kind, galaxies.size):
            keep[duplicates_of(galaxies, others)] = False
    return galaxies.select(keep)
