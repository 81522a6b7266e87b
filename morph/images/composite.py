"""Colour composites: JPEG and PNG pictures of single galaxies."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from morph.errors import BadInput
from morph.images.size import Shape, measure
from morph.images.stretch import from_composite
from morph.stamps import FIELD, NETWORK_SIZE, STAMP_SIZE

SUFFIXES = (".jpg", ".jpeg", ".png")

#: Pillow's modes that hold eight bits a channel or fewer.
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")

#: The smallest crop, in pixels of the picture: below it there is nothing to see.
SMALLEST_CROP = 12


def read(path: str | Path) -> np.ndarray:
    """The picture at `path`: uint8 [height, width, 3], R, G, B.

    BadInput when the file is missing, is no picture, is cut short or is smaller than `SMALLEST_CROP`.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no image at '{path}'.")
    try:
        with Image.open(path) as picture:
            if picture.mode not in EIGHT_BIT:
                # Pillow would clip what is brighter than 255 to white.
                raise BadInput(f"'{path}' has pixels of kind {picture.mode}; save it with 8 bits a channel.")
            pixels = np.asarray(picture.convert("RGB"))
    except BadInput:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"'{path}' cannot be read as a picture ({error}); use JPEG, PNG or FITS.") from None
    if min(pixels.shape[:2]) < SMALLEST_CROP:
        raise BadInput(
            f"'{path}' is {pixels.shape[1]} x {pixels.shape[0]} px; "
            f"a galaxy needs at least {SMALLEST_CROP} x {SMALLEST_CROP}."
        )
    return pixels


def crop(pixels: np.ndarray, size: int = NETWORK_SIZE, shape: Shape | None = None) -> tuple[np.ndarray, Shape, float]:
    """Cut a picture to its galaxy.

    The crop spans `FIELD` half-light radii per `NETWORK_SIZE` pixels. It never reaches outside the picture:
    where the galaxy fills its frame, the crop is the largest square that fits, so no pixel is made up.

    Parameters
    ----------
    pixels : uint8 [height, width, 3].
    size : pixels on a side of the stamp; `STAMP_SIZE` keeps a margin for training.
    shape : the galaxy's place and radius; measured when not given.

    Returns
    -------
    stamp : uint8 [size, size, 3].
    shape : what was measured, in pixels of the picture.
    scale : pixels of the picture per pixel of the stamp.
    """
    height, width = pixels.shape[:2]
    if shape is None:
        shape = measure(from_composite(pixels).mean(axis=-1))
    wanted = FIELD * shape.radius * size / NETWORK_SIZE
    side = float(np.clip(wanted, SMALLEST_CROP, min(height, width)))
    left = float(np.clip(shape.x + 0.5 - side / 2, 0, width - side))
    top = float(np.clip(shape.y + 0.5 - side / 2, 0, height - side))
    # Shrinking averages pixels; enlarging interpolates them.
    method = Image.Resampling.BOX if side > 1.5 * size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize((size, size), method, box=(left, top, left + side, top + side))
    return np.asarray(picture), shape, side / size


def stamp_from_file(path: str | Path, size: int = STAMP_SIZE) -> tuple[np.ndarray, Shape, float]:
    """`read` and `crop` in one step."""
    return crop(read(path), size)
