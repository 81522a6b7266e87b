"""The units of a table's columns: what astropy reads, and what else is written for the same."""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
from astropy import units
from astropy.units import UnitBase

from morph.errors import InputError

#: Spellings that astropy does not read, in lower case: each of these words is one unit's, whatever its case.
_SPELLINGS: dict[str, UnitBase] = {
    **dict.fromkeys(
        ("deg", "degs", "degree", "degrees", "decimal degrees", "°", "d:m:s", "dd:mm:ss", "dms"), units.deg
    ),
    **dict.fromkeys(("rad", "rads", "radian", "radians"), units.rad),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "hourangle", "h:m:s", "hh:mm:ss", "hms"), units.hourangle),
    **dict.fromkeys(("arcmin", "arcmins", "arcminute", "arcminutes", "amin", "'", "′"), units.arcmin),
    **dict.fromkeys(("arcsec", "arcsecs", "arcsecond", "arcseconds", "asec", '"', "''", "″"), units.arcsec),
    **dict.fromkeys(("pix", "pixel", "pixels", "px"), units.pix),
    **dict.fromkeys(
        ("mag", "mags", "magnitude", "magnitudes", "mag(ab)", "mag_ab", "mag ab", "ab", "ab mag", "ab_mag", "abmag"),
        units.mag,
    ),
    **dict.fromkeys(("nmgy", "nanomaggy", "nanomaggies"), units.nmgy),
}

#: What is written where a column has no unit.
_NONE = ("", "-", "--", "---", "none", "null", "nan", "n/a", "unitless", "dimensionless", "1")

#: 3631 Jy, the flux density of AB magnitude 0.
_AB = units.zero_point_flux(3631.1 * units.Jy)


@cache
def read_unit(text: str | None) -> UnitBase | None:
    """The unit that a text stands for, None where it stands for none. ValueError where it is not known."""
    bare = re.sub(r"^\[(.*)\]$|^\((.*)\)$", r"\1\2", (text or "").strip()).strip()
    quoted = bare.strip("\"'")
    for spelling in (bare.lower(), quoted.lower()):
        if spelling in _NONE and bare not in ("'", '"', "''"):
            return None
        if spelling in _SPELLINGS:
            return _SPELLINGS[spelling]
    unit = units.Unit(bare)
    return None if unit == units.dimensionless_unscaled else unit


@dataclass(frozen=True)
class Quantity:
    """A column of numbers, and how they become those of `morph`.

    Attributes
    ----------
    column : its name.
    kind : "right ascension", "declination", "radius" (arcsec where there is no unit), "radius in pixels" (where
        there is no unit), "radius before seeing" (a model's, arcsec), "magnitude", "flux" or "redshift".
    factor : what the numbers are multiplied by, to be degrees, arcsec, pixels, kpc, magnitudes or nanomaggies.
    size : what a radius is measured in: "arcsec", "pixels" or "kpc".
    hours : whether sexagesimal text counts hours.
    """

    column: str
    kind: str
    factor: float = 1.0
    size: str = ""
    hours: bool = False


def as_quantity(column: str, kind: str, unit: str | None, source: str) -> Quantity:
    """A column that is to be read as a position, size, brightness or redshift, with its unit as the file writes it.

    Raises InputError when the unit is not known, or is not one of such a quantity; `source` is the table's name.
    """
    try:
        parsed = read_unit(unit)
    except (ValueError, TypeError):
        raise _wrong(column, kind, unit, source, "which is not a unit that is known") from None
    size, hours, factor = "", False, None
    if kind in ("right ascension", "declination"):
        if kind == "right ascension" and parsed in (None, units.hour, units.hourangle):
            # Without a unit, numbers are degrees, and text with colons is hours, as everywhere in astronomy.
            hours, parsed = True, parsed and units.hourangle
        factor = _factor(parsed or units.deg, units.deg)
    elif kind.startswith("radius"):
        size, factor = _size(parsed, kind)
    elif kind == "magnitude":
        factor = 1.0 if isinstance(parsed, units.MagUnit) else _factor(parsed or units.mag, units.mag)
    elif kind == "flux":
        factor = _factor(parsed or units.nmgy, units.nmgy)
    elif parsed is None:
        factor = 1.0
    if factor is None:
        raise _wrong(column, kind, unit, source, f"which is not a unit of a {_plainly(kind)}")
    return Quantity(column, kind, factor, size, hours)


def _plainly(kind: str) -> str:
    return kind.split(" in ")[0].split(" before")[0]


def _factor(unit: UnitBase, wanted: UnitBase) -> float | None:
    try:
        return 1.0 if unit == wanted else float(unit.to(wanted, equivalencies=_AB))
    except units.UnitConversionError:
        return None


def _size(unit: UnitBase | None, kind: str) -> tuple[str, float | None]:
    if unit is None:
        return ("pixels" if kind == "radius in pixels" else "arcsec"), 1.0
    for size, wanted in (("arcsec", units.arcsec), ("pixels", units.pix), ("kpc", units.kpc)):
        factor = _factor(unit, wanted)
        if factor is not None:
            return size, factor
    return "", None


#: What a unit may be instead.
_EXAMPLES = {
    "right ascension": "deg, hourangle or rad",
    "declination": "deg or rad",
    "radius": "arcsec, arcmin, pix or kpc",
    "magnitude": "mag",
    "flux": "nanomaggy or nJy",
    "redshift": "none",
}


def _wrong(column: str, kind: str, unit: str | None, source: str, why: str) -> InputError:
    what = _plainly(kind)
    return InputError(
        f"Column '{column}' of '{source}' has the unit '{unit}', {why}; convert it or correct its unit "
        f"({_EXAMPLES[what]}), or rename the column so that it is not read as a {what}."
    )


def arcsec_per_kpc(redshift: np.ndarray) -> np.ndarray:
    """The angle of one kpc at these redshifts (Planck Collaboration 2020): float64 [n], NaN where there is none."""
    from astropy.cosmology import Planck18

    grid = np.expm1(np.linspace(np.log1p(1e-4), np.log1p(25.0), 20_000))
    known = np.where((redshift >= grid[0]) & (redshift <= grid[-1]), redshift, np.nan)
    distance = np.interp(known, grid, Planck18.angular_diameter_distance(grid).to_value("kpc"))
    return np.degrees(1 / distance) * 3600
