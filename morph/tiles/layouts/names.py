"""Tile, band and content of a file of no known survey: by its name, wherever in it they stand, or by its header.

``NGC1365_g.fits``, ``field-r-coadd.fits`` and ``m51_f606w_drz_sci.fits`` are image and band; ``field-r-coadd_weight``
holds the weights of ``field-r-coadd``. Names that could mean two bands mean none.
"""

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from astropy.io import fits

from morph.fits import headers
from morph.fits.headers import band_called, band_of
from morph.fits.planes import SUFFIXES, split_name, stem_of
from morph.tiles.layouts.companions import Content
from morph.tiles.layouts.layout import ParsedName

_PARTS = re.compile(r"[-_.]")

#: Parts of names of files that hold weights. What others hold is not sure enough: masks may mark what is good or bad.
WEIGHTS = {
    **dict.fromkeys(("weight", "weights", "wht", "wei", "wgt", "invvar", "ivar"), Content.WEIGHTS),
    **dict.fromkeys(("var", "variance"), Content.VARIANCE),
    **dict.fromkeys(("rms", "err", "error", "sigma"), Content.ERRORS),
}
#: Parts of names of files that hold masks.
MASKS = {"mask", "msk", "flag", "flags", "dq", "bpm", "maskbits"}
#: Parts of names of files that hold something else than the sky.
OTHER = {
    *MASKS,
    *("cat", "catalog", "catalogue", "psf", "psfex", "seg", "segm", "segmap"),
    *("segmentation", "model", "residual", "resid", "chi2", "bkg", "background", "bgmod", "exp", "expmap", "exptime"),
    *("nexp", "depth", "ctx", "kernel", "objects", "table"),
}
#: Parts that say that it is an image.
IMAGE = {"sci", "image", "img"}


def parse_plain_name(path: Path) -> ParsedName:
    """Parse a file's name. The band is the end of the name, or else its only part that is a band."""
    tile, band = split_name(path)
    stem = stem_of(path)
    parts, gaps = _PARTS.split(stem), _PARTS.findall(stem)
    kinds = [k for k, part in enumerate(parts) if part.lower() in WEIGHTS or part.lower() in OTHER | IMAGE]
    bands = [k for k, part in enumerate(parts) if _band(part)]
    if band is not None and not kinds:
        return ParsedName(tile, band)
    if len(bands) != 1:
        return ParsedName(tile, band)
    content = next((WEIGHTS[parts[k].lower()] for k in kinds if parts[k].lower() in WEIGHTS), Content.IMAGE)
    if content is Content.IMAGE and any(parts[k].lower() in OTHER for k in kinds):
        content = Content.OTHER
    left_out = {bands[0], *kinds}
    rest = "".join(
        part + (gaps[k] if k < len(gaps) else "") for k, part in enumerate(parts) if k not in left_out
    ).strip("-_.")
    return ParsedName(rest, None if content is Content.OTHER else _band(parts[bands[0]]), content)


def masks_in_folder(path: Path) -> list[str]:
    """The masks of an image, in its folder, by their names: ``*_mask`` of ``field_r.fits``."""
    try:
        return list(_masks(path.parent, path.parent.stat().st_mtime_ns).get(_of_tile(path), ()))
    except OSError:
        return []


@lru_cache(maxsize=64)
def _masks(folder: Path, changed: int) -> dict[str, tuple[str, ...]]:
    """The masks in a folder by the tile in their names."""
    found: dict[str, tuple[str, ...]] = {}
    for file in folder.iterdir():
        kinds = [part for part in _PARTS.split(stem_of(file)) if part.lower() in MASKS]
        if kinds and file.name.lower().endswith(SUFFIXES):
            tile = _of_tile(file)
            found[tile] = tuple(sorted({*found.get(tile, ()), f"files *{kinds[0]}*"}))
    return found


def _of_tile(path: Path) -> str:
    """A file's name without band and kind."""
    parts = [part for part in _PARTS.split(stem_of(path)) if not _band(part)]
    return "-".join(part for part in parts if part.lower() not in {*MASKS, *IMAGE})


def _band(part: str) -> str | None:
    """The band that a part of a name is; a name's J or H is more often something else."""
    found = band_called(part)
    if found is None or found in ("J", "H", "K", "Ks"):
        return None
    return found if len(part) == 1 or found[0] == "F" or found == "VIS" else None


#: Cards that name a tile of a survey: DES, Legacy Surveys, Euclid, Pan-STARRS.
TILES = ("TILENAME", "BRICKNAM", "BRICK", "TILEID", "SKYCELL")


#: Cards that make a grid of pixels. Images on one grid in different bands are one tile.
GRID = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CDELT1", "PC1_1")


@dataclass(frozen=True)
class HeaderInfo:
    """Tile and band in a header.

    Attributes
    ----------
    tile : what the headers of one tile's files share.
    band : None where the header does not give it.
    header : of the first image, with the primary header's inherited cards.
    """

    tile: tuple[object, ...]
    band: str | None
    header: fits.Header


def read_header_info(path: Path) -> HeaderInfo | None:
    """Tile and band in the header of a file; None where it holds no image, or cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _read_header_info(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _read_header_info(path: Path, changed: int, size: int) -> HeaderInfo | None:
    header = _header(path)
    if header is None:
        return None
    tract, patch = (headers.value(header, f"LSST BUTLER DATAID {key}") for key in ("TRACT", "PATCH"))
    name = next((value for key in TILES if (value := headers.value(header, key))), None)
    grid = tuple(headers.number(header, key) for key in GRID)
    shape = tuple(headers.value(header, key) for key in ("NAXIS1", "NAXIS2"))
    tile: tuple[object, ...] = (tract, patch) if tract is not None else (name,) if name else (grid, shape)
    return HeaderInfo(tile, band_of(header), header)


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
    # Opening the tile reports a file that cannot be read.
    except Exception:
        return None
    return None
