"""Sky noise as stretched images have it: correlated between pixels and bands, measured in the corners of stamps.

The noise of a resampled image or of a JPEG is larger than that of independent pixels with the same scatter between
neighbours, and a picture's bands share some of it. What is drawn without noise gets such noise before it is compared
with real images.
"""

from dataclasses import dataclass

import numpy as np

#: Pixels on a side of the patches in the corners, and the largest distance over which noise is correlated.
PATCH, FARTHEST = 12, 3
#: The share of patches, those with the least scatter, that says how noise is correlated: in the others are faint
#: galaxies and haloes, which neighbouring pixels and the bands have in common.
QUIETEST = 0.2
#: Patches below which nothing is measured: the noise is then taken for white.
FEWEST = 20


@dataclass(frozen=True)
class SkyNoise:
    """Stationary Gaussian noise of unit `sigma`, as `Preprocessing` states it.

    Attributes
    ----------
    kernel : what white noise is convolved with, [2 FARTHEST + 1, 2 FARTHEST + 1], of unit length.
    bands : the lower triangle that mixes the bands, [3, 3]; the lengths of its rows are the scatters over `sigma`.
    """

    kernel: np.ndarray
    bands: np.ndarray

    @classmethod
    def white(cls) -> "SkyNoise":
        """Independent pixels."""
        kernel = np.zeros((2 * FARTHEST + 1, 2 * FARTHEST + 1))
        kernel[FARTHEST, FARTHEST] = 1.0
        return cls(kernel, np.eye(3))

    @classmethod
    def measure(cls, images: np.ndarray, sigma: np.ndarray, valid: np.ndarray) -> "SkyNoise":
        """That of some stretched images.

        Parameters
        ----------
        images, sigma, valid : of `Preprocessing`, [n, size, size, 3].

        Examples
        --------
        >>> random = np.random.default_rng(0)
        >>> images = 0.1 * random.standard_normal((50, 64, 64, 3))
        >>> found = SkyNoise.measure(images, np.full_like(images, 0.05), np.ones_like(images))
        >>> found.scatter.round(1)
        array([2., 2., 2.])
        """
        patches = _corners(images / sigma)[_corners(valid).min(axis=(1, 2, 3)) > 0]
        if not len(patches):
            return cls.white()
        patches = patches - np.median(patches, axis=(1, 2), keepdims=True)
        scatter = patches.std(axis=(1, 2))
        # A band of one value, as in a saturated picture, has no noise to measure.
        worst = np.where((scatter > 0).all(axis=1), scatter.mean(axis=1), np.inf)
        quiet = np.argsort(worst)[: int(QUIETEST * np.isfinite(worst).sum())]
        if len(quiet) < FEWEST:
            return cls.white()
        covariance = _covariance(patches[quiet] - patches[quiet].mean(axis=(1, 2), keepdims=True))
        middle = covariance[FARTHEST, FARTHEST]
        correlation = np.einsum("yxbb->yx", covariance) / np.trace(middle)
        # The root of the spectrum, periodic over a field in which the correlation has long ended.
        field = np.zeros((8 * FARTHEST, 8 * FARTHEST))
        field[: 2 * FARTHEST + 1, : 2 * FARTHEST + 1] = correlation
        field = np.roll(field, (-FARTHEST, -FARTHEST), axis=(0, 1))
        kernel = np.fft.ifft2(np.sqrt(np.maximum(np.fft.fft2(field).real, 0.0))).real
        kernel = np.roll(kernel, (FARTHEST, FARTHEST), axis=(0, 1))[: 2 * FARTHEST + 1, : 2 * FARTHEST + 1]
        # How large it is must not be read from the quietest: the median of all patches, robust against stars in one.
        usual = np.median(1.4826 * np.median(np.abs(patches), axis=(1, 2)), axis=0)
        bands = np.linalg.cholesky(middle + 1e-9 * np.eye(3))
        bands *= (usual / np.linalg.norm(bands, axis=1))[:, None]
        return cls(kernel / np.linalg.norm(kernel), bands)

    @property
    def scatter(self) -> np.ndarray:
        """Of each band, over `sigma`: [3]."""
        return np.linalg.norm(self.bands, axis=1)

    def draw(self, random: np.random.Generator, n: int, size: int) -> np.ndarray:
        """Noise in units of `sigma`, float32 [n, size, size, 3].

        Parameters
        ----------
        random : random numbers.
        n, size : images, and pixels on a side.
        """
        side = size + 2 * FARTHEST
        white = random.standard_normal((n, side, side, 3), dtype="float32")
        window = np.zeros((side, side))
        window[: 2 * FARTHEST + 1, : 2 * FARTHEST + 1] = self.kernel
        mixed = np.fft.irfft2(np.fft.rfft2(white, axes=(1, 2)) * np.fft.rfft2(window)[None, ..., None], axes=(1, 2))
        # The first pixels mix both edges of the field.
        return (mixed[:, 2 * FARTHEST :, 2 * FARTHEST :] @ self.bands.T).astype("float32")


def _corners(images: np.ndarray) -> np.ndarray:
    """The four corners of each image, [4 n, PATCH, PATCH, 3]."""
    ends = (slice(None, PATCH), slice(-PATCH, None))
    return np.concatenate([images[:, rows, columns] for rows in ends for columns in ends])


def _covariance(patches: np.ndarray) -> np.ndarray:
    """The mean product of pixels so far apart, [2 FARTHEST + 1, 2 FARTHEST + 1, 3, 3]; 0 apart is the middle."""
    found = np.empty((2 * FARTHEST + 1, 2 * FARTHEST + 1, 3, 3))
    for dy in range(-FARTHEST, FARTHEST + 1):
        for dx in range(-FARTHEST, FARTHEST + 1):
            one = patches[:, max(dy, 0) : PATCH + min(dy, 0), max(dx, 0) : PATCH + min(dx, 0)]
            other = patches[:, max(-dy, 0) : PATCH + min(-dy, 0), max(-dx, 0) : PATCH + min(-dx, 0)]
            found[dy + FARTHEST, dx + FARTHEST] = np.einsum("nyxb,nyxc->bc", one, other) / one[..., 0].size
    return found
