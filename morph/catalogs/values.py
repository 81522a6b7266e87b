"""A table's columns as numbers, text, identifiers, positions and quantities with units, however they are stored."""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units
from astropy.coordinates import Angle, IllegalHourError
from astropy.units import UnitBase

from morph.console import counted
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
    """A column that is to be read as a position, size, brightness or redshift.

    Parameters
    ----------
    column : its name.
    kind : see `Quantity`.
    unit : as the file writes it; None without.
    source : the table's name, for messages.

    Raises
    ------
    InputError : the unit is not known, or is not one of such a quantity.

    >>> as_quantity("R50", "radius", "arcmin", "a.fits").factor
    60.0
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


#: Whole numbers from here on are not all different as floats of 64 and of 32 bits.
_LARGEST_WHOLE = {pa.float64(): 2.0**53, pa.float32(): 2.0**24, pa.float16(): 2.0**11}


#: Whole numbers as a program writes them that took them for floats, without and with loss.
_WHOLE = r"^[0-9]{1,15}\.0*$"


_ROUNDED = r"^[0-9](\.[0-9]+)?[eE]\+?[0-9]+$"


#: What is written where there is nothing.
_NOTHING = pa.array(["", "nan", "null", "none", "n/a", "na", "--", "-", "...", "masked"])


#: Redshifts and magnitudes of galaxies lie between these; what tables write for "missing" (-1, -9.999, 99) does not.
POSSIBLE = {"redshift": (-0.01, 20.0), "magnitude": (0.0, 50.0)}


_MARKS = (9.99, 9.999, 9.9999, 9.99999)


def numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column as float64 [n]; NaN where there is no number."""
    column = _plain(column)
    if pa.types.is_string(column.type):
        try:
            column = blank_is_null(column).cast(pa.float64())
        except pa.ArrowInvalid:
            return np.array([_number(value) for value in column.to_pylist()], dtype=float)
    try:
        values = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.full(len(column), np.nan)
    return np.array(values.fill_null(np.nan).to_numpy(zero_copy_only=False), dtype=float)


def _number(value: str | None) -> float:
    try:
        return float(value) if value and "_" not in value else np.nan
    except ValueError:
        return np.nan


def not_numbers(column: pa.ChunkedArray | pa.Array, values: np.ndarray) -> int:
    """How many of a column's values hold something that is not a number."""
    if not np.isnan(values).any():
        return 0
    column = _plain(column)
    if not pa.types.is_string(column.type):
        return 0
    nothing = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column.fill_null(""))), _NOTHING)
    return int((np.isnan(values) & ~np.asarray(nothing)).sum())


def unknown_values(column: str, count: int) -> str:
    """A note on values of a column that `measured` left out."""
    return f"{counted(count, 'value')} of '{column}' count as unknown: impossible (such as -1 or 99), or not numbers"


def texts(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as text without blanks around it; empty where there is nothing.

    Whole numbers that a table keeps as floats, because it has gaps, lose their ".0".
    """
    column = _plain(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        if pc.all(pc.equal(pc.round(column), column)).as_py() is not False and not _is_rounded(column):
            column = column.cast(pa.int64(), safe=False)
    try:
        return pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
    except pa.ArrowNotImplementedError:
        return pa.array(["" if value is None else str(value) for value in column.to_pylist()], pa.string())


def identifiers(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column of identifiers as text; see `texts`. "0007" stays "0007", a column like "12.0" becomes "12"."""
    found = texts(column)
    if pa.types.is_string(_plain(column).type) and _all_match(found, _WHOLE):
        return pc.replace_substring_regex(found, r"\.0*$", "")
    return found


def _all_match(found: pa.Array, pattern: str) -> bool:
    written = found.filter(pc.not_equal(found, ""))
    return len(written) > 0 and bool(pc.all(pc.match_substring_regex(written, pattern)).as_py())


def check_digits(column: pa.ChunkedArray | pa.Array, name: str, source: str) -> None:
    """Check that a column of identifiers holds all their digits.

    Parameters
    ----------
    name, source : the column's and the table's name, for messages.

    Raises
    ------
    InputError : identifiers were stored as floating-point numbers that do not hold all their digits.
    """
    column = _plain(column)
    found = texts(column)
    if _is_rounded(column) if pa.types.is_floating(column.type) else _all_match(found, _ROUNDED):
        raise InputError(
            f"The identifiers in column '{name}' of '{source}' were kept as floating-point numbers and have lost "
            f"digits (such as {next(value for value in found.to_pylist() if value)}); write them as integers or text."
        )
    return found


def _is_rounded(column: pa.Array) -> bool:
    largest = pc.max(pc.abs(column.cast(pa.float64()))).as_py()
    return largest is not None and np.isfinite(largest) and largest >= _LARGEST_WHOLE[column.type]


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array, not encoded by a dictionary; text and bytes as `string`."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        try:
            column = column.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            column = pa.array([None if v is None else v.decode("latin-1") for v in column.to_pylist()], pa.string())
        return pc.utf8_rtrim(column, "\0")
    return column


def blank_is_null(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Text without blanks around it; null where there is nothing else."""
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def degrees(column: pa.ChunkedArray | pa.Array, quantity: Quantity) -> np.ndarray:
    """Right ascensions or declinations: float64 [n], degrees, NaN where there is none.

    Text such as "03:56:21.6", "03 56 21.6" or "59d05m24s" is read as well. Raises InputError where right ascensions
    that should be hours go beyond 24.
    """
    column = _plain(column)
    values = numbers(column) * quantity.factor
    if not pa.types.is_string(column.type) or not np.isnan(values).any():
        return values
    text = pc.utf8_trim_whitespace(column.fill_null(""))
    found = np.flatnonzero(np.isnan(values) & np.asarray(pc.match_substring_regex(text, r"^[-+]?[0-9]+[:\shd°]")))
    if not len(found):
        return values
    values[found] = _angles(text.take(found).to_pylist(), quantity)
    return values


def _angles(written: list[str], quantity: Quantity) -> np.ndarray:
    unit = units.hourangle if quantity.hours else units.deg
    try:
        return Angle(written, unit=unit).deg
    except (ValueError, TypeError):
        return np.array([_angle(text, unit, quantity.column) for text in written])


def _angle(text: str, unit: units.UnitBase, column: str) -> float:
    try:
        return float(Angle(text, unit=unit).deg)
    except IllegalHourError:
        raise InputError(
            f"Column '{column}' holds '{text}', which is beyond 24 hours; if these are degrees, give the column the "
            "unit deg or convert it to decimal degrees."
        ) from None
    except (ValueError, TypeError):
        return np.nan


def measured(column: pa.ChunkedArray | pa.Array, quantity: Quantity) -> tuple[np.ndarray, int]:
    """Magnitudes, redshifts or fluxes, and how many of the values cannot be one.

    Returns
    -------
    float64 [n], NaN where there is none, or where the table's value is text or not possible (see `POSSIBLE`): a mark
    for a missing one.
    """
    values = numbers(column)
    wrong = not_numbers(column, values)
    values = values * quantity.factor
    if quantity.kind == "flux":
        return values, wrong
    low, high = POSSIBLE[quantity.kind]
    bad = (values <= low) | (values >= high)
    if quantity.kind == "redshift":
        bad |= np.isclose(values[:, None], _MARKS, rtol=1e-6, atol=0).any(axis=1)
    return np.where(bad, np.nan, values), wrong + int(bad.sum())
