"""The images in a FITS file: what their headers say, and where their pixels are. No pixel is read here."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits

from morph.errors import InputError, first_line
from morph.fits.headers import with_primary
from morph.fits.pixels import Plane, is_wrapped

#: FITS files are made of blocks of so many bytes.
BLOCK = 2880


@dataclass(frozen=True)
class Image:
    """One image of a file: its EXTNAME and EXTVER, its header (with what the primary says for all) and its pixels."""

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
        raise InputError(f"There is no file '{path}'.")
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
    """InputError when the file ends before its last HDU does, or goes on with something that is no HDU."""
    # What a file that is compressed as a whole lacks shows when it is unpacked.
    if is_wrapped(path):
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
