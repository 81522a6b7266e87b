"""Between flux and a colour picture.

The colour mapping is that of Lupton et al. (2004): the mean intensity of the bands is compressed by an asinh
and the bands keep their ratios, so a galaxy's colour does not depend on its brightness.
"""

import numpy as np

#: Softening of the asinh in surveys' own colour composites: how many times brighter than the linear part the
#: white level is. SDSS's DR7 composites use 3.
COMPOSITE_SOFTENING = 3.0

#: Weights of g, r, i in a colour picture, those of SDSS's composites, with mean one; other surveys' are much the same.
BAND_WEIGHTS = np.array([7.8, 5.7, 4.9], dtype="float32") / np.float32(6.133)


def to_composite(flux: np.ndarray, white: float | np.ndarray, softening: float = 12.0) -> np.ndarray:
    """A colour picture of calibrated flux.

    Parameters
    ----------
    flux : [..., height, width, 3], bands from blue to red, sky near zero; NaN counts as sky.
    white : the mean intensity shown as white.
    softening : larger shows fainter light.

    Returns
    -------
    uint8 [..., height, width, 3], R, G, B.
    """
    flux = np.nan_to_num(np.asarray(flux, dtype="float32"))[..., ::-1]
    intensity = np.maximum(flux.mean(axis=-1, keepdims=True), 1e-12)
    scaled = intensity / np.asarray(white, dtype="float32")
    compressed = np.arcsinh(softening * scaled) / np.arcsinh(softening)
    picture = flux * (compressed / intensity)
    # Where a band saturates, all three come down together: the colour survives, the brightness does not.
    picture /= np.maximum(picture.max(axis=-1, keepdims=True), 1.0)
    return np.round(np.clip(picture, 0, 1) * 255).astype("uint8")


def white_level(flux: np.ndarray) -> float:
    """A white level that shows the galaxy at the centre well: its 99.5th percentile of intensity; NaN is sky."""
    level = float(np.percentile(np.nan_to_num(flux).mean(axis=-1), 99.5))
    return level if level > 0 else 1.0


def from_composite(picture, xp=np):
    """Linear brightness from a colour picture: the inverse of the Lupton stretch, up to scale and clipping.

    Parameters
    ----------
    picture : values 0 to 255, [..., height, width, 3], R, G, B.
    xp : `numpy`, or `keras.ops` inside the model; training and serving share this code.

    Returns
    -------
    float32 [..., height, width, 3], bands from blue to red, the white level at 1.
    """
    value = xp.flip(picture, axis=-1) / np.float32(255)
    intensity = xp.maximum(xp.mean(value, axis=-1, keepdims=True), np.float32(1e-3))
    softening = np.float32(COMPOSITE_SOFTENING)
    return value * (xp.sinh(softening * intensity) / (np.sinh(softening) * intensity))


def relative_flux(picture, xp=np):
    """As `from_composite`, with the bands in the proportions of flux: what the network is shown of a picture."""
    return from_composite(picture, xp) / BAND_WEIGHTS


def from_relative_flux(flux: np.ndarray) -> np.ndarray:
    """The colour pictures whose `relative_flux` is [..., height, width, 3]: uint8."""
    return to_composite(np.maximum(flux, 0) * BAND_WEIGHTS, 1.0, float(np.sinh(COMPOSITE_SOFTENING)))


#: How far above a stamp's own white level white is, and the stretch: enough to see arms, not the noise.
HEADROOM, SOFTENING = 2.5, 12.0


def to_pictures(images: np.ndarray) -> np.ndarray:
    """Composites as they are, flux as colour pictures, each with its own white level: uint8 [n, s, s, 3]."""
    return images if images.dtype == np.uint8 else _coloured(images, images)


def reconstruction_pictures(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """A classifier's reconstructions shown as the originals are: uint8 [n, s, s, 3].

    Parameters
    ----------
    images : the originals, uint8 composites or float flux.
    reconstructions : what `Classifier.reconstruct_images` made of them.
    """
    if images.dtype == np.uint8:
        return from_relative_flux(reconstructions)
    return _coloured(reconstructions, images)


def _coloured(flux: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Flux as pictures, each with the white level of the stamp `like` it."""
    white = [HEADROOM * white_level(stamp * BAND_WEIGHTS) for stamp in like]
    return to_composite(flux * BAND_WEIGHTS, np.reshape(white, (-1, 1, 1, 1)), SOFTENING)


def centre_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The middle `size` pixels of stamps, or all of them where they are smaller."""
    margin = max(0, (images.shape[1] - size) // 2)
    return images[:, margin : margin + size, margin : margin + size]
