"""The pixels of one band of a field as flux, read row by row: what is unusable is blank, what is saturated is known.

Nothing else is needed to read them, so that a process which does nothing but that starts in no time.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from morph.fits.blank_pixels import find_blank
from morph.fits.images import Plane

#: Rows: flux, which pixels are saturated, and inverse variance if known and asked for.
PixelRows = tuple[np.ndarray, np.ndarray, np.ndarray | None]


class FillRows(Protocol):
    """Reads rows of an image (of each of a cube's) from a number on, as many as there is room for in what is given.

    `flux` and `saturated` are as `morph.fits.planes.Planes.read_rows` returns them, `variance` the inverse of it:
    float32, nanomaggies to the power -2, of an image that has weights.
    """

    def __call__(
        self, start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None = None
    ) -> None: ...


@dataclass(frozen=True)
class Calibrated:
    """Where a band's pixels are, and what they mean. It can be sent to another process.

    Attributes
    ----------
    science, mask, weights : the image, and what is known of its pixels; None where there is no such plane.
    bad_bits, saturated_bits : bits of the mask that make a pixel bad, and that mark it as saturated.
    mask_is_whole : whether every pixel without weight is bad by the mask too.
    saturation : the level, counts, from which on a pixel is saturated; None or 0 where it is not known.
    nanomaggies : of one count.
    """

    science: Plane
    mask: Plane | None
    weights: Plane | None
    bad_bits: int
    saturated_bits: int
    mask_is_whole: bool
    saturation: float | None
    nanomaggies: float

    @property
    def has_saturation_info(self) -> bool:
        """Whether header or mask say which pixels are saturated."""
        return bool(self.saturation) or (self.mask is not None and self.saturated_bits != 0)

    def inverse_variance(self, stored: np.ndarray) -> np.ndarray:
        """What a plane of weights holds: float32, nanomaggies to the power -2, 0 where there is none."""
        weight = np.nan_to_num(stored.astype("float32"), posinf=0, neginf=0)
        return np.maximum(weight, 0) / np.float32(self.nanomaggies) ** 2

    @contextmanager
    def opened(self, weights: bool = False) -> Iterator[FillRows]:
        """What reads rows from files that stay open between its calls, which are one thread's at a time.

        It can be asked for inverse variances if `weights`, and raises InputError when a file turns out to be damaged.
        """
        planes = (self.science, self.mask, self.weights if weights or not self.mask_is_whole else None)
        level, scale = self.saturation or 0, np.float32(self.nanomaggies)
        with ExitStack() as files:
            science, mask, weight = (None if p is None else files.enter_context(p.opened()) for p in planes)
            assert science is not None

            def some(start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None) -> None:
                stop = start + flux.shape[-2]
                science.into(start, flux)
                # Most rows have nothing unusual, which the extremes tell in a fraction of the time.
                lowest, highest = flux.min(initial=0), flux.max(initial=0)
                saturated[:] = flux >= level if level > 0 and not highest < level else False
                if not np.isfinite([lowest, highest]).all():
                    np.copyto(flux, np.nan, where=np.isinf(flux))
                blank, flat_tops = find_blank(flux)
                if len(flat_tops):
                    saturated.flat[flat_tops] = True
                if len(blank):
                    # What is saturated is measured as far as it can be.
                    flux.flat[blank[~saturated.flat[blank]]] = np.nan
                flux *= scale
                if mask is not None:
                    places, bits = mask.marked(start, stop)
                    bits = bits.astype(int)
                    saturated.flat[places[(bits & self.saturated_bits) != 0]] = True
                    flux.flat[places[(bits & self.bad_bits) != 0]] = np.nan
                if weight is not None and variance is not None:
                    stored = weight(start, stop)
                    np.copyto(flux, np.nan, where=~(stored > 0))
                    variance[:] = self.inverse_variance(stored)
                elif weight is not None:
                    flux.flat[weight.not_positive(start, stop)] = np.nan

            def fill(start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None = None) -> None:
                # Few rows at a time stay in the processor's cache until all is done to them.
                for row in range(0, flux.shape[-2], science.together):
                    rows = (..., slice(row, row + science.together), slice(None))
                    some(start + row, flux[rows], saturated[rows], None if variance is None else variance[rows])

            yield fill
