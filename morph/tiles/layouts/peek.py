"""What the header of a file tells of it where its name does not: its tile, its band, its survey.

Headers are looked at once a file and process, however often they are asked for.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.bands import band_of

#: Cards that name a tile of a survey: DES, Legacy Surveys, Euclid, Pan-STARRS.
TILES = ("TILENAME", "BRICKNAM", "BRICK", "TILEID", "SKYCELL")

#: Cards that make a grid of pixels. Images on one grid in different bands are one tile.
GRID = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CDELT1", "PC1_1")


@dataclass(frozen=True)
class HeaderFacts:
    """What a header tells.

    Attributes
    ----------
    tile : what the headers of one tile's files share.
    band : None where the header does not tell.
    header : of the first image, with what the primary says for all.
    """

    tile: tuple[object, ...]
    band: str | None
    header: fits.Header


def header_facts(path: Path) -> HeaderFacts | None:
    """What the header of a file tells; None where it holds no image, or cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _told_by(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _told_by(path: Path, changed: int, size: int) -> HeaderFacts | None:
    header = _header(path)
    if header is None:
        return None
    tract, patch = (headers.value(header, f"LSST BUTLER DATAID {key}") for key in ("TRACT", "PATCH"))
    name = next((value for key in TILES if (value := headers.value(header, key))), None)
    grid = tuple(headers.number(header, key) for key in GRID)
    shape = tuple(headers.value(header, key) for key in ("NAXIS1", "NAXIS2"))
    tile: tuple[object, ...] = (tract, patch) if tract is not None else (name,) if name else (grid, shape)
    return HeaderFacts(tile, band_of(header), header)


def _header(path: Path) -> fits.Header | None:
    """The header of a file's first image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=True) as hdus:
                primary = hdus[0].header
                for hdu in hdus:
                    if hdu.is_image and len(hdu.shape) == 2:
                        return headers.with_primary(hdu.header, primary)
    # A file that cannot be read is told when it is opened.
    except Exception:
        return None
    return None
