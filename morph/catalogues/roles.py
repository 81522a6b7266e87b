"""Which columns of a table hold what a catalogue of galaxies needs."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from astropy import units

from morph.catalogues.columns import (
    ARCSEC_COLUMNS,
    BRICK_COLUMNS,
    BRICK_ID_COLUMNS,
    DEC_COLUMNS,
    ID_COLUMNS,
    INTRINSIC_COLUMNS,
    LARGEST_VALUE,
    PHOTOZ_COLUMNS,
    PIXEL_COLUMNS,
    PRIMARY_COLUMNS,
    RA_COLUMNS,
    SPECTRUM_COLUMNS,
    TILE_COLUMNS,
    X_COLUMNS,
    Y_COLUMNS,
    magnitude_columns,
)
from morph.catalogues.tables import TableFile
from morph.catalogues.values import numbers
from morph.errors import BadInput
from morph.images.photometry import point_source_radius
from morph.surveys import Survey, magnitude

#: How many of a table's own columns a message lists.
LISTED = 12

#: What the three channels' magnitudes are called here, whatever the survey's bands are.
CHANNEL_MAGNITUDES = ("mag_g", "mag_r", "mag_i")


@dataclass(frozen=True)
class Quantity:
    """A column of numbers, and how they become those of `morph`.

    `kind` is "as it is", "flux" (nanomaggies, to become magnitudes), "pixels" or "intrinsic" (a model's half-light
    radius before the point-spread function).
    """

    column: str
    unit: units.UnitBase | None = None
    kind: str = "as it is"


@dataclass(frozen=True)
class Roles:
    """The columns of one table; an empty string or None where there is none.

    Attributes
    ----------
    id : the columns that together name a galaxy; `id_column` is the one that counts within its file.
    ra, dec : positions; where there are none, `x` and `y` hold SExtractor's pixels.
    values : radius, magnitudes and redshift, by their names here.
    primary : whether a row lies in its brick's own area.
    """

    id: tuple[str, ...] = ()
    ra: Quantity | None = None
    dec: Quantity | None = None
    x: str = ""
    y: str = ""
    tilename: str = ""
    primary: str = ""
    values: dict[str, Quantity] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """All that is to be read, each once."""
        quantities = [q for q in (self.ra, self.dec, *self.values.values()) if q is not None]
        named = [*self.id, self.x, self.y, self.tilename, self.primary, *(q.column for q in quantities)]
        return list(dict.fromkeys(name for name in named if name))

    @property
    def radius_column(self) -> str:
        return self.values["radius"].column if "radius" in self.values else ""


def find_roles(table: TableFile, survey: Survey) -> Roles:
    """The columns of a table by their usual names, whatever their case.

    Raises BadInput when there is no right ascension or no declination, and no SExtractor pixels instead.
    """
    names = table.schema.names
    there = {name.lower(): name for name in reversed(names)}

    def first(wanted: Iterable[str]) -> str:
        return next((there[name] for name in wanted if name in there), "")

    def quantity(wanted: Iterable[str], kind: str = "as it is") -> Quantity | None:
        column = first(wanted)
        return Quantity(column, _unit(table.units.get(column)), kind) if column else None

    ra = quantity((table.roles.get("ra", "").lower(), *RA_COLUMNS))
    dec = quantity((table.roles.get("dec", "").lower(), *DEC_COLUMNS))
    x, y = first(X_COLUMNS), first(Y_COLUMNS)
    if ra is None and dec is None and x and y:
        places = {"x": x, "y": y}
    elif ra is None:
        raise _missing(table, RA_COLUMNS, "right ascension")
    elif dec is None:
        raise _missing(table, DEC_COLUMNS, "declination")
    else:
        places = {}
    values = {"radius": _radius(quantity), "redshift": quantity((*SPECTRUM_COLUMNS, *PHOTOZ_COLUMNS))}
    for name, band in zip(CHANNEL_MAGNITUDES, survey.bands, strict=True):
        bands = dict.fromkeys((band, name[-1]))
        values[name] = quantity(column for each in bands for column in magnitude_columns(each))
        fluxes = quantity([f"flux_{band}"], "flux")
        if values[name] is None and fluxes and (first(BRICK_COLUMNS) or "nanomagg" in str(fluxes.unit)):
            values[name] = fluxes
    return Roles(
        id=_id(there),
        ra=ra,
        dec=dec,
        tilename=first(TILE_COLUMNS),
        primary=first(PRIMARY_COLUMNS),
        values={name: value for name, value in values.items() if value is not None},
        **places,
    )


def _id(there: dict[str, str]) -> tuple[str, ...]:
    for name in ("id", *ID_COLUMNS):
        if name in there:
            brick = next((there[b] for b in BRICK_COLUMNS if b in there), None)
            return (brick, there[name]) if brick and name in BRICK_ID_COLUMNS else (there[name],)
    return ()


def _radius(quantity) -> Quantity | None:
    return quantity(ARCSEC_COLUMNS) or quantity(PIXEL_COLUMNS, "pixels") or quantity(INTRINSIC_COLUMNS, "intrinsic")


def _missing(table: TableFile, wanted: tuple[str, ...], what: str) -> BadInput:
    names = table.schema.names
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return BadInput(
        f"The catalogue '{table.path}' has no column with the {what}: looked for {', '.join(wanted)}; "
        f"there are {', '.join(names[:LISTED])}{more}. Rename the one that holds it."
    )


def _unit(text: str | None) -> units.UnitBase | None:
    try:
        return units.Unit(text, parse_strict="silent") if text else None
    except (ValueError, TypeError):
        return None


# --- Values ----------------------------------------------------------------------------------------------


def degrees(rows: pa.Table, quantity: Quantity) -> np.ndarray:
    """Right ascensions or declinations: float64 [n], degrees, NaN where there is none."""
    values = numbers(rows[quantity.column])
    unit = quantity.unit
    return values * unit.to(units.deg) if unit is not None and unit.is_equivalent(units.deg) else values


def in_pixels(quantity: Quantity) -> bool:
    """Whether sizes are in pixels of the image that they were measured on."""
    unit = quantity.unit
    if unit is not None and unit.is_equivalent(units.arcsec):
        return False
    return quantity.kind == "pixels" or unit == units.pix


def radii(rows: pa.Table, quantity: Quantity, survey: Survey) -> np.ndarray:
    """Observed half-light radii: float64 [n], arcsec, NaN where there is none; pixels count as the survey's."""
    radius = numbers(rows[quantity.column])
    unit, intrinsic = quantity.unit, quantity.kind == "intrinsic"
    if in_pixels(quantity):
        radius = radius * survey.pixel_scale
    elif unit is not None and unit.is_equivalent(units.arcsec):
        radius = radius * unit.to(units.arcsec)
    # A model of size 0 is a point source; elsewhere 0 says that nothing was measured.
    radius = np.where(np.isfinite(radius) & ((radius > 0) | (intrinsic & (radius == 0))), radius, np.nan)
    # Widths add in quadrature for Gaussians; for real profiles it is good to a few per cent.
    return np.hypot(radius, point_source_radius(survey)) if intrinsic else radius


def known(rows: pa.Table, quantity: Quantity) -> np.ndarray:
    """Magnitudes or redshifts: float64 [n], NaN where the table has none, or 99 or the like."""
    values = numbers(rows[quantity.column])
    if quantity.kind == "flux":
        values = magnitude(values)
    return np.where(np.abs(values) < LARGEST_VALUE, values, np.nan)
