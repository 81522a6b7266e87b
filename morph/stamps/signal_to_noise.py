"""How well a galaxy was seen: its light against the noise of the sky around it, read from its stamp alone.

The pixels of a stamp are not those of the image. A small galaxy's stamp is finer than the image: its neighbouring
pixels are correlated, and the noise of a sum over them is larger than if each had noise of its own (Fruchter &
Hook 2002, section 7). How much larger follows from the weights of the resampling, and is taken into account here.
What coadding did before that to the image's own pixels is not known, and is not.
"""

from functools import cache

import numpy as np

from morph.fits.resampling import weights
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.flags import SMALLEST_RADIUS, stamp_width

#: Image pixels across a stamp pixel, and places of the centre within a pixel, for which the noise of the resampling
#: is worked out. Far coarser stamps have all but independent pixels.
STEPS = np.geomspace(0.1, 8, 24)
CENTRES = (0.0, 0.25, 0.5, 0.75)

#: Pixels of the image by which a stamp's border is wider than it seems, where its noise is concerned.
WIDER = 0.4


def signal_to_noise(stamps: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The flux within the half-light radius over its noise, as the noise of the sky alone makes it.

    Flux and noise are those of the middle band, or of the better one of the others where that was not observed. The
    sky and its noise are the border's median and the distance from there down to the lower quartile, as a Gaussian's
    sigma: neighbours only ever make the border brighter. Of galaxies that are hundreds of times brighter than the
    noise, the border holds more of their own light than noise, and the figure stays below the truth.

    Parameters
    ----------
    stamps : float32 [n, size, size, 3], flux in any unit, `FIELD` half-light radii across `NETWORK_SIZE` pixels; NaN
        where there is no data.
    radius : [n], half-light radii in pixels of the image that the stamps were cut from, by `morph.stamps.cutting.cut`.

    Returns
    -------
    float32 [n]; NaN where no band shows both the galaxy and a border with noise.
    """
    found = _in_band(stamps, 1, radius)
    lacking = np.isnan(found)
    if lacking.any():
        others = np.fmax(*(_in_band(stamps, channel, radius) for channel in (0, 2)))
        found[lacking] = others[lacking]
    return found


def flux_and_noise(stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The flux within the half-light radius, its noise if pixels were independent, sky and noise of a pixel: [n, 3].

    NaN where a band has no data.
    """
    within, _ = _places(stamps.shape[1])
    found = [_of_band(stamps, channel, within) for channel in range(stamps.shape[-1])]
    return tuple(np.stack(each, axis=1) for each in zip(*found, strict=True))  # type: ignore[return-value]


def noise_of_sums(step: np.ndarray, size: int) -> np.ndarray:
    """By how much resampling makes the flux within the half-light radius noisier than independent pixels would: [n].

    `step` is image pixels across a stamp pixel.
    """
    return np.interp(np.log(step), np.log(STEPS), _noise_of_sums(size))


def noise_of_sky(step: np.ndarray, size: int, correlation: float = 1.0) -> np.ndarray:
    """By how much the noise of the sky that is subtracted enlarges that of the flux within the half-light radius: [n].

    The sky is the border's median, whose variance is pi / 2 times the mean's. Interpolation makes the border as
    independent as if it were `WIDER` pixels of the image wider; a strip so thin is correlated across its length alone.

    Parameters
    ----------
    step : [n], image pixels across a stamp pixel.
    correlation : by how much sums are noisier than if the image's pixels were independent.

    Returns
    -------
    float [n], factors of at least 1.
    """
    within, _ = _places(size)
    width, length = BORDER * step + WIDER, 4 * (size - BORDER) * step
    return np.sqrt(1 + np.pi / 2 * len(within) * step**2 / (width * length * correlation))


def _in_band(stamps: np.ndarray, channel: int, radius: np.ndarray) -> np.ndarray:
    flux, noise, _, _ = _of_band(stamps, channel, _places(stamps.shape[1])[0])
    noise = noise * noise_of_sums(np.asarray(stamp_width(np.maximum(radius, SMALLEST_RADIUS), 1)), stamps.shape[1])
    known = np.full(len(stamps), np.nan, dtype="float32")
    return np.divide(flux, noise, where=noise > 0, out=known, casting="same_kind")


def _of_band(
    stamps: np.ndarray, channel: int, within: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flux within, its noise if pixels were independent, sky and noise of a pixel, of one band: [n]."""
    count, size, _, bands = stamps.shape
    _, border = _places(size)
    pixels = stamps.reshape(count, size * size * bands)
    sky = np.sort(pixels.take(border * bands + channel, axis=1), axis=1)  # NaN comes last
    light = pixels.take(within * bands + channel, axis=1)
    # The place of the last pixel with data; where there is none, the result is NaN whatever is taken.
    last = np.maximum(np.isfinite(sky).sum(axis=1) - 1, 0)
    each = np.arange(count)
    median, quartile = sky[each, last // 2], sky[each, last // 4]
    seen = np.isfinite(light)
    area = seen.sum(axis=1)
    flux = np.where(seen, light - median[:, None], 0).sum(axis=1)
    noise = 1.4826 * (median - quartile)
    return np.where(area > 0, flux, np.nan), noise * np.sqrt(area), median, noise


@cache
def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a stamp lie within the half-light radius, and which are its border."""
    offset = np.arange(size) - (size - 1) / 2
    away = np.hypot(offset[:, None], offset)
    border = np.ones((size, size), dtype=bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return np.flatnonzero(away < NETWORK_SIZE / FIELD), np.flatnonzero(border)


@cache
def _noise_of_sums(size: int) -> np.ndarray:
    """How much larger the noise of the flux within the half-light radius is than if the stamp's pixels, each as noisy
    as those of the border, were independent: [steps], where the image's are."""
    within, border = _places(size)
    inside = np.zeros((size, size))
    inside.flat[within] = 1
    larger = np.empty((len(STEPS), len(CENTRES)))
    for i, step in enumerate(STEPS):
        for j, centre in enumerate(CENTRES):
            taken = weights(centre, step * size, size).astype(float)
            of_sum = np.linalg.norm(taken.T @ inside @ taken)
            along = np.linalg.norm(taken, axis=1)
            # Pixels between those of the image are less noisy than those upon them; a quartile sees their mean.
            of_pixels = np.outer(along, along).flat[border].mean()
            larger[i, j] = of_sum / (of_pixels * np.sqrt(len(within)))
    return larger.mean(axis=1)


#: Width in pixels of the border that counts as sky.
BORDER = 2


def border(image, xp=np):
    """Median and noise of the border, per galaxy and band, each [n, 1, 1, 3].

    The noise is the distance from the median down to the lower quartile, as a Gaussian's sigma: sources in the border
    only ever make it brighter. Order statistics skip missing pixels; where all are missing, both are 0.

    Parameters
    ----------
    image : float32 [n, size, size, 3], any linear brightness, NaN where there is no data.
    xp : `numpy`, or `keras.ops` inside the model; both give the same numbers.
    """
    size = image.shape[1]
    on_border = np.ones((size, size), dtype=bool)
    on_border[BORDER:-BORDER, BORDER:-BORDER] = False
    # Every other pixel: neighbours are correlated, and sorting is the slowest step of preprocessing.
    index = np.flatnonzero(on_border)[::2]
    pixels = xp.take(xp.reshape(image, (-1, size * size, 3)), index, axis=1)
    finite = xp.isfinite(pixels)
    pixels = xp.where(finite, pixels, np.float32(3e38))
    count = xp.sum(finite, axis=1, keepdims=True)
    ordered = xp.sort(pixels, axis=1)
    last = xp.maximum(count - 1, 0)
    median = xp.take_along_axis(ordered, last // 2, axis=1)
    quartile = xp.take_along_axis(ordered, last // 4, axis=1)
    known = count > 0
    sky = xp.where(known, median, np.float32(0))
    noise = xp.where(known, np.float32(1.4826) * (median - quartile), np.float32(0))
    return sky[:, :, None, :], noise[:, :, None, :]
