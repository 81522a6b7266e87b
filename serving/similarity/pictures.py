"""Pictures of galaxies, for people: JPEG files of a dataset's images, and cut from tiles."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from morph.sizes import STAMP_SIZE
from morph.stamps.stretch import centre_crop, to_pictures


def thumbnails(images: np.ndarray, size: int) -> Iterator[bytes]:
    """Stamps of a dataset as JPEG files.

    Parameters
    ----------
    images : uint8 composites or float flux, [n, s, s, 3]; of a margin only the middle is shown.
    size : pixels on a side of the pictures, at most.
    """
    for picture in to_pictures(centre_crop(images, STAMP_SIZE)):
        yield jpeg_file(picture, size)


def jpeg_file(picture: np.ndarray, size: int) -> bytes:
    """A picture, uint8 [h, w, 3], as a JPEG file of at most so many pixels on a side."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
