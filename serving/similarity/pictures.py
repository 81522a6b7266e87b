"""Pictures of a dataset's galaxies as JPEG files."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from morph.reports.html import jpeg_file
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
        image = Image.fromarray(np.ascontiguousarray(picture))
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        yield jpeg_file(image, 85)
