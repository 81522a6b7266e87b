"""A caller's galaxies, in any of several types, as images for the model.

Arrays need only NumPy. Files need Pillow, sep and astropy, which are imported with the first file. Astropy objects are
recognised without importing astropy: whichever code made one has imported it.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from morph.errors import InputError
from serving.client.answers import missing

if TYPE_CHECKING:
    from serving.client.pictures import FitsLayout, Picture

#: The module that reads files; it may not have been imported.
_PICTURES = f"{__package__}.pictures"

#: The signature that takes each type of image.
SIGNATURES = {np.dtype("uint8"): "composite", np.dtype("float32"): "serving_default"}


def is_ready(galaxies: Any, cut: bool) -> bool:
    """Whether these images can be sent without the model's description and without reading a file."""
    if isinstance(galaxies, (list, tuple)):
        return bool(galaxies) and all(is_ready(each, cut) for each in galaxies)
    return not cut and isinstance(galaxies, np.ndarray) and _is_image(galaxies)


class Images:
    """Reads what callers give.

    Parameters
    ----------
    description : the model's own; files, images by band and `cut` need it.
    layout : what FITS headers leave out; the model's survey if not given.
    cut : cut arrays to the galaxy's own size, as files always are.
    """

    def __init__(self, description: dict[str, Any] | None, layout: "FitsLayout | None", cut: bool):
        self._description, self._layout, self._cut = description or {}, layout, cut

    def read(self, galaxies: Any) -> Iterator["np.ndarray | Picture"]:
        """The images, one after the other: uint8 or float32 [n, height, width, 3], and galaxies from files as
        `Picture`. InputError for anything else."""
        if _is_a(galaxies, _PICTURES, "Picture"):
            yield galaxies
        elif isinstance(galaxies, (str, os.PathLike)):
            yield from self._files(galaxies)
        elif isinstance(galaxies, Mapping):
            yield from self._ready(self._by_band(galaxies))
        elif _is_image(galaxies):
            yield from self._ready(batch(pixels(galaxies)))
        elif isinstance(galaxies, Iterable):
            for each in galaxies:
                yield from self.read(each)
        else:
            raise InputError(
                f"A {type(galaxies).__name__} is not an image of a galaxy; give arrays or names of files."
            )

    def blank(self) -> np.ndarray:
        """One empty image of the size that the model takes."""
        size = self._description["size"]
        return np.zeros((1, size, size, 3), "float32")

    def _ready(self, images: np.ndarray) -> Iterator["np.ndarray | Picture"]:
        if not self._cut:
            yield images
            return
        try:
            from serving.client.pictures import cut
        except ModuleNotFoundError as error:
            raise missing("Cutting an image to its galaxy", error, "images") from None
        for image in images:
            yield cut(image, self._description["size"], self._description["survey"])

    def _files(self, name: str | os.PathLike) -> Iterator["Picture"]:
        try:
            from serving.client.pictures import FitsLayout, find_pictures, read_pictures

            groups, complaints = find_pictures([os.fspath(name)])
            if complaints:
                raise complaints[0]
            layout = self._layout or FitsLayout()
            for picture in read_pictures(groups, self._description["size"], layout):
                if isinstance(picture, InputError):
                    raise picture
                yield picture
        except ModuleNotFoundError as error:
            raise missing(f"Reading '{name}'", error, "images") from None

    def _by_band(self, planes: Mapping) -> np.ndarray:
        """Images of single bands, {band: [height, width] or [n, height, width]}, as flux [n, height, width, 3]."""
        bands = self._description.get("bands", ())
        if unknown := [str(band) for band in planes if band not in bands]:
            raise InputError(f"The model reads the bands {', '.join(bands)}, and not {', '.join(unknown)}.")
        read = {band: pixels(plane) for band, plane in planes.items()}
        shapes = {plane.shape for plane in read.values()}
        if len(shapes) != 1 or any(plane.dtype.kind != "f" for plane in read.values()):
            found = ", ".join(f"{band}: {plane.dtype}{list(plane.shape)}" for band, plane in read.items())
            raise InputError(f"The bands of a galaxy are flux (float32) of one shape; these are {found or 'none'}.")
        blank = np.full(shapes.pop(), np.nan, "float32")
        return batch(np.stack([read.get(band, blank) for band in bands], axis=-1))


def batch(images: np.ndarray) -> np.ndarray:
    """`images` as uint8 or float32 [n, height, width, 3]; InputError when they are neither."""
    if images.ndim not in (3, 4) or images.shape[-1] != 3:
        raise InputError(
            f"Images of shape {images.shape} are not a batch; give an array of shape (n, size, size, 3), "
            "or (size, size, 3) for one galaxy."
        )
    if images.ndim == 3:
        images = images[None]
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise InputError(f"Images of {images.dtype} are neither composites (uint8) nor flux (float32).")
    # A number beyond float32 becomes infinite, and the model flags it.
    with np.errstate(over="ignore"):
        return images.astype("float32", copy=False)


def pixels(image: Any) -> np.ndarray:
    """The pixels of an image as an array; flux in nanomaggies, and NaN where the image is masked.

    Raises InputError for a unit other than a flux density, and for a masked composite.
    """
    unit = None
    mask = getattr(image, "mask", None)
    if _is_a(image, "astropy.units", "Quantity"):
        unit, image = image.unit, getattr(image, "unmasked", image).value
    elif _is_a(image, "astropy.nddata", "NDData"):
        unit, image = image.unit, image.data
    elif isinstance(image, np.ma.MaskedArray):
        image = image.data
    array = np.asarray(image)
    if unit is not None:
        array = array * _nanomaggies(unit)
    if mask is None or not np.any(mask):
        return array
    if array.dtype.kind not in "f":
        raise InputError(f"Masked images of {array.dtype} cannot be sent; only flux may have masked pixels.")
    return np.where(mask, np.float32(np.nan), array)


def _nanomaggies(unit: Any) -> float:
    """How many nanomaggies a unit is; AB magnitude 0 is 1e9 of them."""
    from astropy import units

    try:
        for each in (unit, unit * units.pix):  # flux per pixel is what the numbers are either way
            if each.is_equivalent(units.nmgy) or each.is_equivalent(units.Jy):
                return float(each.to(units.nmgy, equivalencies=units.zero_point_flux(1 * units.ABflux)))
    except (units.UnitsError, TypeError):
        pass
    raise InputError(
        f"Images in '{unit}' cannot be converted to nanomaggies; give flux density per pixel, such as nJy."
    )


def _is_image(galaxies: Any) -> bool:
    """Whether this turns into one array of numbers, rather than being a collection of images or names."""
    if isinstance(galaxies, np.ndarray):
        return galaxies.dtype.kind not in "UO"
    return hasattr(galaxies, "__array__") or _is_a(galaxies, "astropy.nddata", "NDData")


def _is_a(thing: Any, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, getattr(loaded, name))
