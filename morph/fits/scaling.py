"""Pixels that a survey does not store as they are used: asinh magnitudes, variances, errors.

Each is undone row by row as the pixels are read, so that all else sees linear flux and inverse variances.
"""

from dataclasses import dataclass

import numpy as np

from morph.fits.rows import Rows


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
