"""The images in a FITS file: what their headers say, whether the file is whole, and their pixels, row by row.

Rows are read as they are needed, so that a survey's tile need never be in memory whole.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.errors import InputError, first_line
from morph.fits.fpack import packed_rows
from morph.fits.headers import with_primary
from morph.fits.reprojection import (
    InterpolatedRows,
    NearestPixelRows,
    NearestRows,
    Reprojection,
    SquareGrid,
    SquareRows,
)
from morph.fits.rows import Rows, ScaledRows, Scaling

#: FITS files are made of blocks of so many bytes.
BLOCK = 2880


#: What astropy's `verify_datasum` returns.
WRONG, RIGHT = 0, 1


@dataclass(frozen=True)
class Plane:
    """One image of one file: nothing is open and no pixel is held, so it can be sent to another process.

    Attributes
    ----------
    hdu : its number in the file.
    shape : [h, w], or [n, h, w] for a cube.
    scalings : undo, one after the other, what was done to the pixels before they were stored.
    index : which plane of a cube this is; None for an image, and for a whole cube.
    regrid : to square pixels, on whose grid `shape` is then; None where the pixels are square as they are stored.
    onto : the grid of another band, after `regrid`; None where the image stays on its own.
    nearest : whether a pixel on a new grid is the nearest one (of masks and weights) and not a share of all (of flux).
    """

    path: Path
    hdu: int
    shape: tuple[int, ...]
    scalings: tuple[Scaling, ...] = ()
    index: int | None = None
    regrid: SquareGrid | None = None
    onto: Reprojection | None = None
    nearest: bool = False

    def squared(self, regrid: SquareGrid, nearest: bool = False) -> "Plane":
        """The same image on a grid of square pixels."""
        return replace(self, shape=regrid.shape, regrid=regrid, nearest=nearest)

    def reprojected(self, onto: Reprojection, nearest: bool = False) -> "Plane":
        """The same image on the grid of another."""
        return replace(self, shape=onto.shape, onto=onto, nearest=nearest)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the image as it is stored."""
        return next((grid.stored for grid in (self.regrid, self.onto) if grid is not None), self.shape)

    def at(self, index: int) -> "Plane":
        """One plane of a cube."""
        return replace(self, shape=self.shape[1:], index=index)

    def scaled(self, *scalings: Scaling) -> "Plane":
        """The same pixels, which were stored in another way."""
        return replace(self, scalings=(*self.scalings, *scalings))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The rows `start` to `stop` (exclusive, both within the image), in the machine's byte order.

        Only these are read and decompressed. Returns [stop - start, w], of a cube [n, stop - start, w]; InputError
        when the file is cut short, damaged, or no longer the one that was opened.
        """
        with self.opened() as rows:
            return rows(start, stop)

    @contextmanager
    def opened(self) -> Iterator[Rows]:
        """`rows` of a file that stays open between its calls, which are one thread's at a time.

        A file compressed as a whole (.gz) is unpacked once as long as the rows that are asked for go up. What the
        yielded object is asked raises InputError as `rows` does.
        """
        with ExitStack() as files:
            with self.name_damage(), warnings.catch_warnings():
                # Astropy warns of a truncated file; it is an error as soon as rows are missing.
                warnings.simplefilter("ignore")
                rows = None if is_compressed_whole(self.path) else packed_rows(self.path, self.hdu)
                if rows is None:
                    rows = _Section(_open_hdu(self, files), self.index)
            if rows.shape != self.stored_shape:
                raise InputError(f"'{self.path}' has changed since it was opened; start again.")
            for scaling in self.scalings:
                rows = ScaledRows(rows, scaling)
            if self.regrid is not None:
                rows = (NearestRows if self.nearest else SquareRows)(rows, self.regrid)
            if self.onto is not None:
                rows = (NearestPixelRows if self.nearest else InterpolatedRows)(rows, self.onto)
            yield _Checked(self, rows)

    @contextmanager
    def name_damage(self) -> Iterator[None]:
        """Turn any error within into an InputError about a damaged file."""
        try:
            yield
        except MemoryError:
            raise
        # Each layer under astropy has errors of its own for bytes that it cannot unpack.
        except Exception as error:
            raise InputError(f"'{self.path}' is cut short or damaged ({first_line(error)}); get it again.") from None


@dataclass(frozen=True)
class Image:
    """One image of a file: EXTNAME, EXTVER, header (with the primary header's inherited cards) and pixels."""

    name: str
    header: fits.Header = field(repr=False)
    plane: Plane
    version: int = 1


def images_in(path: str | Path) -> list[Image]:
    """The images of two and more axes in a FITS file, in their order.

    InputError when the file is missing, is not FITS, holds no image, or ends before or after its headers say.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No file exists at '{path}'.")
    if not path.stat().st_size:
        raise InputError(f"'{path}' is not a FITS file: it is empty; get it again.")
    try:
        with warnings.catch_warnings():
            # Astropy warns of a truncated file and goes on; here it is an error, found below.
            warnings.simplefilter("ignore")
            _check_whole(path)
            with fits.open(path) as hdus:
                primary = hdus[0].header
                found = [
                    Image(hdu.name, with_primary(hdu.header, primary), Plane(path, number, hdu.shape), hdu.ver)
                    for number, hdu in enumerate(hdus)
                    if hdu.is_image and len(hdu.shape) >= 2
                ]
    except (InputError, MemoryError):
        raise
    except PermissionError:
        raise InputError(f"'{path}' may not be read; check its permissions.") from None
    # What astropy meets in a damaged header it raises as it comes: KeyError, TypeError, IndexError and its own.
    except Exception as error:
        raise InputError(f"'{path}' is not a FITS file, or is damaged ({first_line(error)}).") from None
    if not found:
        raise InputError(f"'{path}' holds no image; give a FITS file with an image in it.")
    return found


def _check_whole(path: Path) -> None:
    """Raise InputError when the file ends within its last HDU, or continues with something that is not an HDU."""
    # What a file that is compressed as a whole lacks shows when it is unpacked.
    if is_compressed_whole(path):
        return
    size = path.stat().st_size
    end = 0
    with fits.open(path, disable_image_compression=True) as hdus:
        for hdu in hdus:
            if isinstance(hdu, fits.hdu.base._CorruptedHDU):
                break
            end = hdu.fileinfo()["datLoc"] + hdu.size
            if end > size:
                raise InputError(f"'{path}' is cut short ({size:,} bytes, more expected); get it again.")
    end = -(-end // BLOCK) * BLOCK
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(BLOCK)
    if rest.startswith(b"XTENSION"):
        raise InputError(f"'{path}' is cut short, or one of its headers is damaged; get it again.")
    # Where a header gives the wrong number of pixels, the next HDU is sought in the middle of them.
    if rest.strip(b"\0 "):
        raise InputError(
            f"'{path}' is damaged: {size - end:,} bytes follow what its headers describe; is its NAXIS right?"
        )


def verify(path: str | Path) -> None:
    """Compare all data of a FITS file with their checksums.

    An HDU's DATASUM is the sum of its data, of a compressed image as it lies in the file (FITS standard 4.0, section
    4.4.2.7). Most flipped bits of a compressed image unpack into something, and nothing else would reveal them. HDUs
    without DATASUM are skipped, and so are headers, which people edit. Raises InputError when data do not match their
    checksum, and when no data of the file have one.
    """
    compared = 0
    with warnings.catch_warnings():
        # Astropy warns of a truncated file and goes on; what is left has another checksum.
        warnings.simplefilter("ignore")
        with fits.open(path, disable_image_compression=True) as hdus:
            for number, hdu in enumerate(hdus):
                if not hdu.size:
                    continue
                found = hdu.verify_datasum()
                if found == WRONG:
                    which = f"'{hdu.name}'" if hdu.name else f"HDU {number}"
                    raise InputError(f"'{path}' is damaged: {which} does not have its checksum; get it again.")
                compared += found == RIGHT
    if not compared:
        raise InputError(f"'{path}' has no checksums (DATASUM); get it with them, or leave out --verify.")


def is_compressed_whole(path: Path) -> bool:
    """Whether another program compressed the whole file, by its first bytes: gzip, bzip2, xz, zip or compress."""
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x1f\x9d"))


def _open_hdu(plane: Plane, files: ExitStack) -> fits.ImageHDU | fits.CompImageHDU:
    """The image's HDU, in a file that `files` closes.

    A memory map is quicker, but its pages count as this process's memory until the file is closed: those of
    compressed planes are few. Astropy maps none whose whole numbers are scaled or have a blank.
    """
    if not is_compressed_whole(plane.path):
        hdu = files.enter_context(fits.open(plane.path, memmap=True))[plane.hdu]
        if isinstance(hdu, fits.CompImageHDU) and not any(key in hdu.header for key in ("BSCALE", "BZERO", "BLANK")):
            return hdu
    return files.enter_context(fits.open(plane.path, memmap=False))[plane.hdu]


class _Section(Rows):
    """Rows as astropy reads them, of one plane of a cube where `index` is given."""

    def __init__(self, hdu: fits.ImageHDU | fits.CompImageHDU, index: int | None = None):
        self.shape = hdu.shape if index is None else hdu.shape[1:]
        self._section, self._index = hdu.section, ... if index is None else index

    def __call__(self, start: int, stop: int) -> np.ndarray:
        pixels = self._section[self._index, start:stop, :]
        # FITS is big-endian: plain pixels are copied here, and decompressed ones are not.
        return np.array(pixels, dtype=pixels.dtype.newbyteorder("="), copy=None)


class _Checked(Rows):
    """Rows that say which file is damaged."""

    def __init__(self, plane: Plane, rows: Rows):
        self._plane, self._rows = plane, rows
        self.shape, self.together = rows.shape, rows.together

    def __call__(self, start: int, stop: int) -> np.ndarray:
        with self._plane.name_damage():
            return self._rows(start, stop)

    def into(self, start: int, pixels: np.ndarray) -> None:
        with self._plane.name_damage():
            self._rows.into(start, pixels)

    def marked(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        with self._plane.name_damage():
            return self._rows.marked(start, stop)

    def not_positive(self, start: int, stop: int) -> np.ndarray:
        with self._plane.name_damage():
            return self._rows.not_positive(start, stop)
