"""Restoring images of any size, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
from keras import ops

from morph.analysis.restoring.psf import PointSpread
from morph.analysis.restoring.sources import CUT, Ellipticities
from morph.errors import InputError
from morph.model.restoration import gaussian
from morph.model.restored_stamps import APART
from morph.model.restorer import MULTIPLE, Restorer, draw_errors
from morph.sizes import NARROWEST_PSF

#: Pixels on a side of a block, and what it shares with its neighbours on each side: more than the network sees around
#: a pixel, and than point-spread functions reach.
BLOCK, MARGIN = 256, 32
#: Pixels on a side of the part of a block that is kept.
CORE = BLOCK - 2 * MARGIN
#: The error where the weights of the restorer are missing.
NO_RESTORER = "The weights of the restorer are missing from this installation; install morph anew, or `make weights`."
#: Width of a point-spread function that is not known, pixels.
USUAL_FWHM = 3.5
#: Blocks that are restored together.
TOGETHER = 4
#: The least share of a block's pixels that must have data.
LEAST_DATA = 0.002


@dataclass(frozen=True)
class Restored:
    """Restored pixels.

    Attributes
    ----------
    image : NaN where there is no data, in the units of the input.
    sigma : infinite where there is no data.
    prior_fraction : the share of a pixel's information that its data does not hold (`morph.model.restorer`).
    residual : data less the restored image at its resolution, in units of the noise; 0 where there is no data.
    shaped : sources whose ellipticities are those of the data (`morph.model.ellipticity`).
    """

    image: np.ndarray
    sigma: np.ndarray
    prior_fraction: np.ndarray
    residual: np.ndarray
    shaped: int = 0

    @property
    def chi_square(self) -> float:
        """The mean square of the residual of the pixels with data; NaN where there are none."""
        seen = np.isfinite(self.image)
        return float((self.residual[seen].astype(float) ** 2).mean()) if seen.any() else np.nan


class ImageRestorer:
    """Restores images of one band in blocks of one size, so that the network is compiled once.

    Parameters
    ----------
    restorer : of a model.
    psf : of the image; None to sharpen nothing.
    target_fwhm : full width at half maximum of the restored image's point-spread function, pixels; None to sharpen
        nothing.

    Raises
    ------
    InputError : the restorer is not fitted, there is a target and no point-spread function, or the target is too
        narrow for the pixels or wider than the point-spread function.

    Examples
    --------
    >>> from morph.model.store import load_model
    >>> noise = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    >>> restored = ImageRestorer(load_model("models:/morph@sdss").restorer).restore(noise, 1.0)
    >>> bool(restored.image.std() < 0.3)
    True
    """

    def __init__(self, restorer: Restorer, psf: PointSpread | None = None, target_fwhm: float | None = None):
        if not restorer.fitted:
            raise InputError(NO_RESTORER)
        self.psf, self.target_fwhm = psf, target_fwhm
        if target_fwhm is not None:
            if psf is None:
                raise InputError("To sharpen an image its own point-spread function is needed; give it with --psf.")
            check_target(target_fwhm, psf.width())
        self._restorer, self._run, self._ellipticities = restorer, _compiled(restorer), Ellipticities()

    def restore(self, image: np.ndarray, noise: float | np.ndarray | None = None) -> Restored:
        """Restore a whole image.

        Parameters
        ----------
        image : float [h, w], linear in flux, NaN where there is no data.
        noise : of a pixel: one number, or [h, w]; measured on the image if not given.
        """
        height, width = image.shape
        planes = [np.empty((height, width), dtype="float32") for _ in range(4)]
        shaped = 0
        for top in range(0, height, CORE):
            rows = slice(top, min(top + CORE, height))
            made = self.rows(window(image, top - MARGIN), window_of(noise, top - MARGIN), top, rows.stop - top)
            for plane, part in zip(planes, (made.image, made.sigma, made.prior_fraction, made.residual), strict=True):
                plane[rows] = part
            shaped += made.shaped
        return Restored(planes[0], planes[1], planes[2], planes[3], shaped)

    def rows(self, image: np.ndarray, noise: float | np.ndarray | None, top: int, count: int) -> Restored:
        """Restore a row of blocks.

        Parameters
        ----------
        image : [`BLOCK`, w], of which the first `MARGIN` rows, and those after the next `count`, are margins.
        noise : as for `restore`, of these rows.
        top : the row of the image that is the first after the margin.
        count : rows that are kept.
        """
        width = image.shape[1]
        starts = range(0, width, CORE)
        planes = [np.empty((count, width), dtype="float32") for _ in range(4)]
        blocks = [self._block(image, noise, left, top) for left in starts]
        shaped = 0
        for first in range(0, len(blocks), TOGETHER):
            some = self._together(blocks[first : first + TOGETHER])
            for left, (made, sources) in zip(starts[first:], some, strict=False):
                stop = min(left + CORE, width)
                for plane, part in zip(planes, made, strict=True):
                    plane[:, left:stop] = part[MARGIN : MARGIN + count, MARGIN : MARGIN + stop - left]
                # Each counts in the block that keeps its centre.
                place = sources - MARGIN + 0.5
                shaped += int(((place >= 0) & (place < [stop - left, count])).all(axis=1).sum())
        return Restored(planes[0], planes[1], planes[2], planes[3], shaped)

    def draw(self, made: Restored, random: np.random.Generator) -> np.ndarray:
        """An image drawn from the posterior: the restored one with an error of the size and correlation of its own."""
        fwhm = self.target_fwhm or (self.psf.width() if self.psf else USUAL_FWHM)
        errors = draw_errors(self._restorer, made.image.shape, fwhm, random)
        return made.image + errors * np.where(np.isfinite(made.sigma), made.sigma, 0)

    def _block(self, image: np.ndarray, noise: float | np.ndarray | None, left: int, top: int) -> "_Block":
        flux = window(image.T, left - MARGIN).T
        relative: np.ndarray | np.float32 = np.float32(1.0)
        level: float
        seen = np.isfinite(flux)
        if isinstance(noise, np.ndarray):
            own = window(noise.T, left - MARGIN).T
            flux = np.where(np.isfinite(own) & (own > 0), flux, np.nan)
            seen = np.isfinite(flux)
            level = float(np.median(own[seen])) if seen.any() else 1.0
            relative = np.where(seen, own / level, 1.0).astype("float32")
        sky = float(np.median(flux[seen][::7])) if seen.any() else 0.0
        if not isinstance(noise, np.ndarray):
            level = float(noise) if noise else noise_level(flux)
        x, y = left + CORE / 2, top + CORE / 2
        transfer, fwhm = (None, 0.0) if self.psf is None else self.psf.at(x, y, (BLOCK, BLOCK))
        if seen.mean() < LEAST_DATA:
            flux = np.full_like(flux, np.nan)
        small = None if self.psf is None else self.psf.at(x, y, (CUT, CUT))[0]
        return _Block(mirrored(flux) - np.float32(sky), sky, level, relative, transfer, fwhm, small)

    def _together(self, blocks: "list[_Block]") -> Iterator[tuple[tuple[np.ndarray, ...], np.ndarray]]:
        """The four planes of each block, and its sources that have the ellipticities of the data. There are always
        `TOGETHER` blocks for the network."""
        filled = [*blocks, *[blocks[-1]] * (TOGETHER - len(blocks))]
        flat = np.ones((BLOCK, BLOCK), dtype="complex64")
        transfer = np.stack([flat if each.transfer is None else each.transfer for each in filled])
        target = np.ones((TOGETHER, BLOCK, BLOCK), dtype="float32")
        widths = np.array([[each.fwhm, 1.0] for each in filled], dtype="float32")
        if self.target_fwhm is not None:
            wanted = np.full(TOGETHER, self.target_fwhm, dtype="float32")
            target = ops.convert_to_numpy(gaussian(wanted, (BLOCK, BLOCK)))
            # Where the point-spread function is as narrow already there is nothing to sharpen.
            widths[:, 1] = np.minimum(self.target_fwhm / np.maximum(widths[:, 0], 1e-6), 1.0)
        given = {
            "flux": np.stack([each.flux / each.noise for each in filled]).astype("float32"),
            "real": np.ascontiguousarray(transfer.real),
            "imaginary": np.ascontiguousarray(transfer.imag),
            "target": target,
            "widths": widths,
        }
        found = {name: ops.convert_to_numpy(values) for name, values in self._run(given).items()}
        for number, block in enumerate(blocks):
            made = {name: values[number] for name, values in found.items()}
            sources = self._ellipticities.take(made, block.small_transfer, widths[number])
            image = made["restored"] * block.noise + block.sky
            sigma = made["sigma"] * block.noise * block.relative
            yield (image, sigma, made["prior_fraction"], made["residual"] / block.relative), sources


@dataclass(frozen=True)
class _Block:
    """A block: its flux without sky, sky, noise, its pixels' noise over that, the transfer function and its width, and
    the transfer function of a window around a source."""

    flux: np.ndarray
    sky: float
    noise: float
    relative: np.ndarray | np.float32
    transfer: np.ndarray | None
    fwhm: float
    small_transfer: np.ndarray | None


def check_target(target_fwhm: float, psf_fwhm: float) -> None:
    """InputError unless a point-spread function can become one of the target's width; both in pixels."""
    if target_fwhm < NARROWEST_PSF:
        raise InputError(
            f"A target of {target_fwhm:.2f} pixels is narrower than the pixels bear; give a --target-fwhm of at least "
            f"{NARROWEST_PSF} pixels."
        )
    if target_fwhm > psf_fwhm:
        raise InputError(
            f"The target of {target_fwhm:.2f} pixels is wider than the image's point-spread function of "
            f"{psf_fwhm:.2f}; give a narrower --target-fwhm, or none to take only the noise away."
        )


def noise_level(flux: np.ndarray) -> float:
    """The noise of pixels [h, w], by the median size of differences of pixels `APART`, which sources hardly change; a
    tiny part of the largest value where pixels have none, and 1 without pixels."""
    difference = flux[:, APART:] - flux[:, :-APART]
    difference = difference[np.isfinite(difference)][::3]
    if not difference.size:
        return 1.0
    level = 1.4826 * float(np.median(np.abs(difference))) / np.sqrt(2)
    return level if level > 0 else max(float(np.nanmax(np.abs(flux))) * 1e-6, 1e-30)


def window(image: np.ndarray, start: int) -> np.ndarray:
    """`BLOCK` rows of an image from `start` on, NaN where it has none."""
    found = np.full((BLOCK, image.shape[1]), np.nan, dtype="float32")
    first, stop = max(start, 0), min(start + BLOCK, image.shape[0])
    if first < stop:
        found[first - start : stop - start] = image[first:stop]
    return found


def window_of(noise: float | np.ndarray | None, start: int) -> float | np.ndarray | None:
    """The same of noise, which may be one number."""
    return window(noise, start) if isinstance(noise, np.ndarray) else noise


def mirrored(flux: np.ndarray) -> np.ndarray:
    """A block whose rows and columns beyond the image's edge are the mirror image of those within."""
    for _ in range(2):
        inside = np.flatnonzero(np.isfinite(flux).any(axis=1))
        if len(inside):
            first, last = inside[0], inside[-1]
            place = np.arange(len(flux))
            length = last - first + 1
            folded = np.mod(place - first, 2 * length)
            flux = flux[first + np.where(folded < length, folded, 2 * length - 1 - folded)]
        flux = flux.T
    return flux


@lru_cache(maxsize=2)
def _compiled(restorer: Restorer):
    """`Restorer.restore` of batches of blocks, compiled by whichever backend runs, once for all bands."""

    class Blocks(keras.Model):
        def __init__(self):
            super().__init__()
            self.restorer = restorer

        def build(self, input_shape=None):
            """The restorer is built already."""

        def call(self, given):
            psf = given["real"], given["imaginary"]
            return restorer.restore(
                given["flux"], ops.ones_like(given["flux"][:, 0, 0]), psf, given["target"], given["widths"]
            )

    assert BLOCK % MULTIPLE == 0
    blocks = Blocks()
    return lambda given: blocks.predict_on_batch(given)
