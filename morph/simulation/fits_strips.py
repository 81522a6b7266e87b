"""Compressed FITS images written strip by strip, so that a plane never is in memory as a whole.

A compressed image is a table with a row for each row of pixels, and behind it a heap with the compressed rows (FITS
standard 4.0, section 10). Astropy compresses each strip as an image of its own; here the tables and the heaps are
joined. A row's dither follows from its place in the whole image, so the result does not depend on the strips' height.
"""

import io
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from astropy.io import fits

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
    compression : RICE_1 or PLIO_1 and so on, as astropy's `CompImageHDU` takes it.
    quantisation : levels in the noise of floating-point pixels.
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
