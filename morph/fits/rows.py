"""The rows of an image in an open file, and the scalings that undo how a survey stores its pixels.

Some surveys store asinh magnitudes, variances or errors. Each is converted row by row as the pixels are read, so that
all other code sees linear flux and inverse variances.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class Rows(ABC):
    """The rows of an image in a file that stays open, for one thread at a time.

    Rows go from a first (`start`) to one after the last (`stop`); flat indices count the pixels from the first row on,
    of a cube through all images.

    Attributes
    ----------
    shape : the image's: [h, w], or [n, h, w] for a cube.
    together : as many rows at once are read in the least time.
    """

    shape: tuple[int, ...]
    together: int = 512

    @abstractmethod
    def __call__(self, start: int, stop: int) -> np.ndarray:
        """The pixels: [stop - start, w], of a cube [n, stop - start, w]."""

    def into(self, start: int, pixels: np.ndarray) -> None:
        """Read as many rows, from `start` on, as an array of the image's width holds."""
        pixels[:] = self(start, start + pixels.shape[-2])

    def marked(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Where whole numbers are not 0, and what they are: int [m] flat indices, and [m]."""
        pixels = self(start, stop).ravel()
        places = np.flatnonzero(pixels != 0)
        return places, pixels[places]

    def not_positive(self, start: int, stop: int) -> np.ndarray:
        """Where a pixel is 0, less, or NaN: int [m] flat indices."""
        pixels = self(start, stop)
        # Most rows of weights have no such pixel; their minimum shows that in a fraction of the time.
        return np.empty(0, dtype=int) if pixels.min(initial=1) > 0 else np.flatnonzero(~(pixels > 0))


@dataclass(frozen=True)
class Asinh:
    """Pixels stored as ``v = a asinh((flux - offset) / (2 soften))`` with ``a = 2.5 / ln 10``.

    Pan-STARRS writes its stacks so (Waters et al. 2020, ApJS 251, 4, section 6): `offset` is the header's BOFFSET,
    `soften` its BSOFTEN, in the flux's own counts.
    """

    offset: float
    soften: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return self.offset + 2 * self.soften * np.sinh(pixels * (np.log(10) / 2.5))


@dataclass(frozen=True)
class Inverse:
    """Variances (`power` 1) or errors (`power` 2) as inverse variances; 0 where they are not positive or not known."""

    power: int = 1

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        known = np.isfinite(pixels) & (pixels > 0)
        return np.where(known, np.where(known, pixels, 1.0) ** -float(self.power), 0)


@dataclass(frozen=True)
class Times:
    """Pixels multiplied by a number."""

    factor: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels * self.factor


@dataclass(frozen=True)
class Bit:
    """Masks that hold one number a pixel, as masks of bits: the number k becomes bit k, and 0 stays 0."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return np.where(pixels > 0, 2.0 ** np.clip(pixels, 0, 20), 0)


Scaling = Asinh | Inverse | Times | Bit


class ScaledRows(Rows):
    """Rows after a `Scaling`, float32."""

    def __init__(self, rows: Rows, scaling: Scaling):
        self._rows, self._scaling = rows, scaling
        self.shape, self.together = rows.shape, rows.together

    def __call__(self, start: int, stop: int) -> np.ndarray:
        return self._scaling(self._rows(start, stop).astype("float64")).astype("float32")
