"""The cards of a FITS header: zero points, bands, and what a primary header says for all images behind it.

Headers and file names call bands by many names. A band has its letter here where it is one of the optical bands that
surveys share (``g``, ``r``, ``i``...). Bands of other passbands keep names of their own, so that none is taken for
another: ``VIS`` and ``NIR_Y`` of Euclid, ``F606W`` and ``F150W`` of the space telescopes, ``J``, ``H``, ``Ks``.
"""

import re

import numpy as np
from astropy.io import fits

#: Cards that hold the AB magnitude of one count, in the order in which they are believed.
ZERO_POINT_CARDS = (
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "ZEROPNT",
    "ZEROPOIN",
    "MAG_ZERO",
    "PHOTZP",
    "PHOT_ZP",
    "ABZP",
    "MZP_AB",
    "ZP",
    "ZPAPPROX",
)


#: Cards that name the system of the magnitudes in the cards above.
SYSTEM_CARDS = ("MAGSYS", "PHOTSYS", "PHOT_SYS", "ZPSYS", "MAGTYPE")


#: Cards that hold a band, in the order in which they are believed. Rubin's Butler writes ``LSST BUTLER DATAID BAND``,
#: Pan-STARRS ``FPA.FILTER``, KiDS ``FILT_ID``, SkyMapper ``FILTNAME``, Hubble's ACS a filter in each of two wheels,
#: Webb one more in PUPIL.
BAND_CARDS = (
    "BAND",
    "LSST BUTLER DATAID BAND",
    "FILTBAND",
    "PUPIL",
    "FILTER",
    "FPA.FILTERID",
    "FPA.FILTER",
    "FILT_ID",
    "FILTNAME",
    "FILTER1",
    "FILTER2",
)


#: Cards of a primary header that count for all the images behind it.
INHERITED = (
    *ZERO_POINT_CARDS,
    *SYSTEM_CARDS,
    *BAND_CARDS,
    *("FLUXMAG0", "BUNIT", "TILENAME", "SATURATE", "SOFTNAME"),
    *("TELESCOP", "INSTRUME", "OBJECT", "EXPTIME", "PHOTFLAM", "PHOTPLAM", "PIXAR_SR", "FPA.ZP"),
    "PROCTYPE",
    "PLVER",
    *("BRICK", "BRICKNAM", "TILEID", "SKYCELL", "FPA.INSTRUMENT"),
    *(f"LSST BUTLER DATAID {key}" for key in ("TRACT", "PATCH", "INSTRUMENT")),
)


def value(header: fits.Header, key: str) -> bool | int | float | str | None:
    """The value of `key`; None where the header has none, or none that FITS allows."""
    try:
        found = header.get(key)
    except fits.VerifyError:
        return None
    return found.strip() if isinstance(found, str) else found if isinstance(found, (int, float)) else None


def number(header: fits.Header, key: str) -> float | None:
    """The finite number that the header has for `key`; None where it has none."""
    found = value(header, key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not np.isfinite(found):
        return None
    return float(found)


def as_written(header: fits.Header, key: str) -> str:
    """A value as it stands in the header, whether FITS allows it or not."""
    try:
        return header.cards[key].image.partition("=")[2].partition("/")[0].strip()
    except (ValueError, fits.VerifyError):  # bytes that FITS does not allow
        return "not readable"


def with_primary(header: fits.Header, primary: fits.Header) -> fits.Header:
    """An image's header with the cards that it inherits from the file's primary header (`INHERITED`)."""
    header = header.copy()
    for key in INHERITED:
        if key in primary and key not in header:
            header.append(primary.cards[key])
    return header


#: What may stand before a letter. With one of these, the letter's case does not matter.
_SYSTEM = (
    "HSC|SDSS|SLOAN|DES|DECAM|DECALS|LSST|LSSTCAM|LSSTCOMCAM|COMCAM|PS1|PANSTARRS|GPC1|OCAM|OMEGACAM|MEGACAM|CFHT|CFIS"
    "|WISHES|BASS|MZLS|SKYMAPPER"
)


_PREFIXED = re.compile(rf"^(?:{_SYSTEM})[-_. ]?(?P<band>[ugrizy])[p']?2?(?![a-z0-9])", re.IGNORECASE)


#: A letter alone, as in ``g``, ``r'``, ``i.MP9701``, ``r_03`` and ``r DECam SDSS c0002``. Capitals are other systems'
#: (R and I are Cousins's), but for Y, of which there is one.
_LETTER = re.compile(r"^(?P<band>[ugrizyY])[p']?(?![A-Za-z0-9])")


_SPACE = re.compile(r"^F\d{3,4}(?:W2?|M|N|LP|X)$", re.IGNORECASE)


_EUCLID = re.compile(r"^(?:NIR|NISP|VIS)?[-_]?(?P<band>VIS|[YJH])$", re.IGNORECASE)


_INFRARED = re.compile(r"^(?:J|H|K|Ks)$")


def band_called(text: str) -> str | None:
    """The band that a header or file name calls `text`; None where it is not a known band.

    >>> [band_called(text) for text in ("HSC-R2", "g_01", "NIR-Y", "f606w", "R", "CLEAR")]
    ['r', 'g', 'NIR_Y', 'F606W', None, None]
    """
    text = text.strip()
    if _SPACE.match(text):
        return text.upper()
    if match := _PREFIXED.match(text) or _LETTER.match(text):
        letter = match["band"].lower()
        return "Y" if letter == "y" else letter
    if len(text) > 1 and (match := _EUCLID.match(text)):
        found = match["band"].upper()
        return found if found == "VIS" else f"NIR_{found}"
    return text if _INFRARED.match(text) else None


def band_of(header: fits.Header) -> str | None:
    """The band in a header, by the first of `BAND_CARDS` that holds one; None if none does."""
    for card in BAND_CARDS:
        try:
            found = band_called(str(header.get(card) or ""))
        except fits.VerifyError:
            continue
        if found:
            return found
    return None
