"""Rows of images that fpack compressed, in a fraction of the time that astropy takes for them.

Astropy looks the same keywords up again for each of a tile's hundred thousand compressed rows, under Python's lock.
Here its own C functions are called row after row, for the two layouts that surveys release tiles in, a row of the
image in a row of the table: quantised floating point in Rice codes, and masks as lists of pixels (PLIO). See Pence et
al. 2009, White et al. 2012 and the FITS standard 4.0, section 10. Whatever is different in a file is left to astropy.

A mask is empty nearly everywhere and a weight nearly nowhere zero, so both can be asked where they are not, which
takes less time than their pixels.
"""

import gzip
import mmap
from abc import abstractmethod
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.fits.rows import Rows

try:
    from astropy.io.fits.hdu.compressed._compression import (
        decompress_plio_1_c,
        decompress_rice_1_c,
        unquantize_float_c,
    )
except ImportError:  # these functions are astropy's own, and may move
    decompress_plio_1_c = decompress_rice_1_c = unquantize_float_c = None

#: Whole numbers by ZBITPIX.
_WHOLE: dict[int, np.dtype] = {8: np.dtype("uint8"), 16: np.dtype("int16"), 32: np.dtype("int32")}

_DITHER = {"SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}

#: What stands for a pixel that is exactly zero, with the second dither (cfitsio's ZERO_VALUE).
_EXACTLY_ZERO = -(2**31) + 2

#: Rows of masks that are remembered: most rows of most masks are the same.
_REMEMBERED = 64


def packed_rows(path: Path, number: int) -> Rows | None:
    """The rows of the compressed image in a file's HDU `number`; None where it is laid out in another way."""
    with fits.open(path, disable_image_compression=True, memmap=True) as hdus:
        table = hdus[number]
        if not _has_rows(table.header):
            return None
        kind = _RiceRows if _is_rice(table.header) else _PixelLists if _is_plio(table.header) else None
        return kind and kind(path, table)


class _PackedRows(Rows):
    """What the layouts have in common: where the codes of each row are in the file."""

    #: The pixels' type.
    dtype: np.dtype
    #: As many as stay in a processor's cache with what is made of them.
    together = 16

    def __init__(self, path: Path, table: fits.BinTableHDU):
        header = table.header
        self.shape = height, self.width = header["ZNAXIS2"], header["ZNAXIS1"]
        begin = table.fileinfo()["datLoc"]
        self._heap = begin + header.get("THEAP", header["NAXIS1"] * height)
        # Pages of a memory map are shared with the system's cache and are dropped by it.
        with path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size = header["NAXIS1"] * height
        self._table = np.frombuffer(self._content[begin : begin + size], table.data.dtype)
        self._places = {}
        for column in table.columns:
            if column.name.endswith("_DATA"):
                lengths, offsets = self._table[column.name].T.astype(int)
                # Lengths are counted in bytes ("1PB") or in 16-bit words ("1PI").
                lengths *= 2 if "I" in column.format.partition("(")[0] else 1
                self._places[column.name] = list(zip(lengths.tolist(), offsets.tolist(), strict=True))

    def stored(self, column: str, row: int) -> bytes:
        """The codes of a row; empty if the column has none for it. ValueError where the file ends before them."""
        length, offset = self._places[column][row]
        begin = self._heap + offset
        codes = self._content[begin : begin + length]
        if len(codes) < length:
            raise ValueError(f"the file ends before the codes of row {row}")
        return codes

    @abstractmethod
    def row(self, row: int) -> np.ndarray:
        """The pixels of a row: [w]."""

    def __call__(self, start: int, stop: int) -> np.ndarray:
        pixels = np.empty((stop - start, self.width), dtype=self.dtype)
        self.into(start, pixels)
        return pixels

    def into(self, start: int, pixels: np.ndarray) -> None:
        for row in range(len(pixels)):
            pixels[row] = self.row(start + row)


class _RiceRows(_PackedRows):
    """Floating point, quantised with a dither, in Rice codes; rows that are not worth it as they are, in gzip's."""

    dtype = np.dtype("float32")

    def __init__(self, path: Path, table: fits.BinTableHDU):
        super().__init__(path, table)
        header = table.header
        self._seed, self._dither = header.get("ZDITHER0", 0), _DITHER[header["ZQUANTIZ"]]
        self._block = next((header[f"ZVAL{i}"] for i in (1, 2) if header.get(f"ZNAME{i}") == "BLOCKSIZE"), 32)
        self._blank = header.get("ZBLANK")
        scale, zero = (self._table[name].astype(float) for name in ("ZSCALE", "ZZERO"))
        self._scale, self._zero = scale.tolist(), zero.tolist()
        # The dither adds up to half a level: from one level more on, a pixel is positive for certain.
        with np.errstate(divide="ignore", invalid="ignore"):
            self._positive = np.nan_to_num(np.ceil(-zero / scale) + 2, nan=2**31).clip(-(2**31), 2**31).tolist()
        self._nothing = {self._blank} | ({_EXACTLY_ZERO} if self._dither == 2 else set())

    def row(self, row: int) -> np.ndarray:
        codes = self.stored("COMPRESSED_DATA", row)
        return self._flux(row, self._levels(codes)) if codes else self._as_they_are(row)

    def not_positive(self, start: int, stop: int) -> np.ndarray:
        found = [np.empty(0, dtype=int)]
        for row in range(start, stop):
            codes = self.stored("COMPRESSED_DATA", row)
            if codes:
                levels = self._levels(codes)
                numbers = np.frombuffer(levels, "int32")
                places = np.flatnonzero(numbers < self._positive[row])
                if not set(numbers[places].tolist()) <= self._nothing:
                    places = np.flatnonzero(~(self._flux(row, levels) > 0))
            else:
                places = np.flatnonzero(~(self._as_they_are(row) > 0))
            if len(places):
                found.append((row - start) * self.width + places)
        return np.concatenate(found)

    def _levels(self, codes: bytes) -> bytes:
        return decompress_rice_1_c(codes, self._block, 4, self.width)

    def _flux(self, row: int, levels: bytes) -> np.ndarray:
        scale, zero = self._scale[row], self._zero[row]
        flux = unquantize_float_c(levels, row + self._seed, self.width, scale, zero, self._dither, 0, 0, 0.0, 4)
        pixels = np.frombuffer(flux, "float32")
        if self._blank is None:
            return pixels
        return np.where(np.frombuffer(levels, "int32") == self._blank, np.float32(np.nan), pixels)

    def _as_they_are(self, row: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress(self.stored("GZIP_COMPRESSED_DATA", row)), ">f4", self.width)


class _PixelLists(_PackedRows):
    """Whole numbers of up to 24 bits, none negative, as IRAF's lists of runs of pixels."""

    def __init__(self, path: Path, table: fits.BinTableHDU):
        super().__init__(path, table)
        self.dtype = _WHOLE[table.header["ZBITPIX"]]
        self._decoded = lru_cache(_REMEMBERED)(self._decode)

    def row(self, row: int) -> np.ndarray:
        pixels = np.zeros(self.width, dtype=self.dtype)
        places, values = self._decoded(self.stored("COMPRESSED_DATA", row))
        pixels[places] = values
        return pixels

    def marked(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._decoded(self.stored("COMPRESSED_DATA", row)) for row in range(start, stop)]
        counts = np.fromiter((len(places) for places, _ in rows), dtype=int, count=len(rows))
        begins = np.repeat(np.arange(len(rows)) * self.width, counts)
        return begins + np.concatenate([p for p, _ in rows]), np.concatenate([v for _, v in rows])

    def _decode(self, codes: bytes) -> tuple[np.ndarray, np.ndarray]:
        # A list is of 16-bit words, which FITS has the other way round.
        words = np.frombuffer(codes, ">i2").astype("int16")
        # The C function trusts the length in a list's header, which is one word or two.
        size = words[2:5].tolist()
        if len(size) < 3 or (size[0] if size[0] > 0 else (size[2] << 15) + size[1]) > len(words):
            raise ValueError("a list of pixels is longer than its row")
        pixels = np.frombuffer(decompress_plio_1_c(words.tobytes(), self.width), "int32")
        places = np.flatnonzero(pixels)
        return places, pixels[places].astype(self.dtype)


def _has_rows(header: fits.Header) -> bool:
    """Whether a table holds an image, a row in a row, in the values that it is to be read in."""
    return (
        header.get("ZNAXIS") == 2
        and (header.get("ZTILE1", header.get("ZNAXIS1")), header.get("ZTILE2", 1)) == (header["ZNAXIS1"], 1)
        and (header.get("BSCALE", 1), header.get("BZERO", 0)) == (1, 0)
    )


def _is_rice(header: fits.Header) -> bool:
    columns = _columns(header)
    bytes_a_pixel = [header[f"ZVAL{i}"] for i in (1, 2) if header.get(f"ZNAME{i}") == "BYTEPIX"]
    return (
        decompress_rice_1_c is not None
        and header.get("ZCMPTYPE") in ("RICE_1", "RICE_ONE")
        and header.get("ZBITPIX") == -32
        and header.get("ZQUANTIZ") in _DITHER
        and bytes_a_pixel in ([], [4])
        and {"COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "ZSCALE", "ZZERO"} <= columns
        and "ZBLANK" not in columns
    )


def _is_plio(header: fits.Header) -> bool:
    return (
        decompress_plio_1_c is not None
        and header.get("ZCMPTYPE") == "PLIO_1"
        and header.get("ZBITPIX") in _WHOLE
        and _columns(header) == {"COMPRESSED_DATA"}
        and "ZBLANK" not in header
    )


def _columns(header: fits.Header) -> set[str]:
    return {header[f"TTYPE{i}"] for i in range(1, header.get("TFIELDS", 0) + 1)}
