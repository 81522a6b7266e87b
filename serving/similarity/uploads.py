"""Images that come over the network, whose senders are not trusted: files in, a stamp for the model out."""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from morph.errors import InputError
from morph.fits.images import images_in
from morph.fits.planes import is_fits
from morph.stamps.picture_files import MOST_PIXELS, SUFFIXES
from serving.client.pictures import FitsLayout, Picture, find_pictures, read_pictures

#: The most files of one galaxy, and the most bytes of one file that is compressed as a whole.
MOST_FILES, MOST_UNPACKED = 12, 128 << 20

_GZIP, _FITS = b"\x1f\x8b", b"SIMPLE"
_OTHER_COMPRESSION = (b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x1f\x9d")


def read_galaxy(files: Sequence[tuple[str, bytes]], size: int, layout: FitsLayout = FitsLayout()) -> Picture:
    """One galaxy in files, cut to its own size.

    Parameters
    ----------
    files : name and content of each: a picture, or FITS, one file a band or a cube.
    size : pixels on a side of the model's stamps.
    layout : what FITS headers leave out.

    Returns
    -------
    The galaxy.

    Raises
    ------
    InputError : the files are not those of one galaxy, are damaged, or unpack into more than a galaxy needs.
    """
    if not 1 <= len(files) <= MOST_FILES:
        raise InputError(f"A galaxy has between 1 and {MOST_FILES} files, one a band; these are {len(files)}.")
    with TemporaryDirectory(prefix="morph-") as folder:
        try:
            return _read([_write(Path(folder), *file) for file in files], size, layout)
        except InputError as error:
            # The sender knows a file by its name.
            raise InputError(str(error).replace(f"{folder}/", "")) from None


def _read(paths: Sequence[Path], size: int, layout: FitsLayout) -> Picture:
    for path in paths:
        if path.suffix not in SUFFIXES and is_fits(path):
            _require_small(path)
    groups, errors = find_pictures([str(path) for path in paths])
    if errors:
        raise errors[0]
    if len(groups) != 1:
        raise InputError(f"These {len(paths)} files show {len(groups)} galaxies; send those of one.")
    found = list(read_pictures(groups, size, layout))
    if len(found) != 1:
        raise InputError(f"'{paths[0].name}' shows {len(found)} galaxies; send an image of one.")
    if isinstance(found[0], InputError):
        raise found[0]
    return found[0]


def _write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file under a name that cannot leave the folder, and that ends as its content is."""
    name = re.sub(r"[^\w.+-]", "_", re.split(r"[/\\]", name)[-1], flags=re.ASCII).lstrip(".")[-100:] or "image"
    if not content:
        raise InputError(f"'{name}' is empty; send an image.")
    if content.startswith(_OTHER_COMPRESSION):
        raise InputError(f"'{name}' is compressed in a way that is not read here; unpack it first.")
    if content.startswith(_GZIP):
        content, name = _unpacked(content, name), name.removesuffix(".gz")
    is_picture = Path(name).suffix.lower() in SUFFIXES
    if content.startswith(_FITS):
        name += "" if name.lower().endswith((".fits", ".fit", ".fz")) else ".fits"
    elif not is_picture:
        name += ".png"  # the kind is recognised by the content
    path = folder / name
    if path.exists():
        raise InputError(f"Two files are called '{name}'; give each its own name.")
    path.write_bytes(content)
    return path


def _unpacked(content: bytes, name: str) -> bytes:
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unpacking.decompress(content, MOST_UNPACKED)
    except zlib.error:
        raise InputError(f"'{name}' is not whole; send it again.") from None
    if not unpacking.eof:
        raise InputError(
            f"'{name}' is cut short, or unpacks into more than {MOST_UNPACKED >> 20} MB; cut the galaxy out."
        )
    return plain


def _require_small(path: Path) -> None:
    """InputError where a FITS file's headers announce more pixels than an image of one galaxy has."""
    for image in images_in(path):
        pixels = 1
        for length in image.plane.shape:
            pixels *= int(length)
        if pixels > MOST_PIXELS:
            shape = " x ".join(map(str, reversed(image.plane.shape)))
            raise InputError(
                f"'{path}' has {shape} px; an image of one galaxy may have {MOST_PIXELS // 10**6} million: "
                "cut the galaxy out."
            )
