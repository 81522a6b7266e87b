"""Catalogues of galaxies: where they are, how large and how bright, in whatever columns a survey uses."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table

from morph.errors import BadInput
from morph.images.columns import (
    ARCSEC_COLUMNS,
    DEC_COLUMNS,
    ID_COLUMNS,
    INTRINSIC_COLUMNS,
    LARGEST_VALUE,
    MAGNITUDE_COLUMNS,
    PHOTOZ_COLUMNS,
    PIXEL_COLUMNS,
    RA_COLUMNS,
    SPECTRUM_COLUMNS,
    TILE_COLUMNS,
)
from morph.images.photometry import point_source_radius
from morph.surveys import Survey, get_survey

#: How many of a catalogue's own columns a message lists.
LISTED = 12


def read_catalogue(path: str | Path, survey: str = "des") -> Table:
    """The galaxies of a catalogue in FITS, Parquet, CSV, VOTable or ECSV.

    Columns are found by their usual names, whatever their case (see `morph.images.columns`; a plain `id` before all
    others). Galaxies without an id are named by their position.

    Parameters
    ----------
    survey : whose pixel scale holds for sizes in pixels, and whose seeing is added to sizes without it.

    Returns
    -------
    Table with `id` (str), `ra`, `dec` (deg), `radius` (observed half-light radius, arcsec, NaN where the catalogue
    has none), `mag_g`, `mag_r`, `mag_i`, `redshift` (NaN where unknown) and `tilename` (empty where unknown). Its
    `meta` holds `source`, `radius_column` and `digest` (a hash of what is scored: ids, positions and sizes).

    Raises
    ------
    BadInput : the file is missing, no table, or empty; a needed column is missing; a position is no number or off
        the sphere; an id occurs twice.
    """
    path = Path(path)
    known = get_survey(survey)
    raw = _read(path)
    if not len(raw):
        raise BadInput(f"The catalogue '{path}' has no rows; give one with at least one galaxy.")
    there = {name.lower(): raw[name] for name in reversed(raw.colnames) if raw[name].ndim == 1}
    ra = _degrees(_needed(there, RA_COLUMNS, "right ascension", path, raw.colnames), 360, path)
    dec = _degrees(_needed(there, DEC_COLUMNS, "declination", path, raw.colnames), 90, path)
    identifiers = _first(there, ("id", *ID_COLUMNS))
    ids = _position_names(ra, dec) if identifiers is None else _text(identifiers)
    _no_duplicates(ids, path)
    table = Table({"id": ids, "ra": ra, "dec": dec})
    table["radius"], radius_column = _radius(there, known)
    for name, columns in {**MAGNITUDE_COLUMNS, "redshift": (*SPECTRUM_COLUMNS, *PHOTOZ_COLUMNS)}.items():
        column = _first(there, columns)
        values = np.full(len(raw), np.nan) if column is None else _numbers(column)
        table[name] = np.where(np.abs(values) < LARGEST_VALUE, values, np.nan)
    tilename = _first(there, TILE_COLUMNS)
    table["tilename"] = np.full(len(raw), "") if tilename is None else _text(tilename)
    table["ra"].unit = table["dec"].unit = "deg"
    table["radius"].unit = "arcsec"
    table.meta = {"source": str(path), "radius_column": radius_column, "digest": digest(table)}
    return table


def digest(table: Table) -> str:
    """A hash of the ids, positions and sizes in a catalogue."""
    sha = hashlib.sha256("\n".join(map(str, table["id"])).encode())
    for name in ("ra", "dec", "radius"):
        sha.update(np.ascontiguousarray(table[name], dtype="<f8").tobytes())
    return sha.hexdigest()[:16]


# --- Files --------------------------------------------------------------------------------------------


def _read(path: Path) -> Table:
    if not path.is_file():
        raise BadInput(f"There is no catalogue at '{path}'.")
    name = path.name.lower().removesuffix(".gz").removesuffix(".fz")
    try:
        if name.endswith((".parquet", ".parq", ".pq")):
            return _from_arrow(pq.read_table(path))
        if name.endswith((".fits", ".fit")):
            return Table.read(path, format="fits", unit_parse_strict="silent")
        if name.endswith((".vot", ".votable", ".xml")):
            return Table.read(path, format="votable")
        if name.endswith(".ecsv"):
            return Table.read(path, format="ascii.ecsv")
        return _read_text(path)
    # Each of the readers has errors of its own for what it cannot read.
    except Exception as error:
        if isinstance(error, (BadInput, MemoryError)):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise BadInput(
            f"'{path}' cannot be read as a catalogue ({first[:160]}); use FITS, Parquet, CSV, VOTable or ECSV."
        ) from None


def _read_text(path: Path) -> Table:
    """Text with a header line; numbers are parsed later, since an id of 20 digits is not a number."""
    with pa.input_stream(str(path)) as stream:
        head = stream.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()
    first = next((line for line in head if line.strip()), "")
    if not first:
        raise BadInput(f"The catalogue '{path}' is empty.")
    delimiter = max(",;\t", key=first.count)
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    return _from_arrow(table)


def _from_arrow(table: pa.Table) -> Table:
    """The flat columns of an Arrow table; null becomes NaN, or an empty string."""
    columns = {}
    for field in table.schema:
        values = table[field.name]
        whole, text = pa.types.is_integer(field.type), (pa.types.is_string, pa.types.is_large_string)
        if pa.types.is_floating(field.type) or (whole and not values.null_count):
            columns[field.name] = values.to_numpy(zero_copy_only=False)
        elif whole or any(is_text(field.type) for is_text in text):
            columns[field.name] = np.array(["" if v is None else str(v) for v in values.to_pylist()], dtype=str)
    return Table(columns)


# --- Columns ------------------------------------------------------------------------------------------


def _first(there: dict[str, Column], wanted: Iterable[str]) -> Column | None:
    return next((there[name] for name in wanted if name in there), None)


def _needed(there: dict[str, Column], wanted: tuple[str, ...], what: str, path: Path, names: list[str]) -> Column:
    column = _first(there, wanted)
    if column is None:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise BadInput(
            f"The catalogue '{path}' has no column with the {what}: looked for {', '.join(wanted)}; "
            f"there are {', '.join(names[:LISTED])}{more}. Rename the one that holds it."
        )
    return column


def _text(column: Column) -> np.ndarray:
    values = ["" if v is None else v for v in column.tolist()]
    return np.array([(v.decode() if isinstance(v, bytes) else str(v)).strip() for v in values], dtype=str)


def _numbers(column: Column) -> np.ndarray:
    """A column as float64; NaN where there is no number."""
    if column.dtype.kind in "fiu":
        return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    return np.array([_number(value) for value in column.tolist()], dtype=float)


def _number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _unit(column: Column) -> units.UnitBase | None:
    try:
        return units.Unit(column.unit) if column.unit is not None else None
    except (ValueError, TypeError):
        return None


def _degrees(column: Column, largest: float, path: Path) -> np.ndarray:
    values = _numbers(column)
    unit = _unit(column)
    if unit is not None and unit.is_equivalent(units.deg):
        values = values * unit.to(units.deg)
    if not np.isfinite(values).any():
        raise BadInput(f"Column '{column.name}' of '{path}' holds no numbers; positions are in decimal degrees.")
    if np.nanmax(np.abs(values)) > largest:
        raise BadInput(
            f"Column '{column.name}' of '{path}' reaches {np.nanmax(np.abs(values)):g}; "
            f"positions are in degrees, at most {largest:g}."
        )
    return values


def _radius(there: dict[str, Column], survey: Survey) -> tuple[np.ndarray, str]:
    """Observed half-light radii, arcsec, NaN where there is none, and the column that they come from."""
    for wanted, pixels, intrinsic in (
        (ARCSEC_COLUMNS, False, False),
        (PIXEL_COLUMNS, True, False),
        (INTRINSIC_COLUMNS, False, True),
    ):
        column = _first(there, wanted)
        if column is None:
            continue
        radius = _numbers(column)
        unit = _unit(column)
        if unit is not None and unit.is_equivalent(units.arcsec):
            radius = radius * unit.to(units.arcsec)
        elif pixels or unit == units.pix:
            radius = radius * survey.pixel_scale
        # A model of size 0 is a point source; elsewhere 0 says that nothing was measured.
        radius[~np.isfinite(radius) | (radius < 0) | ((radius == 0) & (not intrinsic))] = np.nan
        if intrinsic:
            # Widths add in quadrature for Gaussians; for real profiles it is good to a few per cent.
            radius = np.hypot(radius, point_source_radius(survey))
        return radius, str(column.name)
    return np.full(len(next(iter(there.values()))), np.nan), ""


def _position_names(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """The customary names JHHMMSS.ss+DDMMSS.s of places in degrees."""
    places = SkyCoord(np.nan_to_num(ra), np.nan_to_num(dec), unit="deg")
    hours = places.ra.to_string(unit="hourangle", sep="", precision=2, pad=True)
    degrees = places.dec.to_string(sep="", precision=1, pad=True, alwayssign=True)
    return np.char.add(np.char.add("J", hours), degrees)


def _no_duplicates(identifiers: np.ndarray, path: Path) -> None:
    names, counts = np.unique(identifiers, return_counts=True)
    if "" in names:
        raise BadInput(f"{counts[names == ''][0]} rows of the catalogue '{path}' have no id; every galaxy needs one.")
    twice = names[counts > 1]
    if len(twice):
        raise BadInput(
            f"{len(twice)} ids occur more than once in the catalogue '{path}', the first being '{twice[0]}'; "
            "every galaxy needs its own."
        )
