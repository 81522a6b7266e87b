"""Galaxies as pictures, for plots and pages."""

import numpy as np

from morph.images.stretch import COMPOSITE_SOFTENING, to_composite, white_level


def pictures(images: np.ndarray) -> np.ndarray:
    """Composites as they are, flux as colour pictures, each with its own white level: uint8 [n, s, s, 3]."""
    if images.dtype == np.uint8:
        return images
    return to_composite(images, _white(images))


def redrawn(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """A classifier's reconstructions shown as the originals are: uint8 [n, s, s, 3].

    Parameters
    ----------
    images : the originals, uint8 composites or float flux.
    reconstructions : what `Classifier.reconstruct_images` made of them.
    """
    if images.dtype == np.uint8:
        # A composite comes back as relative flux; this undoes `morph.images.stretch.from_composite`.
        return to_composite(np.maximum(reconstructions, 0), 1.0, float(np.sinh(COMPOSITE_SOFTENING)))
    return to_composite(reconstructions, _white(images))


def _white(flux: np.ndarray) -> np.ndarray:
    return np.array([white_level(stamp) for stamp in flux], dtype="float32").reshape(-1, 1, 1, 1)


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """The middle `size` pixels of stamps, or all of them where they are smaller."""
    margin = max(0, (images.shape[1] - size) // 2)
    return images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]
