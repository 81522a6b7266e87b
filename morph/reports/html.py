"""Self-contained HTML pages from the templates of this folder: images inside, nothing loaded, light or dark.

Templates escape whatever they print. They share the macros of ``templates/macros.html``.
"""

import base64
import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """An image inside the page: its data URL, and its size in pixels."""

    source: str
    width: int
    height: int


def render(template: str, *, package: str = "morph.reports", **context: object) -> str:
    """The page that a template in the folder ``templates`` of a package makes of `context`."""
    return _environment(package).get_template(template).render(context)


@cache
def _environment(package: str) -> Environment:
    loader = PackageLoader(package)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def jpeg(pixels: np.ndarray, size: int = 0, quality: int = 88) -> Picture:
    """An image as JPEG.

    Parameters
    ----------
    pixels : uint8 [h, w, 3].
    size : width in pixels to which a narrower image is enlarged.
    quality : of the JPEG, up to 95.

    Examples
    --------
    >>> import numpy as np
    >>> picture = jpeg(np.zeros((8, 16, 3), "uint8"), size=32)
    >>> picture.width, picture.height, picture.source[:23]
    (32, 16, 'data:image/jpeg;base64,')
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.width < size:
        image = image.resize((size, round(size * image.height / image.width)), Image.Resampling.BICUBIC)
    return Picture(data_url("jpeg", jpeg_file(image, quality)), image.width, image.height)


def jpeg_file(image: Image.Image, quality: int = 88) -> bytes:
    """An image as the content of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def png(file: bytes) -> Picture:
    """A PNG file."""
    with Image.open(io.BytesIO(file)) as image:
        return Picture(data_url("png", file), image.width, image.height)


def data_url(kind: str, file: bytes) -> str:
    """The URL that is a file: of an image of a kind such as jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
