"""The pixels of one image in a FITS file, row by row, so that a survey's tile need never be in memory whole."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.errors import InputError, first_line
from morph.fits.fpack import packed_rows
from morph.fits.regrid import NearestRows, Regrid, SquareRows
from morph.fits.reproject import InterpolatedRows, NearestPixelRows, Reproject
from morph.fits.rows import Rows
from morph.fits.scaling import ScaledRows, Scaling


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
    regrid: Regrid | None = None
    onto: Reproject | None = None
    nearest: bool = False

    def squared(self, regrid: Regrid, nearest: bool = False) -> "Plane":
        """The same image on a grid of square pixels."""
        return replace(self, shape=regrid.shape, regrid=regrid, nearest=nearest)

    def reprojected(self, onto: Reproject, nearest: bool = False) -> "Plane":
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
            with self.blamed(), warnings.catch_warnings():
                # Astropy warns of a truncated file; it is an error as soon as rows are missing.
                warnings.simplefilter("ignore")
                rows = None if is_wrapped(self.path) else packed_rows(self.path, self.hdu)
                if rows is None:
                    rows = _Section(_hdu_of(self, files), self.index)
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
    def blamed(self) -> Iterator[None]:
        """Whatever goes wrong within is InputError that says that the file is damaged."""
        try:
            yield
        except MemoryError:
            raise
        # Each layer under astropy has errors of its own for bytes that it cannot unpack.
        except Exception as error:
            raise InputError(f"'{self.path}' is cut short or damaged ({first_line(error)}); get it again.") from None


def is_wrapped(path: Path) -> bool:
    """Whether another program compressed the whole file, by its first bytes: gzip, bzip2, xz, zip or compress."""
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x1f\x9d"))


def _hdu_of(plane: Plane, files: ExitStack) -> fits.ImageHDU | fits.CompImageHDU:
    """The image's HDU, in a file that `files` closes.

    A memory map is quicker, but its pages count as this process's memory until the file is closed: those of
    compressed planes are few. Astropy maps none whose whole numbers are scaled or have a blank.
    """
    if not is_wrapped(plane.path):
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
        with self._plane.blamed():
            return self._rows(start, stop)

    def into(self, start: int, pixels: np.ndarray) -> None:
        with self._plane.blamed():
            self._rows.into(start, pixels)

    def marked(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        with self._plane.blamed():
            return self._rows.marked(start, stop)

    def not_positive(self, start: int, stop: int) -> np.ndarray:
        with self._plane.blamed():
            return self._rows.not_positive(start, stop)
