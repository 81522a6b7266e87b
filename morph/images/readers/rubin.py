"""Masks of the Rubin Observatory's and Hyper Suprime-Cam's pipeline: IMAGE, MASK and VARIANCE in one file.

The header of MASK says which bit is which, as ``MP_SAT = 1``; a pixel with a bit set need not be bad, since detected
sources are marked too. Bosch et al. (2018), PASJ 70, S5, section 2.
"""

from collections.abc import Sequence
from dataclasses import replace

from morph.images import headers
from morph.images.hdus import Image
from morph.images.planes import Planes

#: Marks of pixels whose values are not those of the sky, and of saturated ones.
BAD = ("BAD", "NO_DATA", "CR", "UNMASKEDNAN")
SATURATED = ("SAT",)


def with_described_mask(planes: Planes, images: Sequence[Image]) -> Planes:
    """A band with the mask of its file, where that is of this pipeline; the same otherwise."""
    mask = next((image for image in images if image.name == "MASK" and "MP_BAD" in image.header), None)
    if mask is None:
        return planes
    bad, saturated = (sum(_bit(mask, name) for name in names) for names in (BAD, SATURATED))
    return replace(planes, mask=mask.plane, bad_bits=bad, saturated_bits=saturated)


def _bit(mask: Image, name: str) -> int:
    number = headers.number(mask.header, f"MP_{name}")
    return 0 if number is None else 1 << int(number)
