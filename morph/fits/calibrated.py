"""The pixels of one band as calibrated flux, row by row: unusable pixels are NaN, saturated ones are marked.

This module imports little, so that a process that only reads pixels starts fast.
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
    """Reads rows of an image (of each image of a cube) from `start` on into arrays; their height is the row count.

    `flux` and `saturated` are as `morph.fits.planes.Planes.read_rows` returns them; `variance` receives the inverse
    variance of an image that has weights, float32, nanomaggies to the power -2.
    """

    def __call__(
        self, start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None = None
    ) -> None: ...


@dataclass(frozen=True)
class Calibrated:
    """Where a band's pixels are, and their calibration. It can be sent to another process.

    Attributes
    ----------
    science, mask, weights : the image, its mask and its weights; None where there is no such plane.
    bad_bits, saturated_bits : bits of the mask that make a pixel bad, and that mark it as saturated.
    mask_is_whole : whether the mask also marks every pixel without weight as bad.
    saturation : the level, counts, at which a pixel is saturated; None or 0 where it is not known.
    nanomaggies : flux of one count.
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
        """Whether header or mask give the saturated pixels."""
        return bool(self.saturation) or (self.mask is not None and self.saturated_bits != 0)

    def inverse_variance(self, stored: np.ndarray) -> np.ndarray:
        """Stored weights as inverse variances: float32, nanomaggies to the power -2, 0 where there is none."""
        weight = np.nan_to_num(stored.astype("float32"), posinf=0, neginf=0)
        return np.maximum(weight, 0) / np.float32(self.nanomaggies) ** 2

    @contextmanager
    def opened(self, weights: bool = False) -> Iterator[FillRows]:
        """A reader of rows whose files stay open between calls, for one thread at a time.

        It reads inverse variances too if `weights`, and raises InputError when a file turns out to be damaged.
        """
        planes = (self.science, self.mask, self.weights if weights or not self.mask_is_whole else None)
        level, scale = self.saturation or 0, np.float32(self.nanomaggies)
        with ExitStack() as files:
            science, mask, weight = (None if p is None else files.enter_context(p.opened()) for p in planes)
            assert science is not None

            def read_block(start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None) -> None:
                stop = start + flux.shape[-2]
                science.into(start, flux)
                # Most rows have no unusual pixels; the extremes show that in a fraction of the time.
                lowest, highest = flux.min(initial=0), flux.max(initial=0)
                saturated[:] = flux >= level if level > 0 and not highest < level else False
                if not np.isfinite([lowest, highest]).all():
                    np.copyto(flux, np.nan, where=np.isinf(flux))
                blank, plateaus = find_blank(flux)
                if len(plateaus):
                    saturated.flat[plateaus] = True
                if len(blank):
                    # Saturated pixels keep the flux that was measured.
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
                    read_block(start + row, flux[rows], saturated[rows], None if variance is None else variance[rows])

            yield fill
