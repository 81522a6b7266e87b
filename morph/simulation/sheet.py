"""Contact sheets: many stamps of flux in one picture, in the colours that the survey's own pictures have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from morph.errors import BadInput
from morph.galaxies import NETWORK_SIZE, Galaxies
from morph.images.stretch import to_composite, white_level


@dataclass(frozen=True)
class Look:
    """How a survey's colour pictures are made: weights of g, r, i (nanomaggies per square arcsec), and the stretch."""

    weights: tuple[float, float, float]
    white: float
    softening: float


#: SDSS: scales 4.9, 5.7, 7.8 for i, r, g and nonlinearity 3 (Lupton et al. 2004; the DR7 SkyServer's pictures),
#: written as `to_composite` takes them. Legacy Surveys: the viewer's scales 2.2, 3.4, 6 for z, r, g and Q = 20.
LOOKS = {
    "sdss": Look((0.489, 0.357, 0.307), 39.8, 120.0),
    "des": Look((6.0, 3.4, 2.6), 220.0, 4400.0),
}


def picture(stamp: np.ndarray, survey: str, pixel_scale: float) -> np.ndarray:
    """A stamp [size, size, 3] in nanomaggies per pixel of `pixel_scale` arcsec, as its survey would print it.

    Surveys without a look of their own, and stamps without a known scale, are stretched to show the galaxy.
    """
    if survey not in LOOKS or not np.isfinite(pixel_scale):
        return to_composite(stamp, white_level(stamp))
    look = LOOKS[survey]
    weights = np.asarray(look.weights, dtype="float32") / pixel_scale**2
    return to_composite(stamp * weights, look.white, look.softening)


def contact_sheet(pictures: list[np.ndarray], columns: int = 10, gap: int = 2) -> np.ndarray:
    """Pictures uint8 [size, size, 3] of one size, in rows: uint8 [height, width, 3]."""
    if not pictures:
        raise BadInput("There is no galaxy to show; simulate at least one.")
    size = pictures[0].shape[0] + gap
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * size, min(columns, len(pictures)) * size, 3), 40, dtype="uint8")
    for k, one in enumerate(pictures):
        row, column = divmod(k, columns)
        sheet[row * size : row * size + size - gap, column * size : column * size + size - gap] = one
    return sheet


def write_sheet(galaxies: Galaxies, path: str | Path, number: int = 60, columns: int = 10) -> None:
    """Write the first `number` galaxies of a flux dataset as one PNG, each cut to what the network sees."""
    margin = (galaxies.size - NETWORK_SIZE) // 2
    inner = slice(margin, galaxies.size - margin)
    scales = galaxies.properties["pixel_scale"]
    pictures = [
        picture(galaxies.images[k][inner, inner], str(galaxies.surveys[k]), float(scales[k]))
        for k in range(min(number, len(galaxies)))
    ]
    Image.fromarray(contact_sheet(pictures, columns)).save(path)
