"""Files of colour pictures as viewers show them: JPEG, PNG, TIFF and WebP, whatever their pixels are stored as."""

import math
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from morph.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")

#: Pillow's modes that hold eight bits a channel or fewer.
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")

#: Modes of grey pictures with 16 bits.
GREY_16_BIT = ("I;16", "I;16B", "I;16L", "I")

#: Pixels of the largest picture: more than any galaxy on one, few enough for half a gigabyte.
MOST_PIXELS = 25_000_000

#: By how much JPEG pictures can be made smaller as they are decoded.
REDUCTIONS = (2, 4, 8)

#: The smallest picture, and the smallest crop, in pixels on a side: below it there is nothing to see.
SMALLEST_CROP = 12


def read(path: str | Path) -> np.ndarray:
    """The picture at `path`: uint8 [height, width, 3], R, G, B.

    16 bits a channel are scaled to 8 by the bits that they use; transparent pixels become sky; a picture is
    rotated as its EXIF data say. Raises InputError when the file is missing, is not a picture, is cut short, is
    smaller than `SMALLEST_CROP`, has more than `MOST_PIXELS`, several pictures, or nothing that is not transparent.
    """
    pixels, reduction = read_reduced(path)
    if reduction > 1:
        height, width = (side * reduction for side in pixels.shape[:2])
        raise _too_large(Path(path), width, height)
    return pixels


def read_reduced(path: str | Path) -> tuple[np.ndarray, int]:
    """As `read`, and how many times smaller the picture is on a side than in its file.

    JPEG pictures of more than `MOST_PIXELS` are made smaller as they are decoded, which takes no more time and memory
    than what comes out; all others have their own size.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"No image exists at '{path}'.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures that the limit here allows, or refuses with a sentence.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                reduction = _reduce(picture)
                _check(picture, path)
                pixels = _decode(picture, path)
    except InputError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"'{path}' cannot be read as a picture ({error}); use JPEG, PNG, TIFF, WebP or FITS."
        ) from None
    if min(pixels.shape[:2]) < SMALLEST_CROP:
        raise InputError(
            f"'{path}' is {pixels.shape[1]} x {pixels.shape[0]} px; "
            f"a galaxy needs at least {SMALLEST_CROP} x {SMALLEST_CROP}."
        )
    return pixels, reduction


def too_coarse(path: Path, reduction: int) -> InputError:
    """The error about a picture that could be read at a lower resolution only, at which its galaxy is too small."""
    return InputError(
        f"'{path}' is so large that it was read {reduction} times smaller, and its galaxy is too small for that; "
        "cut the galaxy out."
    )


def _too_large(path: Path, width: int, height: int) -> InputError:
    return InputError(
        f"'{path}' has {width} x {height} px; a picture of one galaxy may have {MOST_PIXELS // 10**6} million: "
        "cut the galaxy out, or make the picture smaller."
    )


def _reduce(picture: Image.Image) -> int:
    """Have a large JPEG picture decoded at a fraction of its size; returns by how much, 1 for other pictures."""
    width, height = picture.size
    # Of a progressive one, the decoder holds all at its full size.
    if picture.format != "JPEG" or width * height <= MOST_PIXELS or picture.info.get("progressive"):
        return 1
    wanted = next((r for r in REDUCTIONS if math.ceil(width / r) * math.ceil(height / r) <= MOST_PIXELS), None)
    if wanted is None:
        return 1
    picture.draft(None, (width // wanted, height // wanted))  # type: ignore[arg-type]  # keeps the mode
    return round(width / picture.size[0])


def _check(picture: Image.Image, path: Path) -> None:
    """InputError for what would not be read right, before any pixel is."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise _too_large(path, width, height)
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        raise InputError(f"'{path}' holds {frames} pictures; save the one that shows the galaxy by itself.")
    if picture.mode not in (*EIGHT_BIT, *GREY_16_BIT):
        raise InputError(f"'{path}' has pixels of kind {picture.mode}; save it with 8 bits a channel.")


def _decode(picture: ImageFile.ImageFile, path: Path) -> np.ndarray:
    """The picture the right way up, as viewers show it: uint8 [height, width, 3]."""
    if picture.mode in GREY_16_BIT:
        values = np.asarray(ImageOps.exif_transpose(picture)).astype("float32")
        if values.min() < 0:
            raise InputError(f"'{path}' has negative pixels; give flux as FITS, or save it with 8 bits a channel.")
        return np.repeat(to_8_bit(values)[..., None], 3, axis=-1)
    if is_16_bit(picture):
        values, alpha = read_16_bit(picture, path)
        colours = to_8_bit(values)
        return colours if alpha is None else _over_sky(colours, alpha, path)
    upright = ImageOps.exif_transpose(picture)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("RGB"))
    layers = np.asarray(upright.convert("RGBA"))
    return _over_sky(layers[..., :3], layers[..., 3] / np.float32(255), path)


def _over_sky(colours: np.ndarray, alpha: np.ndarray, path: Path) -> np.ndarray:
    """Colours, uint8 [height, width, 3], with sky where they are transparent; `alpha` is 0 to 1, [height, width].

    Hidden pixels hold no data: the sky, from the darker half of what is seen, stands there.
    """
    seen = alpha > 0.5
    if not seen.any():
        raise InputError(f"All of '{path}' is transparent; save it without its alpha channel.")
    light = colours[seen].astype("float32")
    brightness = light.sum(axis=-1)
    sky = np.median(light[brightness <= np.median(brightness)], axis=0)
    return np.rint(colours * alpha[..., None] + sky * (1 - alpha[..., None])).astype("uint8")


#: Pillow's names of how pixels are stored, each with the one that takes the other byte of every channel.
_OTHER = {"16B": "16L", "16L": "16B", "16N": "16L" if sys.byteorder == "big" else "16B"}


#: Of pixels that are stored as colours with 16 bits, with an alpha channel, with a channel that means nothing.
_COLOURS = ("RGB", "RGBA", "RGBX")


#: Grey with alpha, for which Pillow has one order of bytes only; the four bytes of a pixel can be had as they are.
_GREY_WITH_ALPHA = "LA;16B"


MOST = 65535


def is_16_bit(picture: Image.Image) -> bool:
    """Whether a picture that was opened, and not read yet, has 16 bits a channel in colour."""
    return any(";16" in _stored(tile) for tile in getattr(picture, "tile", ()))


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Values of 16 bits as uint8, rounded.

    A camera of 10 or 12 bits fills the lower part of 16: white is the most that the bits in use can hold.
    """
    white = max(2 ** int(np.ceil(np.log2(float(values.max()) + 1))) - 1, 255)
    return np.rint(values * np.float32(255 / white)).astype("uint8")


def read_16_bit(picture: ImageFile.ImageFile, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours of a picture that `is_16_bit`, from its file at `path`, the right way up.

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
