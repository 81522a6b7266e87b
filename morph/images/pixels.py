"""The pixels of one image in a FITS file, row by row, so that a survey's tile need never be in memory whole."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from morph.errors import BadInput
from morph.images.rice import rice_rows


@dataclass(frozen=True)
class Plane:
    """One image of one file: nothing is open and no pixel is held, so it can be sent to another process.

    `hdu` is its number in the file. `shape` is [h, w], or [n, h, w] for a cube.
    """

    path: Path
    hdu: int
    shape: tuple[int, ...]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The rows `start` to `stop` (exclusive, both within the image), in the machine's byte order.

        Only these are read and decompressed. Returns [stop - start, w], of a cube [n, stop - start, w]; BadInput when
        the file is cut short, damaged, or no longer the one that was opened.
        """
        with self.opened() as rows:
            return rows(start, stop)

    @contextmanager
    def opened(self) -> Iterator[Callable[[int, int], np.ndarray]]:
        """`rows` of a file that stays open between its calls, which are one thread's at a time.

        A file compressed as a whole (.gz) is unpacked once as long as the rows that are asked for go up.
        """
        with ExitStack() as files:
            with self._blaming_the_file(), warnings.catch_warnings():
                # Astropy warns of a truncated file; it is an error as soon as rows are missing.
                warnings.simplefilter("ignore")
                # A memory map is quicker, but its pages count as this process's memory until the file is closed:
                # those of compressed planes are few.
                hdu = files.enter_context(fits.open(self.path, memmap=self.path.suffix == ".fz"))[self.hdu]
                section = hdu.section

                def plain(start: int, stop: int) -> np.ndarray:
                    return section[..., start:stop, :]

                packed = isinstance(hdu, fits.CompImageHDU) and self.path.suffix == ".fz"
                read = rice_rows(self.path, self.hdu, plain) if packed else plain

            def rows(start: int, stop: int) -> np.ndarray:
                with self._blaming_the_file():
                    pixels = read(start, stop)
                    # FITS is big-endian: plain pixels are copied here, and decompressed ones are not.
                    pixels = np.array(pixels, dtype=pixels.dtype.newbyteorder("="), copy=None)
                if pixels.shape != (*self.shape[:-2], stop - start, self.shape[-1]):
                    raise BadInput(f"'{self.path}' has changed since it was opened; start again.")
                return pixels

            yield rows

    @contextmanager
    def _blaming_the_file(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        # Each layer under astropy has errors of its own for bytes that it cannot unpack.
        except Exception as error:
            raise BadInput(f"'{self.path}' is cut short or damaged ({first_line(error)}); get it again.") from None


def first_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
