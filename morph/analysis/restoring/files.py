"""Restoring the images of FITS files and survey tiles, streamed by rows of blocks, with restart.

The output of a band is built as a hidden file beside its place; a note beside that says which rows are done, so that
the same command goes on after an interruption. The file appears when it is whole.
"""

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
from morph.analysis.restoring.psf import in_pixels, read_psf
from morph.atomic import atomic
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


#: Reduced chi-squares of restored images that fit their data.
CONSISTENT = (0.7, 1.3)
#: The planes of a file: name, the type of their numbers in it, what they are.
PLANES = (
    ("RESTORED", -32, "without noise; NaN without data"),
    ("SIGMA", -32, "uncertainty; infinite without data"),
    ("PRIOR_FRACTION", -32, "what the data does not say"),
    ("FLAGS", 8, "1 no data, 2 saturated"),
)
#: Columns of the table of restored images.
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
        if (made := _finished(self.file, self.key)) is not None:
            return self._summary(made)
        draws = self.options.draws
        output = _Output(self.file, self.header, (self.height, self.width), draws, self.key)
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
        return made


def _key(model: Classifier, tile: Tile, band: str, options: Options) -> str:
    """What identifies the output: the model, the options and the files."""
    files = [(str(path.name), path.stat().st_size, path.stat().st_mtime_ns) for path in tile.files]
    psf = Path(options.psf) if options.psf and Path(options.psf).is_file() else None
    about = [model.digest, model.restorer.digest, band, vars(options), files, psf and psf.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]


def _finished(file: Path, key: str) -> dict[str, float] | None:
    """The sums of a file that is whole and of this command; None where there is none."""
    try:
        header = fits.getheader(file, 0)
        return dict(json.loads(header["RESTSUMS"])) if header["RESTKEY"] == key else None
    except (OSError, KeyError, ValueError):
        return None


class _Output:
    """A file of planes that is written by rows.

    Parameters
    ----------
    file : its place.
    header : of the image.
    shape : of a plane.
    draws : planes of draws.
    key : of the work; what was begun for another one begins anew.
    """

    def __init__(self, file: Path, header: fits.Header, shape: tuple[int, int], draws: int, key: str):
        self.file, self.key, self.header, self.shape, self.draws = file, key, header, shape, draws
        self.partial, self.note = (file.with_name(f".{file.name}.{end}") for end in ("partial", "json"))
        self.done: dict[int, dict[str, float]] = {}
        try:
            state = json.loads(self.note.read_text())
            if state["key"] == key and self.partial.exists():
                self.done = {int(top): sums for top, sums in state["done"].items()}
        except (OSError, ValueError, KeyError):
            pass
        self._offsets = self._lay_out(write=not self.done)

    def _lay_out(self, write: bool) -> list[tuple[int, str, tuple[int, ...]]]:
        """Where the numbers of each plane begin, their type and shape; the file is made where it is not there."""
        hdus: list[Any] = [fits.PrimaryHDU()]
        hdus[0].header["RESTKEY"], hdus[0].header["RESTSUMS"] = self.key, " " * 200
        for name, bits, what in PLANES:
            header = self.header.copy()
            header["EXTNAME"] = (name, what)
            if name in ("PRIOR_FRACTION", "FLAGS"):
                header.remove("BUNIT", ignore_missing=True)
            hdus.append((header, bits, self.shape))
        if self.draws:
            header = self.header.copy()
            header["EXTNAME"] = ("DRAWS", "images drawn from the posterior")
            hdus.append((header, -32, (self.draws, *self.shape)))
        offsets, place = [], len(hdus[0].header.tostring())
        with self.partial.open("wb") if write else open("/dev/null", "wb") as out:
            out.write(hdus[0].header.tostring().encode("ascii"))
            for header, bits, shape in hdus[1:]:
                text = _image_header(header, bits, shape).tostring().encode("ascii")
                size = int(np.prod(shape)) * abs(bits) // 8
                offsets.append((place + len(text), ">f4" if bits < 0 else "u1", shape))
                if write:
                    out.seek(place)
                    out.write(text)
                place += len(text) + -(-size // 2880) * 2880
            if write:
                out.truncate(place)
        return offsets

    def write(
        self, top: int, planes: tuple[np.ndarray, ...], sums: dict[str, float], draws: Iterator[np.ndarray]
    ) -> None:
        """Write some rows.

        Parameters
        ----------
        top : the first of them.
        planes : in the order of `PLANES`.
        sums : of these rows, for the summary.
        draws : images drawn of these rows.
        """
        rows = slice(top, top + len(planes[0]))
        for plane, (offset, kind, shape) in zip(planes, self._offsets, strict=False):
            memory = np.memmap(self.partial, kind, "r+", offset, shape)
            memory[rows] = plane
            memory.flush()
        if self.draws:
            offset, kind, shape = self._offsets[-1]
            memory = np.memmap(self.partial, kind, "r+", offset, shape)
            for number, drawn in enumerate(draws):
                memory[number, rows] = drawn
            memory.flush()
        self.done[top] = sums
        with atomic(self.note) as building:
            building.write_text(json.dumps({"key": self.key, "done": self.done}))

    def finish(self) -> dict[str, float]:
        """Put the file into its place; returns the sums over all rows."""
        sums = {name: sum(each[name] for each in self.done.values()) for name in next(iter(self.done.values()))}
        with fits.open(self.partial, mode="update", memmap=True) as hdus:
            hdus[0].header["RESTSUMS"] = json.dumps({name: float(f"{value:.9g}") for name, value in sums.items()})
        self.partial.replace(self.file)
        self.note.unlink(missing_ok=True)
        return sums


def _image_header(header: fits.Header, bits: int, shape: tuple[int, ...]) -> fits.Header:
    """The header of an extension with an image."""
    made = fits.Header()
    made["XTENSION"], made["BITPIX"], made["NAXIS"] = "IMAGE", bits, len(shape)
    for axis, length in enumerate(reversed(shape), 1):
        made[f"NAXIS{axis}"] = length
    made["PCOUNT"], made["GCOUNT"] = 0, 1
    made.extend(header, strip=True)
    return made
