"""Quality flags of a galaxy's stamp, measured on the pixels around it."""

import enum
from math import ceil, floor

import numpy as np

from morph.sizes import FIELD, NETWORK_SIZE


class Flag(enum.IntFlag):
    """What is wrong with a stamp. 0 is a clean one."""

    #: The stamp reaches over the edge of its tile or image.
    EDGE = 1
    #: More than `MASKED_PART` of the stamp's pixels are bad in some band.
    MASKED = 2
    #: A band is missing, or has no data in the whole stamp.
    MISSING_BAND = 4
    #: Pixels of the galaxy itself are saturated.
    SATURATED = 8
    #: The galaxy is too small to show any structure.
    TOO_SMALL = 16
    #: There is nothing to look at: off the tile, never observed there, masked away, or with an unusable position or
    #: size.
    NO_DATA = 32
    #: It shows too little to be classified: a signal-to-noise below 20, or no larger than the tile's point sources.
    UNRESOLVED = 64
    #: It lies within the light of a much brighter source, or along a saturated star's bleed trail.
    PIECE = 128

    @property
    def words(self) -> str:
        """Its name in words: "missing band"."""
        return str(self.name).lower().replace("_", " ")


#: Flags that leave a stamp clean: one band is enough to classify.
HARMLESS = Flag.MISSING_BAND


def is_clean(flags: np.ndarray) -> np.ndarray:
    """Whether nothing is wrong with stamps, but for a band that may be missing: bool [n] of flags int [n]."""
    return (np.asarray(flags) & ~int(HARMLESS)) == 0


#: Up to a twentieth of the stamp masked (a bleed trail, a few cosmic rays), the galaxy's shape still shows.
MASKED_PART = 0.05

#: A point source's half-light radius is half its FWHM, 1.5 to 2 pixels in DES and SDSS; nothing smaller is real.
SMALLEST_RADIUS = 1.5

#: No galaxy in a survey's catalogue has a half-light radius of so many pixels (two arcminutes); a fit that failed may
#: say anything.
LARGEST_RADIUS = 512.0

#: Saturation matters within one half-light radius of the centre: there it bends the galaxy's own profile. Further
#: out it is a neighbouring star's.
SATURATED_REACH = 1.0

#: With data on less than a quarter of the stamp, or none within `CORE` half-light radii of the centre, no band
#: shows the galaxy.
LEAST_DATA = 0.25
CORE = 0.5


def stamp_width(radius: np.ndarray | float, size: int = NETWORK_SIZE) -> np.ndarray | float:
    """Image pixels across a stamp of `size` pixels, for a galaxy of half-light radius `radius` pixels."""
    return FIELD * radius * size / NETWORK_SIZE


def quality_flags(
    image: np.ndarray, x: float, y: float, radius: float, across: float, saturated: np.ndarray | None = None
) -> Flag:
    """The flags MASKED, MISSING_BAND, SATURATED and NO_DATA of a galaxy.

    Parameters
    ----------
    image : [h, w, 3], NaN where there is no data or no such band.
    x, y, radius : the galaxy, pixels of `image`.
    across : pixels of `image` across its stamp.
    saturated : [h, w] bool.

    Returns
    -------
    Flag : the flags that apply.

    >>> quality_flags(np.ones((32, 32, 3)), x=15.5, y=15.5, radius=3.0, across=18.0)
    <Flag: 0>
    """
    height, width = image.shape[:2]
    left, top, right, bottom = window(x, y, across)
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    good = np.isfinite(inside)
    present = good.any(axis=(0, 1))
    flag = Flag(0)
    if present.any() and not present.all():
        flag |= Flag.MISSING_BAND
    if saturated is not None and is_saturated(saturated, x, y, radius):
        flag |= Flag.SATURATED
    core = _near(np.isfinite(image).any(axis=-1), x, y, max(CORE * radius, 1.0))
    if not core or good[..., present].any(axis=-1).sum() < LEAST_DATA * (right - left) * (bottom - top):
        return flag | Flag.NO_DATA
    if (~good[..., present]).mean(axis=(0, 1)).max() > MASKED_PART:
        flag |= Flag.MASKED
    return flag


def is_saturated(saturated: np.ndarray, x: float, y: float, radius: float) -> bool:
    """Whether any pixel within `SATURATED_REACH` half-light radii of a galaxy's centre is saturated.

    Parameters
    ----------
    saturated : bool [h, w].
    x, y, radius : the galaxy's place and half-light radius, pixels.
    """
    return _near(saturated, x, y, max(SATURATED_REACH * radius, 1.0))


def extends_beyond(shape: tuple[int, ...], x: float, y: float, across: float) -> bool:
    """Whether a square extends beyond an image.

    Parameters
    ----------
    shape : the image's height and width.
    x, y, across : the square's centre and side, pixels.
    """
    left, top, right, bottom = window(x, y, across)
    return left < 0 or top < 0 or right > shape[1] or bottom > shape[0]


def window(x: float, y: float, across: float) -> tuple[int, int, int, int]:
    """The pixels that a square touches.

    Parameters
    ----------
    x, y, across : the square's centre and side, pixels.

    Returns
    -------
    Left, top, right and bottom edge, the last two exclusive.

    >>> window(10.0, 10.0, 4.0)
    (8, 8, 13, 13)
    """
    half = across / 2
    return (
        int(np.floor(x - half + 0.5)),
        int(np.floor(y - half + 0.5)),
        int(np.ceil(x + half + 0.5)),
        int(np.ceil(y + half + 0.5)),
    )


def _near(pixels: np.ndarray, x: float, y: float, reach: float) -> bool:
    """Whether any of the pixels (bool [h, w]) within `reach` of a place is set."""
    top, left = max(ceil(y - reach), 0), max(ceil(x - reach), 0)
    box = pixels[top : max(floor(y + reach) + 1, 0), left : max(floor(x + reach) + 1, 0)]
    if not box.any():
        return False
    rows, columns = np.nonzero(box)
    return bool((np.hypot(rows + top - y, columns + left - x) <= reach).any())
