"""Colour composites: JPEG, PNG, TIFF and WebP pictures of single galaxies."""

from pathlib import Path

import numpy as np
from PIL import Image

from morph.fits.blank_pixels import find_blank
from morph.sizes import FIELD, NETWORK_SIZE, STAMP_SIZE
from morph.stamps.flags import MASKED_PART, Flag
from morph.stamps.photometry import Shape, measure
from morph.stamps.picture_files import SMALLEST_CROP, SUFFIXES, read, read_reduced, too_coarse
from morph.stamps.stretch import from_composite

__all__ = ["SMALLEST_CROP", "SUFFIXES", "crop", "find_blank_areas", "flags_of", "read", "stamp_from_file"]

#: What a star or a galaxy too bright for the picture is shown as.
WHITE = 0xFFFFFF

#: A colour that fills more of a picture than this is that of its sky.
MOST_UNCOVERED = 0.5


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
    if shape is None:
        blank = find_blank_areas(pixels)
        mask = blank if blank.mean() <= MOST_UNCOVERED else None
        shape = measure(from_composite(pixels).mean(axis=-1), mask=mask)
    left, top, side = _box(pixels, shape, FIELD * shape.radius * size / NETWORK_SIZE)
    # Shrinking averages pixels; enlarging interpolates them.
    method = Image.Resampling.BOX if side > 1.5 * size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize((size, size), method, box=(left, top, left + side, top + side))
    return np.asarray(picture), shape, side / size


def find_blank_areas(pixels: np.ndarray) -> np.ndarray:
    """Where a picture shows no sky but the single colour of a border, a gap or a corner: bool [height, width].

    The sky of a picture may be one colour, too. It is in many small pieces then, and no piece is taken for a gap.
    """
    red, green, blue = np.moveaxis(pixels.astype("int32"), -1, 0)
    colour = (red << 16) | (green << 8) | blue
    found = np.zeros(colour.shape, dtype=bool)
    found.flat[find_blank(colour)[0]] = True
    return found & (colour != WHITE)


def flags_of(pixels: np.ndarray, shape: Shape, scale: float, size: int) -> Flag:
    """The flags MASKED and NO_DATA of a `crop`, by how much of it shows no sky.

    A sky without any noise is flagged, too: it cannot be distinguished from a gap.

    Parameters
    ----------
    pixels : uint8 [height, width, 3].
    shape, scale : as from `crop`.
    size : pixels on a side of the stamp.

    Returns
    -------
    Flag.
    """
    left, top, side = _box(pixels, shape, scale * size)
    rows, columns = (slice(round(start), max(round(start + side), round(start) + 1)) for start in (top, left))
    missing = find_blank_areas(pixels)[rows, columns].mean()
    return Flag.NO_DATA if missing == 1 else Flag.MASKED if missing > MASKED_PART else Flag(0)


def _box(pixels: np.ndarray, shape: Shape, side: float) -> tuple[float, float, float]:
    """The left and upper edge and the side of a crop, which stays within the picture."""
    height, width = pixels.shape[:2]
    side = float(np.clip(side, SMALLEST_CROP, min(height, width)))
    left = float(np.clip(shape.x + 0.5 - side / 2, 0, width - side))
    top = float(np.clip(shape.y + 0.5 - side / 2, 0, height - side))
    return left, top, side


def stamp_from_file(path: str | Path, size: int = STAMP_SIZE) -> tuple[np.ndarray, Shape, float, Flag]:
    """`read`, `crop` and `flags_of` in one step, for JPEG pictures of any size too.

    Returns
    -------
    stamp, shape, scale : as from `crop`, shape and scale in pixels of the file.
    flags : as from `flags_of`.

    Raises InputError as `read` does, and when a large picture had to be read at a lower resolution than its stamp
    needs.
    """
    pixels, reduction = read_reduced(path)
    stamp, shape, scale = crop(pixels, size)
    flags = flags_of(pixels, shape, scale, size)
    if reduction == 1:
        return stamp, shape, scale, flags
    if scale < 1 or not shape.found:
        raise too_coarse(Path(path), reduction)
    x, y = ((place + 0.5) * reduction - 0.5 for place in (shape.x, shape.y))
    return stamp, Shape(x, y, shape.radius * reduction, shape.found), scale * reduction, flags
