"""Contact sheets: many stamps of flux in one picture, in the colours of the survey's own pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from morph.atomic import atomic
from morph.dataset import Galaxies
from morph.errors import InputError
from morph.sizes import NETWORK_SIZE
from morph.stamps.stretch import to_composite, white_level


@dataclass(frozen=True)
class ColourScheme:
    """How a survey's colour pictures are made.

    `weights` of g, r, i (nanomaggies per square arcsec) and the stretch as `to_composite` takes it; then how much
    of the colour is kept, and the brightness of empty sky (0 to 255).
    """

    weights: tuple[float, float, float]
    white: float
    softening: float
    saturation: float = 1.0
    sky: float = 0.0


#: The weights are those of the SkyServer (Lupton et al. 2004: 4.9, 5.7, 7.8 for i, r, g) and of the Legacy Surveys'
#: viewer (2.2, 3.4, 6 for z, r, g). The stretch was fitted so that the core, the half-light radius, twice that
#: and the sky of simulated galaxies have the median brightness of those in real SDSS and DECaLS pictures; DES takes
#: that of DECaLS. DECaLS's own pictures in Galaxy Zoo are nearly grey, which `saturation` was set to by eye.
COLOUR_SCHEMES = {
    "sdss": ColourScheme((0.489, 0.357, 0.307), 39.8, 120.0),
    "decals": ColourScheme((0.412, 0.233, 0.151), 4.2, 60.0, saturation=0.35, sky=8.0),
    "des": ColourScheme((0.412, 0.233, 0.178), 4.2, 60.0),
}

#: By how much a stamp is enlarged.
SHEET_ZOOM = 2


def render(stamp: np.ndarray, survey: str, pixel_scale: float) -> np.ndarray:
    """A stamp in the colours of its survey, uint8 [size, size, 3].

    Surveys without a colour scheme, and stamps without a known scale, are stretched to show the galaxy.

    Parameters
    ----------
    stamp : [size, size, 3], nanomaggies per pixel.
    survey : its name.
    pixel_scale : arcsec per pixel; NaN if unknown.
    """
    if survey not in COLOUR_SCHEMES or not np.isfinite(pixel_scale):
        return to_composite(stamp, white_level(stamp))
    scheme = COLOUR_SCHEMES[survey]
    weights = np.asarray(scheme.weights, dtype="float32") / pixel_scale**2
    colours = to_composite(stamp * weights, scheme.white, scheme.softening).astype("float32")
    grey = colours.mean(axis=-1, keepdims=True)
    shown = scheme.sky + (grey + scheme.saturation * (colours - grey)) * (1 - scheme.sky / 255)
    return np.round(shown).astype("uint8")


def contact_sheet(pictures: list[np.ndarray], columns: int = 10, gap: int = 2) -> np.ndarray:
    """Arrange pictures in rows.

    Parameters
    ----------
    pictures : uint8 [size, size, 3] each.
    columns : pictures in a row.
    gap : pixels between them.

    Returns
    -------
    uint8 [height, width, 3]

    Raises
    ------
    InputError : no picture is given.
    """
    if not pictures:
        raise InputError("The set is empty; simulate at least one galaxy.")
    size = pictures[0].shape[0] + gap
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * size, min(columns, len(pictures)) * size, 3), 40, dtype="uint8")
    for k, one in enumerate(pictures):
        row, column = divmod(k, columns)
        sheet[row * size : row * size + size - gap, column * size : column * size + size - gap] = one
    return sheet


def check_sheet(path: str | Path) -> None:
    """InputError unless a picture can be written to `path`."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg") or not Path(path).parent.is_dir():
        raise InputError(f"'{path}' cannot be a picture; give a name ending in .png in a folder that exists.")


def write_sheet(galaxies: Galaxies, path: str | Path, number: int = 60, columns: int = 10) -> None:
    """Write the first galaxies of a flux dataset as one picture, each cut to the network's field.

    Parameters
    ----------
    path : a name that ends in .png, .jpg or .jpeg.
    number : galaxies to show.
    columns : galaxies in a row.

    Raises
    ------
    InputError : the set is empty, or the file cannot be written.
    """
    margin = (galaxies.size - NETWORK_SIZE) // 2
    inner = slice(margin, galaxies.size - margin)
    scales = galaxies.properties["pixel_scale"]
    pictures = [
        render(galaxies.images[k][inner, inner], str(galaxies.surveys[k]), float(scales[k]))
        for k in range(min(number, len(galaxies)))
    ]
    sheet = Image.fromarray(contact_sheet(pictures, columns))
    with atomic(path) as building:
        sheet.resize((SHEET_ZOOM * sheet.width, SHEET_ZOOM * sheet.height), Image.Resampling.BICUBIC).save(building)
