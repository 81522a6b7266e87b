"""Restoring the images of FITS files and survey tiles, streamed by rows of blocks, with restart."""

import enum
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.ndimage import binary_dilation

from morph.analysis.restoring.images import BLOCK, CORE, MARGIN, ImageRestorer, Restored, noise_level
from morph.analysis.restoring.planes_file import PlanesFile, finished
from morph.analysis.restoring.psf import in_pixels, read_psf
from morph.console import track
from morph.errors import InputError
from morph.model.classifier import Classifier
from morph.output_lock import output_lock
from morph.tiles.saturation import plateaus
from morph.tiles.tile import Tile


class Problem(enum.IntFlag):
    """What is wrong with a restored pixel, image or galaxy. 0 is a clean one."""

    NO_DATA = 1
    #: A saturated core, or what sharpening spreads of one.
    SATURATED = 2
    #: The restored image does not fit the data: the reduced chi-square is outside `CONSISTENT`.
    INCONSISTENT = 4
    #: The target is too narrow for the pixels, or wider than the point-spread function: the noise alone is taken away.
    NOT_SHARPENED = 8
    #: Noise hides the ellipticity of a galaxy in a band: the restored one is rounder.
    ROUNDED = 16


#: Reduced chi-squares of restored images that fit their data.
CONSISTENT = (0.7, 1.3)
#: The table of restored images.
TABLE = "restored.parquet"


@dataclass(frozen=True)
class Options:
    """How images are restored.

    Attributes
    ----------
    psf : as for `morph.analysis.restoring.psf.read_psf`; None to take only the noise away.
    target_fwhm : full width at half maximum of the restored images, arcsec; None to take only the noise away.
    draws : images that are drawn from the posterior beside the restored one.
    seed : of the draws.
    pixel_scale : arcsec, where the images do not say it.
    """

    psf: str | None = None
    target_fwhm: float | None = None
    draws: int = 0
    seed: int = 0
    pixel_scale: float | None = None

    def __post_init__(self) -> None:
        if self.target_fwhm is not None and self.psf is None:
            raise InputError("To sharpen images their own point-spread function is needed; give it with --psf.")


@dataclass
class Summary:
    """What became of an image.

    Attributes
    ----------
    name, band : of the image.
    file : that was written.
    chi_square : reduced.
    flux_ratio : the sum of the restored pixels over that of the data's.
    flags : of `Problem`.
    psf_fwhm, target_fwhm : arcsec; NaN where there are none.
    shaped : sources whose ellipticities are those of the data.
    notes : what was taken for granted, one sentence each.
    """

    name: str
    band: str
    file: str
    chi_square: float
    flux_ratio: float
    flags: Problem
    psf_fwhm: float = np.nan
    target_fwhm: float = np.nan
    shaped: int = 0
    notes: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """As a row of the table; widths in arcsec."""
        values = {**vars(self), "flags": int(self.flags)}
        del values["notes"]
        return values


def restore_tile(model: Classifier, tile: Tile, to: Path, options: Options, progress: bool = True) -> list[Summary]:
    """Restore every band of a tile, in the units of its files.

    Parameters
    ----------
    model : whose restorer it is.
    tile : opened without calibration (`morph.fits.zero_points.UNCALIBRATED`), so that its pixels are those of its
        files.
    to : the folder of the output, ``NAME_BAND.fits`` for each band.
    options : how.
    progress : whether to show a progress bar on a terminal.

    Raises
    ------
    InputError : as `ImageRestorer` and `read_psf` do; or another command works in the folder.
    """
    with output_lock(to, "command is restoring into", "--to"):
        return [_Band(model, tile, band, to, options).run(progress) for band in tile.bands]


class _Band:
    """The work on one band of a tile."""

    def __init__(self, model: Classifier, tile: Tile, band: str, to: Path, options: Options):
        self.tile, self.band, self.options = tile, band, options
        scale = options.pixel_scale or tile.pixel_scale
        self.psf = None if options.psf is None else read_psf(options.psf, scale, band)
        target = None if options.target_fwhm is None else in_pixels(options.target_fwhm, scale, "--target-fwhm")
        self.restorer = ImageRestorer(model.restorer, self.psf, target)
        self.scale, self.height, self.width = scale, tile.shape[0], tile.shape[1]
        self.file = to / f"{tile.name}_{band}.fits"
        self.weighted = tile.stored(band).weights is not None
        self.key = _key(model, tile, band, options)
        self.header = self._header(model)

    def run(self, progress: bool) -> Summary:
        """Restore what is not restored yet."""
        if (made := finished(self.file, self.key)) is not None:
            return self._summary(made)
        draws = self.options.draws
        output = PlanesFile(self.file, self.header, (self.height, self.width), draws, self.key)
        tops = [top for top in range(0, self.height, CORE) if top not in output.done]
        with self.tile.filling(self.band, weights=self.weighted) as fill:
            for top in track(tops, f"Restoring {self.file.stem}", len(tops), progress):
                flux, saturated, noise = self._read(fill, top)
                count = min(CORE, self.height - top)
                rows = self.restorer.rows(flux, noise, top, count)
                core = slice(MARGIN, MARGIN + count)
                planes, sums = self._planes(rows, flux[core], saturated, core)
                output.write(top, planes, sums, self._drawn(rows, top))
        return self._summary(output.finish())

    def _read(self, fill, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | float | None]:
        """The rows of a row of blocks: flux, what is saturated, and noise."""
        flux = np.full((BLOCK, self.width), np.nan, dtype="float32")
        saturated = np.zeros((BLOCK, self.width), dtype=bool)
        weight = np.zeros((BLOCK, self.width), dtype="float32") if self.weighted else None
        first, stop = max(top - MARGIN, 0), min(top - MARGIN + BLOCK, self.height)
        rows = slice(first - top + MARGIN, stop - top + MARGIN)
        fill(first, flux[rows], saturated[rows], None if weight is None else weight[rows])
        if not self.tile.calibrated(self.band).has_saturation_info:
            saturated |= plateaus(flux)
        if weight is None:
            return flux, saturated, noise_level(flux)
        with np.errstate(divide="ignore"):
            noise = np.where(weight > 0, 1 / np.sqrt(weight), np.nan)
        # Weights are often known up to a factor; the sky's own scatter sets it.
        return flux, saturated, (noise * noise_level(flux / noise)).astype("float32")

    def _planes(
        self, made: Restored, flux: np.ndarray, saturated: np.ndarray, core: slice
    ) -> tuple[tuple[np.ndarray, ...], dict[str, float]]:
        """The planes of some rows, and their chi-square, fluxes and pixels."""
        reach = 0 if self.psf is None or self.restorer.target_fwhm is None else int(np.ceil(self.psf.width()))
        spread = binary_dilation(saturated, iterations=reach) if reach else saturated
        spread = spread[core]
        seen = np.isfinite(made.image)
        flags = np.where(seen, 0, int(Problem.NO_DATA)) | np.where(spread, int(Problem.SATURATED), 0)
        sigma = np.where(spread, np.float32(np.inf), made.sigma)
        good = seen & ~spread
        sums = {
            "chi": float((made.residual[good].astype(float) ** 2).sum()),
            "count": int(good.sum()),
            "restored": float(made.image[seen].sum(dtype=float)),
            "flux": float(flux[seen].sum(dtype=float)),
            "saturated": int(spread.sum()),
            "shaped": made.shaped,
        }
        return (made.image, sigma, made.prior_fraction, flags.astype("uint8")), sums

    def _drawn(self, made: Restored, top: int) -> Iterator[np.ndarray]:
        for number in range(self.options.draws):
            random = np.random.default_rng([self.options.seed, number, top])
            yield self.restorer.draw(made, random)

    def _header(self, model: Classifier) -> fits.Header:
        """The image's own, with what was done."""
        header = self.tile.stored(self.band).header.copy(strip=True)
        for card in ("CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "INHERIT"):
            header.remove(card, ignore_missing=True)
        header["RESTMODL"] = (model.digest[:16], "model that restored the image")
        if self.psf is not None:
            header["RESTPSF"] = (
                round(self.psf.width(self.width / 2, self.height / 2) * self.scale, 4),
                "its PSF [arcsec]",
            )
        if self.options.target_fwhm is not None:
            header["RESTFWHM"] = (self.options.target_fwhm, "PSF of the restored image [arcsec]")
        return header

    def _summary(self, sums: dict[str, float]) -> Summary:
        count = sums["count"]
        chi_square = sums["chi"] / count if count else np.nan
        flags = Problem(0) if count else Problem.NO_DATA
        if sums["saturated"]:
            flags |= Problem.SATURATED
        if count and not CONSISTENT[0] < chi_square < CONSISTENT[1]:
            flags |= Problem.INCONSISTENT
        ratio = sums["restored"] / sums["flux"] if sums["flux"] else np.nan
        made = Summary(self.tile.name, self.band, self.file.name, chi_square, ratio, flags)
        if self.psf is not None:
            made.psf_fwhm = self.psf.width(self.width / 2, self.height / 2) * self.scale
            made.notes = [self.psf.note] if self.psf.note else []
        made.target_fwhm = self.options.target_fwhm or np.nan
        made.shaped = int(sums["shaped"])
        return made


def _key(model: Classifier, tile: Tile, band: str, options: Options) -> str:
    """What identifies the output: the model, the options and the files."""
    files = [(str(path.name), path.stat().st_size, path.stat().st_mtime_ns) for path in tile.files]
    psf = Path(options.psf) if options.psf and Path(options.psf).is_file() else None
    about = [model.digest, model.restorer.digest, band, vars(options), files, psf and psf.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]
