"""Colour composites: JPEG, PNG, TIFF and WebP pictures of single galaxies."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from morph.errors import BadInput
from morph.images.flags import MASKED_PART, Flag
from morph.images.repeats import without_data
from morph.images.size import Shape, measure
from morph.images.stretch import from_composite
from morph.stamps import FIELD, NETWORK_SIZE, STAMP_SIZE

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")

#: Pillow's modes that hold eight bits a channel or fewer.
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")

#: Modes of grey pictures with 16 bits.
DEEP_GREY = ("I;16", "I;16B", "I;16L", "I")

#: Pixels of the largest picture: more than any galaxy on one, few enough for half a gigabyte.
MOST_PIXELS = 25_000_000

#: The smallest crop, in pixels of the picture: below it there is nothing to see.
SMALLEST_CROP = 12

#: What a star or a galaxy too bright for the picture is shown as.
WHITE = 0xFFFFFF

#: A colour that fills more of a picture than this is that of its sky.
MOST_UNCOVERED = 0.5


def read(path: str | Path) -> np.ndarray:
    """The picture at `path`: uint8 [height, width, 3], R, G, B.

    Grey of 16 bits is scaled to 8 by the bits that it uses; transparent pixels become sky; a picture stands as its
    EXIF says. BadInput when the file is missing, is no picture, is cut short, is smaller than `SMALLEST_CROP`, has
    more than `MOST_PIXELS`, 16 bits a channel in colour, several pictures, or nothing that is not transparent.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no image at '{path}'.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures that the limit here allows, or refuses with a sentence.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                _check(picture, path)
                pixels = _decode(picture, path)
    except BadInput:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"'{path}' cannot be read as a picture ({error}); use JPEG, PNG, TIFF, WebP or FITS.") from None
    if min(pixels.shape[:2]) < SMALLEST_CROP:
        raise BadInput(
            f"'{path}' is {pixels.shape[1]} x {pixels.shape[0]} px; "
            f"a galaxy needs at least {SMALLEST_CROP} x {SMALLEST_CROP}."
        )
    return pixels


def _check(picture: Image.Image, path: Path) -> None:
    """BadInput for what would not be read right, before any pixel is."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise BadInput(
            f"'{path}' has {width} x {height} px; a picture of one galaxy may have {MOST_PIXELS // 10**6} million: "
            "cut the galaxy out, or make the picture smaller."
        )
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        raise BadInput(f"'{path}' holds {frames} pictures; save the one that shows the galaxy by itself.")
    if picture.mode not in (*EIGHT_BIT, *DEEP_GREY):
        raise BadInput(f"'{path}' has pixels of kind {picture.mode}; save it with 8 bits a channel.")
    if picture.mode not in DEEP_GREY and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        # Pillow would drop the lower eight bits, and with them all of what a 12-bit camera saw of the sky.
        raise BadInput(
            f"'{path}' has 16 bits a channel in colour, which cannot be read; scale its values to 0 ... 255 "
            "and save it with 8 bits a channel."
        )


def _decode(picture: Image.Image, path: Path) -> np.ndarray:
    """The picture the right way up, as viewers show it: uint8 [height, width, 3]."""
    upright = ImageOps.exif_transpose(picture)
    if picture.mode in DEEP_GREY:
        values = np.asarray(upright).astype("float32")
        if values.min() < 0:
            raise BadInput(f"'{path}' has negative pixels; give flux as FITS, or save it with 8 bits a channel.")
        # A camera of 10 or 12 bits fills the lower part of 16: white is the most that its bits can hold.
        white = max(2 ** int(np.ceil(np.log2(float(values.max()) + 1))) - 1, 255)
        return np.repeat(np.rint(values * (255 / white)).astype("uint8")[..., None], 3, axis=-1)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("RGB"))
    layers = np.asarray(upright.convert("RGBA"))
    colours, alpha = layers[..., :3], layers[..., 3:] / np.float32(255)
    seen = layers[..., 3] > 127
    if not seen.any():
        raise BadInput(f"All of '{path}' is transparent; save it without its alpha channel.")
    # Hidden pixels hold no data: the sky, from the darker half of what is seen, stands there.
    light = colours[seen].astype("float32")
    brightness = light.sum(axis=-1)
    sky = np.median(light[brightness <= np.median(brightness)], axis=0)
    return np.rint(colours * alpha + sky * (1 - alpha)).astype("uint8")


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
        blank = uncovered(pixels)
        mask = blank if blank.mean() <= MOST_UNCOVERED else None
        shape = measure(from_composite(pixels).mean(axis=-1), mask=mask)
    left, top, side = _box(pixels, shape, FIELD * shape.radius * size / NETWORK_SIZE)
    # Shrinking averages pixels; enlarging interpolates them.
    method = Image.Resampling.BOX if side > 1.5 * size else Image.Resampling.BICUBIC
    picture = Image.fromarray(pixels).resize((size, size), method, box=(left, top, left + side, top + side))
    return np.asarray(picture), shape, side / size


def uncovered(pixels: np.ndarray) -> np.ndarray:
    """Where a picture shows no sky, but the one colour of a border, a gap or a corner: bool [height, width].

    The sky of a picture may be one colour, too. It is in many small pieces then, and no piece is taken for a gap.
    """
    red, green, blue = np.moveaxis(pixels.astype("int32"), -1, 0)
    colour = (red << 16) | (green << 8) | blue
    found = np.zeros(colour.shape, dtype=bool)
    found.flat[without_data(colour)[0]] = True
    return found & (colour != WHITE)


def flags_of(pixels: np.ndarray, shape: Shape, scale: float, size: int) -> Flag:
    """The flags MASKED and NO_DATA of a `crop`, whose shape and scale these are: how much of it is `uncovered`.

    A sky without any noise is flagged, too: nobody can tell it from no sky at all.
    """
    left, top, side = _box(pixels, shape, scale * size)
    rows, columns = (slice(round(start), max(round(start + side), round(start) + 1)) for start in (top, left))
    missing = uncovered(pixels)[rows, columns].mean()
    return Flag.NO_DATA if missing == 1 else Flag.MASKED if missing > MASKED_PART else Flag(0)


def _box(pixels: np.ndarray, shape: Shape, side: float) -> tuple[float, float, float]:
    """The left and upper edge and the side of a crop, which stays within the picture."""
    height, width = pixels.shape[:2]
    side = float(np.clip(side, SMALLEST_CROP, min(height, width)))
    left = float(np.clip(shape.x + 0.5 - side / 2, 0, width - side))
    top = float(np.clip(shape.y + 0.5 - side / 2, 0, height - side))
    return left, top, side


def stamp_from_file(path: str | Path, size: int = STAMP_SIZE) -> tuple[np.ndarray, Shape, float]:
    """`read` and `crop` in one step."""
    return crop(read(path), size)
