"""What can be asked of the rows of an image in an open file."""

from abc import ABC, abstractmethod

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
        # Most rows of weights have no such pixel, which their least value tells in a fraction of the time.
        return np.empty(0, dtype=int) if pixels.min(initial=1) > 0 else np.flatnonzero(~(pixels > 0))
