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

#: Pixels at the edge of what a picture shows whose colours stand for the sky outside it, and by how many times the
#: sky's noise they are brighter than the sky at most.
BORDER = 2
BRIGHTEST_SKY = 2.0

#: Scale length of an exponential disk, pixels of the stamp: its half-light radius over 1.68.
SCALE_LENGTH = NETWORK_SIZE / FIELD / 1.68

#: Less than this part of a pixel is rounding.
ROUNDING = 1e-6

#: A colour that fills more of a picture than this is that of its sky.
MOST_UNCOVERED = 0.5


def crop(pixels: np.ndarray, size: int = NETWORK_SIZE, shape: Shape | None = None) -> tuple[np.ndarray, Shape, float]:
    """Cut a picture to its galaxy.

    The crop spans `FIELD` half-light radii per `NETWORK_SIZE` pixels. Its central `NETWORK_SIZE` pixels never reach
    outside the picture: where the galaxy fills its frame, they are the largest square that fits. A wider stamp has
    the same scale and the same centre, and what of it lies outside the picture is filled with sky (see `_fill`), so
    that a galaxy looks equally large in stamps of every size.

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
    x, y, scale = _view(pixels, shape)
    (left, first, last), (top, upper, lower) = (
        _inside(centre - scale * size / 2, scale, size, length)
        for centre, length in ((x, pixels.shape[1]), (y, pixels.shape[0]))
    )
    # Shrinking averages pixels; enlarging interpolates them.
    method = Image.Resampling.BOX if scale > 1.5 else Image.Resampling.BICUBIC
    right, bottom = left + scale * (last - first), top + scale * (lower - upper)
    box = (left, top, min(right, pixels.shape[1]), min(bottom, pixels.shape[0]))
    seen = np.asarray(Image.fromarray(pixels).resize((last - first, lower - upper), method, box=box))
    return _fill(seen, (upper, size - lower), (first, size - last)), shape, scale


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
    """The flags EDGE, MASKED and NO_DATA of a `crop`: whether it reaches outside its picture, and how much of what it
    shows of the picture is not sky.

    A sky without any noise is flagged, too: it cannot be distinguished from a gap.

    Parameters
    ----------
    pixels : uint8 [height, width, 3].
    shape, scale : as from `crop`.
    size : pixels on a side of the stamp.
    """
    x, y, _ = _view(pixels, shape)
    edge, parts = False, []
    for centre, length in ((y, pixels.shape[0]), (x, pixels.shape[1])):
        start, stop = centre - scale * size / 2, centre + scale * size / 2
        # A crop that is as large as its picture ends at its edges, up to rounding.
        edge |= start < -ROUNDING or stop > length + ROUNDING
        first = max(round(start), 0)
        parts.append(slice(first, max(min(round(stop), length), first + 1)))
    flags = Flag.EDGE if edge else Flag(0)
    missing = find_blank_areas(pixels)[tuple(parts)].mean()
    return flags | (Flag.NO_DATA if missing == 1 else Flag.MASKED if missing > MASKED_PART else Flag(0))


def _view(pixels: np.ndarray, shape: Shape) -> tuple[float, float, float]:
    """The centre of a crop, from the picture's left and upper edge, and the picture's pixels per pixel of the stamp:
    those with which the network's view stays within the picture."""
    height, width = pixels.shape[:2]
    side = float(np.clip(FIELD * shape.radius, SMALLEST_CROP, min(height, width)))
    x, y = (
        float(np.clip(place + 0.5, side / 2, length - side / 2))
        for place, length in ((shape.x, width), (shape.y, height))
    )
    return x, y, side / NETWORK_SIZE


def _inside(start: float, scale: float, size: int, length: int) -> tuple[float, int, int]:
    """Which pixels of a stamp lie wholly on the picture, along one axis: where the first of them starts on the
    picture, its number in the stamp, and the number of the one after the last."""
    first = max(int(np.ceil(-start / scale - ROUNDING)), 0)
    last = min(int(np.floor((length - start) / scale + ROUNDING)), size)
    return max(start + first * scale, 0.0), first, last


def _fill(seen: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Surround the part of a stamp that its picture shows with sky.

    The sky's pixels are those of the edge of what the picture shows that are no brighter than sky and noise, in random
    order, which is the same each time. Light that the picture's edge cuts fades within a few pixels, as that of an
    exponential disk of the galaxy's size does: a hard edge would look like a structure, and a mirrored picture like
    more galaxies.

    Parameters
    ----------
    seen : uint8 [height, width, 3].
    rows, columns : pixels to add before and after.

    Returns
    -------
    uint8, larger by these.
    """
    if not any((*rows, *columns)):
        return seen
    sky = _sky_of(seen)
    places = (np.arange(-before, n + after) for (before, after), n in zip((rows, columns), seen.shape, strict=False))
    down, across = (np.maximum(-at, at - n + 1).clip(0) for at, n in zip(places, seen.shape, strict=False))
    away = np.hypot(down[:, None], across[None, :])
    outside = away > 0
    whole = np.pad(seen, (rows, columns, (0, 0)), mode="edge")
    cut_light = (whole[outside] - np.median(sky, axis=0)) * np.exp(-away[outside] / SCALE_LENGTH)[:, None]
    drawn = sky[np.random.default_rng(0).integers(len(sky), size=len(cut_light))]
    whole[outside] = np.clip(np.rint(drawn + cut_light), 0, 255)
    return whole


def _sky_of(seen: np.ndarray) -> np.ndarray:
    """The pixels of the border of a picture, uint8 [height, width, 3], that show sky: uint8 [n, 3]."""
    light = seen.mean(axis=-1)
    inner = np.zeros(light.shape, dtype=bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    darkest, dark = np.quantile(light[~inner], (0.05, 0.25))
    # Sources make the border brighter, so its darkest pixels are sky: in a Gaussian's, 0.97 sigma lie between these
    # quantiles. A galaxy that fills the picture has larger differences, but not from one pixel to the next.
    steps = np.concatenate([np.diff(line) for line in (light[0], light[-1], light[:, 0], light[:, -1])])
    noise = min((dark - darkest) / 0.97, 2 * 1.05 * float(np.median(np.abs(steps))))
    # A picture's steps are no finer than one.
    return seen[~inner & (light <= darkest + (1.64 + BRIGHTEST_SKY) * max(noise, 1.0))]


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
