"""Colour pictures with 16 bits a channel.

Pillow has no kind of image for them and keeps the upper eight bits of each channel, with which most of what a camera
of 12 bits saw of the sky is lost. It can unpack the lower eight as well: they are the upper ones in the other order of
bytes. Each picture is decoded twice, and the two halves are put together.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from morph.errors import InputError

#: Pillow's names of how pixels are stored, each with the one that takes the other byte of every channel.
_OTHER = {"16B": "16L", "16L": "16B", "16N": "16L" if sys.byteorder == "big" else "16B"}

#: Of pixels that are stored as colours with 16 bits, with an alpha channel, with a channel that means nothing.
_COLOURS = ("RGB", "RGBA", "RGBX")

#: Grey with alpha, for which Pillow has one order of bytes only; the four bytes of a pixel can be had as they are.
_GREY_WITH_ALPHA = "LA;16B"

MOST = 65535


def is_deep(picture: Image.Image) -> bool:
    """Whether a picture that was opened, and not read yet, has 16 bits a channel in colour."""
    return any(";16" in _stored(tile) for tile in getattr(picture, "tile", ()))


def in_eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of 16 bits as uint8, rounded.

    A camera of 10 or 12 bits fills the lower part of 16: white is the most that the bits in use can hold.
    """
    white = max(2 ** int(np.ceil(np.log2(float(values.max()) + 1))) - 1, 255)
    return np.rint(values * np.float32(255 / white)).astype("uint8")


def read_deep(picture: ImageFile.ImageFile, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours of a picture that `is_deep`, from its file at `path`, the right way up.

    Returns
    -------
    values : uint16 [height, width, 3].
    alpha : float32 [height, width], 0 to 1; None where nothing is transparent.

    Raises InputError where its pixels are stored in a way that is not known here.
    """
    stored = {_stored(tile) for tile in picture.tile}
    colours, _, order = (how := stored.pop()).partition(";")
    if stored or (how != _GREY_WITH_ALPHA and (colours not in _COLOURS or order not in _OTHER)):
        raise InputError(f"'{path}' stores 16 bits a channel as {how}, which is not read; save it as RGB or RGBA.")
    hidden = picture.info.get("transparency")
    if how == _GREY_WITH_ALPHA:
        pairs = _unpacked(path, "RGBA").astype("uint16")
        layers = (pairs[..., 0::2] << 8 | pairs[..., 1::2])[..., [0, 0, 0, 1]]
    else:
        upper, lower = _unpacked(path, how), _unpacked(path, f"{colours};{_OTHER[order]}")
        layers = upper.astype("uint16") << 8 | lower
    values = layers[..., :3]
    if layers.shape[-1] == 4:
        return values, layers[..., 3] / np.float32(MOST)
    if isinstance(hidden, tuple):  # the one colour that stands for transparent
        return values, (values != np.array(hidden, dtype="uint16")).any(axis=-1).astype("float32")
    return values, None


def _stored(tile: tuple) -> str:
    """How a part of a file stores its pixels, by Pillow's name."""
    about = tile[3]
    return str(about[0] if isinstance(about, tuple) else about)


def _unpacked(path: Path, how: str) -> np.ndarray:
    """The picture's pixels unpacked in another way than Pillow would: uint8 [height, width, bands]."""
    with Image.open(path) as picture:
        picture.tile = [
            tile._replace(args=(how, *tile.args[1:]) if isinstance(tile.args, tuple) else how) for tile in picture.tile
        ]
        return np.asarray(ImageOps.exif_transpose(picture))
