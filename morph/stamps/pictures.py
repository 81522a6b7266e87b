"""Galaxies as pictures, for plots and pages."""

import numpy as np

from morph.stamps.stretch import BAND_WEIGHTS, COMPOSITE_SOFTENING, to_composite, white_level

#: How far above a stamp's own white level white is, and the stretch: enough to see arms, not the noise.
HEADROOM, SOFTENING = 2.5, 12.0


def pictures(images: np.ndarray) -> np.ndarray:
    """Composites as they are, flux as colour pictures, each with its own white level: uint8 [n, s, s, 3]."""
    return images if images.dtype == np.uint8 else _coloured(images, images)


def reconstructed(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """A classifier's reconstructions shown as the originals are: uint8 [n, s, s, 3].

    Parameters
    ----------
    images : the originals, uint8 composites or float flux.
    reconstructions : what `Classifier.reconstruct_images` made of them.
    """
    if images.dtype == np.uint8:
        # A composite comes back as relative flux; this undoes `morph.stamps.stretch.relative_flux`.
        return to_composite(np.maximum(reconstructions, 0) * BAND_WEIGHTS, 1.0, float(np.sinh(COMPOSITE_SOFTENING)))
    return _coloured(reconstructions, images)


def _coloured(flux: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Flux as pictures, each with the white level of the stamp `like` it."""
    white = [HEADROOM * white_level(stamp * BAND_WEIGHTS) for stamp in like]
    return to_composite(flux * BAND_WEIGHTS, np.reshape(white, (-1, 1, 1, 1)), SOFTENING)


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """The middle `size` pixels of stamps, or all of them where they are smaller."""
    margin = max(0, (images.shape[1] - size) // 2)
    return images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]
