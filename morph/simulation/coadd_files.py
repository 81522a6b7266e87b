"""The files of a DES coadd tile: SCI, MSK and WGT planes, Rice-compressed as fpack does, and their headers.

Keywords, their order and their comments are those of the DES DR1/DR2 release. Files are written strip by strip, so
that a plane is never in memory as a whole: a compressed image is a table with a row for each row of pixels, followed
by a heap with the compressed rows (FITS standard 4.0, section 10). Astropy compresses each strip as an image of its
own, and the tables and heaps are joined here. The dither of a row follows from its position in the whole image, so
that the result does not depend on the height of the strips.
"""

import enum
import io
import re
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morph.errors import InputError
from morph.surveys import NANOMAGGY_ZERO_POINT, Survey

# --- Compressed images, strip by strip ----------------------------------------------------------------

#: Rows after which the dither of compressed rows repeats (cfitsio's N_RANDOM).
DITHER_PERIOD = 10_000

#: Bytes of a FITS block.
BLOCK = 2880


@dataclass(frozen=True, eq=False)
class PackedStrip:
    """Some rows of a compressed image: the table's header, its rows, and the heap they point into."""

    header: fits.Header
    table: np.ndarray
    heap: bytes


def pack(
    data: np.ndarray, header: fits.Header, name: str, compression: str, quantisation: float, top: int
) -> PackedStrip:
    """Compress rows [rows, w] of an image, the first of which is row `top` of the whole.

    Parameters
    ----------
    data : float32 or int32 [rows, w].
    header : of the whole image.
    name : the image's EXTNAME.
    compression : RICE_1 or PLIO_1 and so on, as astropy's `CompImageHDU` takes it.
    quantisation : levels in the noise of floating-point pixels.
    top : the first row's number in the whole image.
    """
    options = {}
    if data.dtype.kind == "f":
        options = {"quantize_level": quantisation, "quantize_method": 2, "dither_seed": 1 + top % DITHER_PERIOD}
    unit = fits.CompImageHDU(data, header, name=name, compression_type=compression, **options)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(file)
    with fits.open(io.BytesIO(file.getvalue()), disable_image_compression=True) as units:
        table = units[1]
        begin = table.fileinfo()["datLoc"]
        rows = np.frombuffer(file.getbuffer(), table.columns.dtype.newbyteorder(">"), len(data), begin).copy()
        heap = begin + table.header.get("THEAP", rows.nbytes)
        end = begin + rows.nbytes + table.header["PCOUNT"]
        codes = bytearray(file.getbuffer()[heap:end])
    if "GZIP_COMPRESSED_DATA" in rows.dtype.names:
        for length, offset in rows["GZIP_COMPRESSED_DATA"]:
            if length:
                # The time at which gzip ran (RFC 1952); without it the same pixels are the same bytes.
                codes[offset + 4 : offset + 8] = bytes(4)
    return PackedStrip(table.header.copy(), rows, bytes(codes))


class StripWriter:
    """Writes a file of compressed images whose strips come from top to bottom.

    Heaps are kept in files beside it until all strips are there. Within a `with` block; the file is complete when
    the block has ended without an exception.

    Parameters
    ----------
    path : the file, replaced if it exists.
    names : names of the images, in the order of the file.
    """

    def __init__(self, path: Path, names: list[str]):
        self.path = path
        self._heap_paths = [path.with_name(f"{path.name}.{name}.heap") for name in names]
        self._strips: list[list[PackedStrip]] = [[] for _ in names]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._heaps: list[BinaryIO] = [self._stack.enter_context(path.open("wb")) for path in self._heap_paths]
        return self

    def write(self, strips: list[PackedStrip]) -> None:
        """Append a strip of each image."""
        for heap, images, strip in zip(self._heaps, self._strips, strips, strict=True):
            begin = heap.tell()
            for column in strip.table.dtype.names or ():
                # Only descriptors of variable-length columns, (length, offset), have two numbers.
                if strip.table[column].ndim == 2:
                    lengths, offsets = strip.table[column].T
                    offsets[lengths > 0] += begin
            heap.write(strip.heap)
            images.append(PackedStrip(strip.header, strip.table, b""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        try:
            if kind is None:
                self._join()
        finally:
            for heap in self._heap_paths:
                heap.unlink(missing_ok=True)

    def _join(self) -> None:
        with self.path.open("wb") as file:
            primary = fits.PrimaryHDU().header
            _reserve_checksums(primary)
            file.write(primary.tostring().encode("ascii"))
            for strips, heap in zip(self._strips, self._heap_paths, strict=True):
                table = b"".join(strip.table.tobytes() for strip in strips)
                size = heap.stat().st_size
                file.write(_joined_header(strips, size).tostring().encode("ascii"))
                file.write(table)
                with heap.open("rb") as content:
                    shutil.copyfileobj(content, file, 1 << 20)
                heap.unlink()
                file.write(bytes(-(len(table) + size) % BLOCK))
        self._add_checksums()

    def _add_checksums(self) -> None:
        with fits.open(self.path, disable_image_compression=True) as units, self.path.open("r+b") as file:
            for unit in units:
                # With a comment that is not the time, the same strips are the same bytes.
                unit.add_checksum(when="FITS checksum")
                file.seek(unit.fileinfo()["hdrLoc"])
                file.write(unit.header.tostring().encode("ascii"))


def _joined_header(strips: list[PackedStrip], heap: int) -> fits.Header:
    """The header of the table that strips make together, with a heap of so many bytes."""
    header = strips[0].header.copy()
    rows = sum(len(strip.table) for strip in strips)
    header["NAXIS2"] = header["ZNAXIS2"] = rows
    header["PCOUNT"] = heap
    if "THEAP" in header:
        header["THEAP"] = header["NAXIS1"] * rows
    for number in range(1, header["TFIELDS"] + 1):
        kind, bracket, _ = header[f"TFORM{number}"].partition("(")
        if bracket:
            longest = max(int(strip.header[f"TFORM{number}"].partition("(")[2].rstrip(")")) for strip in strips)
            header[f"TFORM{number}"] = f"{kind}({longest})"
    _reserve_checksums(header)
    return header


def _reserve_checksums(header: fits.Header) -> None:
    """Add the cards of the checksums, so that their values can be written later without moving the data."""
    header["CHECKSUM"], header["DATASUM"] = "0" * 16, "0"


# --- The files of a tile ------------------------------------------------------------------------------

#: Zero point of the files, whatever the survey: DES coadds have 30.
ZERO_POINT = 30.0

#: Quantisation of float planes in units of their noise, as DES compresses them.
QUANTISATION = 16.0


class Mask(enum.IntFlag):
    """Bits of the MSK plane that a tile sets (DES's BADPIX bits)."""

    SATURATED = 2
    STAR = 32
    BLEED = 64
    STREAK = 1024


#: DECam's filters as their files name them: FILTER, MJD-OBS, GAIN (e-/ADU), SATURATE (ADU).
FILTERS = {
    "g": ("g DECam SDSS c0001 4720.0 1520.0", 56548.39010683, 21.67634371198, 31362.69781225),
    "r": ("r DECam SDSS c0002 6415.0 1480.0", 56548.39148784, 28.64627205504, 25832.97999124),
    "i": ("i DECam SDSS c0003 7835.0 1470.0", 56548.39287373, 26.34658807588, 27012.13371831),
    "z": ("z DECam SDSS c0004 9260.0 1520.0", 56593.28391152, 21.13493075473, 34073.06251974),
}


@dataclass(frozen=True)
class Tilename:
    """A tile's name, which gives its centre: DES0356-5248 is centred near 3 h 56 min, -52 deg 48 min."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"DES\d{4}[+-]\d{4}", self.name):
            raise InputError(f"'{self.name}' is not a tile's name; write it as DES0356-5248 (HHMM, sign, DDMM).")

    @property
    def centre(self) -> tuple[float, float]:
        """Right ascension and declination, deg."""
        hours, minutes = int(self.name[3:5]), int(self.name[5:7])
        degrees, arcmin = int(self.name[8:10]), int(self.name[10:12])
        sign = -1 if self.name[7] == "-" else 1
        return 15 * (hours + minutes / 60), sign * (degrees + arcmin / 60)

    def wcs(self, size: int, pixel_scale: float) -> WCS:
        """The gnomonic (TAN) projection of a tile of `size` pixels, north up and east to the left."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = self.centre
        wcs.wcs.crpix = [(size + 1) / 2, (size + 1) / 2]
        wcs.wcs.cd = np.diag([-pixel_scale / 3600, pixel_scale / 3600])
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.equinox = 2000.0
        wcs.wcs.set()
        return wcs


def write_band(
    path: Path, flux: np.ndarray, mask: np.ndarray, survey: Survey, band: int, tile: Tilename, wcs: WCS
) -> None:
    """Write one band's file.

    Parameters
    ----------
    flux : [size, size], nanomaggies per pixel.
    mask : int32 [size, size], `Mask` bits.
    band : 0, 1 or 2, its place among the survey's bands.
    """
    with StripWriter(path, [plane.name for plane in PLANES]) as writer:
        writer.write(pack_band(flux, mask, survey, band, tile, wcs, flux.shape[0]))


class PlaneFormat(NamedTuple):
    """A plane of a file: its name, DES's own name for it, and how it is compressed."""

    name: str
    extension: str
    compression: str


PLANES = (
    PlaneFormat("SCI", "IMAGE", "RICE_1"),
    PlaneFormat("MSK", "MASK", "PLIO_1"),
    PlaneFormat("WGT", "WEIGHT", "RICE_1"),
)


def pack_band(
    flux: np.ndarray, mask: np.ndarray, survey: Survey, band: int, tile: Tilename, wcs: WCS, size: int, top: int = 0
) -> list[PackedStrip]:
    """The planes of one band's file, compressed, for the rows of the tile from `top` on.

    Parameters
    ----------
    flux, mask : as for `write_band`, but [rows, size].
    size : rows of the whole tile.
    """
    scale = np.float32(10 ** ((ZERO_POINT - NANOMAGGY_ZERO_POINT) / 2.5))
    noise = survey.noise()[band] * scale
    saturation = FILTERS[survey.bands[band]][3]
    counts = np.minimum(flux * scale, np.float32(1.2 * saturation))
    weight = np.full(flux.shape, 1 / noise**2, dtype="float32")
    # Where one exposure was lost, the rest weigh less; where all saturate, nothing is left.
    weight[(mask & Mask.STREAK) > 0] *= 0.85
    weight[(mask & Mask.SATURATED) > 0] = 0
    packed = []
    for plane, data in zip(PLANES, (counts, mask, weight), strict=True):
        header = _header(survey, band, tile, wcs, size, plane.name)
        header["DES_EXT"] = (plane.extension, "DES name of the extension")
        header["FZALGOR"] = (plane.compression, "Compression type")
        if data.dtype.kind == "f":
            header["FZQVALUE"] = (int(QUANTISATION), "Compression quantization factor")
            header["FZQMETHD"] = ("SUBTRACTIVE_DITHER_2", "Compression quantization method")
        packed.append(pack(data, header, plane.name, plane.compression, QUANTISATION, top))
    return packed


def _header(survey: Survey, band: int, tile: Tilename, wcs: WCS, size: int, plane: str) -> fits.Header:
    """The keywords of one plane."""
    letter = survey.bands[band]
    title, date, gain, saturation = FILTERS[letter]
    science = plane == "SCI"
    header = fits.Header()
    header["EQUINOX"] = (2000.0, "Mean equinox")
    header["MJD-OBS"] = (date, "Modified Julian date at start")
    header["RADESYS"] = ("ICRS", "Astrometric system")
    for axis in (1, 2):
        header[f"CTYPE{axis}"] = (wcs.wcs.ctype[axis - 1], "WCS projection type for this axis")
        header[f"CUNIT{axis}"] = ("deg", "Axis unit")
        header[f"CRVAL{axis}"] = (wcs.wcs.crval[axis - 1], "World coordinate on this axis")
        header[f"CRPIX{axis}"] = (wcs.wcs.crpix[axis - 1], "Reference pixel on this axis")
        for other in (1, 2):
            header[f"CD{axis}_{other}"] = (wcs.wcs.cd[axis - 1, other - 1], "Linear projection matrix")
    header["EXPTIME"] = (540.0 if science else 0.0, "Maximum equivalent exposure time (s)")
    header["GAIN"] = (gain if science else 0.0, "Maximum equivalent gain (e-/ADU)")
    header["SATURATE"] = (saturation if science else 0.0, "Saturation Level (ADU)")
    header["SOFTNAME"] = ("morph", "The software that simulated those data")
    header["COMBINET"] = ("WEIGHTED", "COMBINE_TYPE config parameter for SWarp")
    header["BUNIT"] = "electrons"
    header["FILTER"] = (title, "Unique filter identifier")
    header["BAND"] = (letter, "Short name for filter")
    header["TILENAME"] = (tile.name, "DES Tilename")
    header["PIPELINE"] = ("simulation", "DESDM pipeline name")
    header["UNITNAME"] = (tile.name, "DESDM processing unit name")
    corners = wcs.all_pix2world([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]], 0)
    ra, dec = tile.centre
    header["RA_CENT"], header["DEC_CENT"] = (ra, "RA center"), (dec, "DEC center")
    for k, (corner_ra, corner_dec) in enumerate(corners, start=1):
        header[f"RAC{k}"], header[f"DECC{k}"] = (corner_ra, f"RA corner {k}"), (corner_dec, f"DEC corner {k}")
    header["RACMIN"] = (float(corners[:, 0].min()), "Minimum extent of image in RA")
    header["RACMAX"] = (float(corners[:, 0].max()), "Maximum extent of image in RA")
    header["DECCMIN"] = (float(corners[:, 1].min()), "Minimum extent of image in Declination")
    header["DECCMAX"] = (float(corners[:, 1].max()), "Maximum extent of image in Declination")
    header["CROSSRA0"] = ("Y" if np.ptp(corners[:, 0]) > 180 else "N", "Does Image Span RA 0h (Y/N)")
    if science:
        header["MAGZERO"] = (ZERO_POINT, "Mag Zero-point in magnitudes/s")
    return header
