"""The query of a search by several examples. It loads neither Keras nor any other large package."""

from collections.abc import Sequence

import numpy as np

#: Weight of the examples to stay away from (`combine`).
UNLIKE = 0.1


def combine(
    like: np.ndarray, unlike: np.ndarray | None = None, weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """The query of a search by several examples: a vector of unit length, compared by its cosine.

    It is the mean of the examples, less a tenth of the mean of those to stay away from. On validation galaxies it
    finds more than weights by precision or agreement, a logistic regression against random galaxies, or the largest
    cosine with any example. More weight on what is unlike, which often lies close to what is sought, finds less
    (docs/explanation/methods.md).

    Parameters
    ----------
    like, unlike : similarity vectors, [m, k] with m >= 1, and [u, k].
    weights : of the examples, [m], none below 0; all count alike when not given.

    Returns
    -------
    [k]

    >>> combine(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3).tolist()
    [0.707, 0.707]
    """
    query = np.average(like, axis=0, weights=weights)
    if unlike is not None and len(unlike):
        query = query - UNLIKE * np.mean(unlike, axis=0)
    return query / max(float(np.linalg.norm(query)), 1e-12)
