"""Masks whose headers say which bit is which.

Three ways are in use: ``MP_SAT = 1`` gives a bit's number (the pipeline of Rubin and Hyper Suprime-Cam up to Data
Preview 1; Bosch et al. 2018), ``MSKN0001 = 'SATURATED'`` with ``MSKM0001 = 2`` its name and value (the same from Data
Preview 2 on, package lsst.images), and ``MSKNAM05 = 'SAT'`` with ``MSKVAL05 = 32`` likewise (Pan-STARRS).
"""

import re
from collections.abc import Iterable

from astropy.io import fits

from morph.fits import headers

_NAME = re.compile(r"^(?:MSKN(?P<rubin>\d{4})|MSKNAM(?P<panstarrs>\d{2}))$")

#: Names of bits of pixels that are saturated. Rubin's images have values there, from neighbouring pixels, that are not
#: to be trusted in a galaxy, but are no holes.
SATURATED = ("SAT", "SATURATED")

#: Names of bits of pixels whose values are not those of the sky. Others are no reason to leave a pixel out: detected
#: sources, interpolated pixels and cosmic rays (which are interpolated), exposures that were left out of a coadd.
BAD = ("BAD", "NO_DATA", "UNMASKEDNAN")


def named_bits(header: fits.Header) -> dict[str, int]:
    """The bits that the header of a mask names: {name: value}, several bits where one name stands for them."""
    bits: dict[str, int] = {}
    for key in header:
        if key.startswith("MP_"):
            number = headers.number(header, key)
            if number is not None and 0 <= number < 64:
                bits[key[3:]] = 1 << int(number)
        elif match := _NAME.match(key):
            value = f"MSKM{match['rubin']}" if match["rubin"] else f"MSKVAL{match['panstarrs']}"
            if (number := headers.number(header, value)) is not None:
                bits[str(headers.value(header, key))] = int(number)
    return bits


def values_of(bits: dict[str, int], names: Iterable[str]) -> int:
    """The bits of some names together."""
    found = 0
    for name in names:
        found |= bits.get(name, 0)
    return found
