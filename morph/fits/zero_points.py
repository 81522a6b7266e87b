"""The zero point of an image, and its source.

Fluxes are nanomaggies everywhere in the project, so the counts of an image mean nothing until their zero point is
known. It comes from the caller, from a card of the header, from the unit of the pixels, or from a rule of the survey
whose files these are; from nothing else. Units are astropy's: their case matters, and surface brightness
becomes flux by the solid angle of a pixel.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from morph.errors import InputError
from morph.fits import headers
from morph.surveys import NANOMAGGY_ZERO_POINT

#: No zero point is fainter than this, and none of a survey's coadds is negative.
LARGEST = 60.0

#: Magnitudes by which a card and a unit may differ and still say the same.
SLACK = 0.02

#: What surveys and people write, and what astropy calls it. Whole words, whatever their case: none is ambiguous.
_SPELLINGS = (
    (r"\*\*", "^"),
    (r"\b10\s*\^?\s*\(?(-\d+)\)?(?=[\s*]*[A-Za-zµ])", r"1e\1 "),
    (r"nano-?magg(?:y|ies)", "nmgy"),
    (r"magg(?:y|ies)", "mgy"),
    (r"nano-?jansk(?:y|ies|ys)|nanoJy", "nJy"),
    (r"micro-?jansk(?:y|ies|ys)|microJy", "uJy"),
    (r"milli-?jansk(?:y|ies|ys)|milliJy", "mJy"),
    (r"mega-?jansk(?:y|ies|ys)|megaJy", "MJy"),
    (r"jansk(?:y|ies|ys)", "Jy"),
    (r"pixels?\b", "pix"),
    (r"\bsq\.? ?arcsec|arcsec(?:\^|\*\*)?2\b", "arcsec2"),
)

#: The flux of magnitude 0, and a maggy, which is the same.
_AB = u.ABflux


@dataclass(frozen=True)
class ZeroPoint:
    """AB magnitude of one count, and the source of that number.

    >>> ZeroPoint(30.0, "header MAGZERO")
    ZeroPoint(magnitude=30.0, source='header MAGZERO')
    """

    magnitude: float
    source: str

    @property
    def known(self) -> bool:
        """Whether counts can be turned into magnitudes; not where the caller chose to go on without."""
        return bool(np.isfinite(self.magnitude))

    @property
    def nanomaggies(self) -> float:
        """Of one count; 1 where the zero point is not known."""
        return float(10 ** ((NANOMAGGY_ZERO_POINT - self.magnitude) / 2.5)) if self.known else 1.0


@dataclass(frozen=True)
class Calibration:
    """The caller's calibration of all images, which takes precedence over their headers.

    Attributes
    ----------
    zero_point : AB magnitude of one count; NaN to go on without magnitudes; None to use the headers.
    unit : of the pixels, such as "nJy" or "MJy/sr", instead of the headers'.
    """

    zero_point: float | None = None
    unit: str | None = None

    @classmethod
    def parse(cls, zero_point: str | float | None = None, unit: str | None = None) -> "Calibration":
        """From the options ``--zero-point`` (a magnitude or "none") and ``--unit``.

        Raises InputError when both are given, or one of them cannot be used.
        """
        if zero_point is not None and unit:
            raise InputError("Give --zero-point or --unit, not both: each gives the flux of one count.")
        if unit and flux_of_unit(unit) is None:
            raise InputError(
                f"'{unit}' is not a unit of flux density; use one such as nJy, uJy/pixel, MJy/sr or nmgy."
            )
        if zero_point is None or str(zero_point).strip().lower() == "none":
            return cls(None if zero_point is None else np.nan, unit)
        try:
            magnitude = float(zero_point)
        except ValueError:
            magnitude = np.nan
        if not 0 < magnitude < LARGEST:
            raise InputError(f"--zero-point is '{zero_point}'; give the AB magnitude of one count, or none.")
        return cls(magnitude)

    def __str__(self) -> str:
        """As the options give it; empty where headers are used."""
        if self.zero_point is not None:
            return "zero point none" if np.isnan(self.zero_point) else f"zero point {self.zero_point:g}"
        return f"unit {self.unit}" if self.unit else ""

    def of(self, area: float | None, path: Path) -> ZeroPoint | None:
        """The zero point of an image whose pixels have an area (steradian); None where headers are used."""
        if self.zero_point is not None:
            known = np.isfinite(self.zero_point)
            return ZeroPoint(self.zero_point, "option --zero-point" if known else "none (option --zero-point none)")
        if self.unit:
            found = magnitude_of_unit(self.unit, area)
            if found is None:
                raise InputError(
                    f"--unit {self.unit} needs the size of a pixel on the sky, and '{path}' has no sky coordinates; "
                    "give --zero-point MAG instead."
                )
            return ZeroPoint(found, f"option --unit {self.unit}")
        return None


def describe(points: Mapping[str, ZeroPoint]) -> str:
    """The zero points of some bands and their sources, in words.

    >>> describe({"g": ZeroPoint(30.0, "header MAGZERO"), "r": ZeroPoint(30.0, "header MAGZERO")})
    'g, r: 30.000 by header MAGZERO'
    """
    bands: dict[str, list[str]] = {}
    for band, point in points.items():
        text = f"{point.magnitude:.3f} by {point.source}" if point.known else "none, by --zero-point none"
        bands.setdefault(text, []).append(band)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in bands.items())


#: Use the headers.
HEADERS = Calibration()

#: Magnitudes do not matter.
UNCALIBRATED = Calibration(np.nan)


def zero_point_in(header: fits.Header, path: Path, area: float | None) -> ZeroPoint | None:
    """The zero point in a header: by a card, by FLUXMAG0 (the counts of magnitude 0), or by the pixels' unit.

    A card that is 0 counts as absent, as in images without calibration, and so does a unit that is not one of flux
    density.

    Parameters
    ----------
    area : of a pixel, steradian; None where it is not known.

    Returns
    -------
    ZeroPoint, or None where the header has none.

    Raises
    ------
    InputError : a card is not an AB magnitude; a card and the unit contradict each other; the pixels are magnitudes.
    """
    by_card, by_unit = _by_card(header, path), _by_unit(header, path, area)
    if by_card and by_unit and abs(by_card.magnitude - by_unit.magnitude) > SLACK:
        raise InputError(
            f"The header of '{path}' contradicts itself: one count has magnitude {by_card.magnitude:.3f} by "
            f"{by_card.source.partition(' ')[2]} and {by_unit.magnitude:.3f} by its unit; "
            "give the right one with --zero-point MAG."
        )
    return by_card or by_unit


def unknown_zero_point(header: fits.Header, path: Path) -> InputError:
    """The error that asks for the zero point of an image."""
    unit = headers.value(header, "BUNIT")
    what = f"its unit is '{unit}'" if unit else "it has no unit"
    return InputError(
        f"The zero point of '{path}' is not known: {what}, and no card such as MAGZERO holds it; give "
        "--zero-point MAG (AB magnitude of one count) or --unit UNIT, or --zero-point none to do without magnitudes."
    )


def magnitude_of_unit(text: str, area: float | None = None) -> float | None:
    """AB magnitude of a pixel that holds one of the unit called so; None where it is not a unit of flux density.

    Parameters
    ----------
    area : of the pixel, steradian, by which surface brightness becomes flux.

    >>> round(magnitude_of_unit("nJy"), 2), magnitude_of_unit("10^-9 maggies"), magnitude_of_unit("adu")
    (31.4, 22.5, None)
    """
    found = flux_of_unit(text)
    if found is None:
        return None
    maggies, surface = found
    if surface:
        if area is None:
            return None
        maggies *= area
    return float(np.round(-2.5 * np.log10(maggies), 6))


def flux_of_unit(text: str) -> tuple[float, bool] | None:
    """Maggies in one of the unit, and whether that is per steradian; None where it is not of flux density."""
    unit = _parsed(text)
    if unit is None:
        return None
    for per_pixel in (unit, unit * u.pix):
        for divided, surface in ((per_pixel, False), (per_pixel * u.sr, True)):
            for reference in (u.mgy, _AB):
                try:
                    return float(divided.to(reference)), surface
                except u.UnitConversionError:
                    continue
    return None


def _by_card(header: fits.Header, path: Path) -> ZeroPoint | None:
    for key in headers.ZERO_POINT_CARDS:
        if key not in header or headers.value(header, key) in (0, ""):
            continue
        found = headers.number(header, key)
        if found is None or not 0 < found < LARGEST:
            raise InputError(
                f"{key} in the header of '{path}' is not a magnitude ({headers.as_written(header, key)}); correct it, "
                "or give --zero-point MAG."
            )
        system = next((str(value) for card in headers.SYSTEM_CARDS if (value := headers.value(header, card))), "AB")
        if "vega" in system.lower():
            raise InputError(
                f"{key} in the header of '{path}' is a Vega magnitude; give the AB magnitude of one count with "
                "--zero-point MAG."
            )
        return ZeroPoint(found, f"header {key}")
    flux = headers.number(header, "FLUXMAG0")
    if flux is not None and flux > 0:
        return ZeroPoint(float(2.5 * np.log10(flux)), "header FLUXMAG0")
    return None


def _by_unit(header: fits.Header, path: Path, area: float | None) -> ZeroPoint | None:
    text = str(headers.value(header, "BUNIT") or "")
    unit = _parsed(text)
    if unit is not None and u.mag in getattr(unit, "bases", []):
        raise InputError(f"The pixels of '{path}' are magnitudes (BUNIT '{text}'), not flux; convert them first.")
    if area is None:
        area = headers.number(header, "PIXAR_SR")
    found = magnitude_of_unit(text, area)
    return None if found is None else ZeroPoint(found, f"header BUNIT {text}")


def _parsed(text: str) -> u.UnitBase | None:
    """The unit called so, in the spellings of the FITS standard, astropy and people; None if it is not a unit."""
    text = text.strip().strip("'\"[]").strip()
    if not text:
        return None
    spelled = text
    for wrong, right in _SPELLINGS:
        spelled = re.sub(wrong, right, spelled, flags=re.IGNORECASE)
    for name in dict.fromkeys((text, spelled)):
        for form in ("fits", "generic"):
            try:
                unit = u.Unit(name, format=form)
            except (ValueError, TypeError):
                continue
            return unit if isinstance(unit, u.UnitBase) else None
    return None
