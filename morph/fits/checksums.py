"""Whether a file's pixels are still those that were written: the checksums of FITS (standard 4.0, section 4.4.2.7).

An HDU's DATASUM is the sum of its data, of a compressed image as it lies in the file. Most flipped bits of a
compressed image unpack into something, and nothing else would tell.
"""

import warnings
from pathlib import Path

from astropy.io import fits

from morph.errors import InputError

#: What astropy's `verify_datasum` says.
WRONG, RIGHT = 0, 1


def verify(path: str | Path) -> None:
    """Compare all data of a FITS file with their checksums.

    HDUs without DATASUM are passed over, and so are headers, which people edit. InputError when some data are not what
    their checksum says, and when no data of the file have one.
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
