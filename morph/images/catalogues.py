"""Catalogues of galaxies, as surveys and people write them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import angular_separation
from astropy.table import Table

from morph.errors import BadInput
from morph.images.planes import is_fits
from morph.images.sources import measure_radii, position_name
from morph.images.tiles import Tile
from morph.surveys import get_survey

#: The names under which each column is looked for, in order of preference, whatever their case. `radius_pixels` is
#: SExtractor's; `radius_intrinsic` is a model's before the point-spread function (Tractor), arcsec.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "coadd_object_id", "objid", "object_id", "objectid", "source_id", "iauname", "name", "number"),
    "ra": ("ra", "alphawin_j2000", "alpha_j2000", "raj2000", "ra_deg", "ra_icrs"),
    "dec": ("dec", "deltawin_j2000", "delta_j2000", "dej2000", "decj2000", "dec_deg", "de_icrs", "decl"),
    "tile": ("tilename", "tile"),
    "radius": ("radius", "half_light_radius", "radius_arcsec"),
    "radius_pixels": ("flux_radius_r", "flux_radius_i", "flux_radius_g", "flux_radius"),
    "radius_intrinsic": ("shape_r",),
    "mag_g": ("mag_g", "mag_auto_g", "gmag"),
    "mag_r": ("mag_r", "mag_auto_r", "rmag"),
    "mag_i": ("mag_i", "mag_auto_i", "imag"),
    "redshift": ("redshift", "zspec", "z_spec", "zphot", "z_phot", "dnf_zmean_sof"),
}

#: Without these a catalogue says nothing.
NEEDED = ("ra", "dec")

#: How astropy names the formats, by the file's ending.
FORMATS = {
    ".csv": "ascii.csv",
    ".tsv": "ascii.tab",
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
}


def read_catalogue(path: str | Path, survey: str = "des", columns: Mapping[str, str] | None = None) -> Table:
    """The galaxies in a FITS, Parquet, CSV, ECSV or VOTable file.

    Parameters
    ----------
    survey : its pixel scale turns SExtractor's radii into arcsec, and its seeing widens a model's radii to what is
        observed (in quadrature, both being half-light radii).
    columns : {what: the catalogue's column} where it has another name than those of `ALIASES`.

    Returns
    -------
    Table with `id` (text; made from the position where the catalogue has none), `ra`, `dec` (deg), `radius`
    (half-light as observed, arcsec), `mag_g`, `mag_r`, `mag_i`, `redshift` (NaN where unknown), `tile` (empty where
    unknown).

    Raises
    ------
    BadInput : there is no such file, it cannot be read, it has no rows, lacks a needed column, or has an id twice.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no catalogue '{path}'.")
    names, load = _open(path)
    found = _find(path, names, columns or {})
    raw = load(list(found.values()))
    size = len(raw)
    if not size:
        raise BadInput(f"The catalogue '{path}' has no rows.")

    def numbers(what: str) -> np.ndarray:
        return _numbers(raw, found[what], path) if what in found else np.full(size, np.nan)

    table = Table({"ra": numbers("ra"), "dec": numbers("dec")})
    table["ra"][~(np.abs(table["dec"]) <= 90)] = np.nan
    if not np.isfinite(table["ra"]).any():
        raise BadInput(
            f"The catalogue '{path}' has no valid position; '{found['ra']}' and '{found['dec']}' are in deg."
        )
    table["radius"] = _observed_radius(numbers, survey)
    for what in ("mag_g", "mag_r", "mag_i", "redshift"):
        table[what] = numbers(what)
    table["tile"] = _texts(raw[found["tile"]]) if "tile" in found else np.full(size, "", dtype=object)
    table["id"] = _texts(raw[found["id"]]) if "id" in found else _position_names(table)
    unique, counts = np.unique(table["id"].astype(str), return_counts=True)
    if len(unique) < size:
        first = unique[counts.argmax()]
        raise BadInput(
            f"The catalogue '{path}' has ids that occur twice ({size - len(unique)} rows too many, '{first}' "
            f"{counts.max()} times); every galaxy needs its own."
        )
    return table


def on_tile(catalogue: Table, tile: Tile) -> Table:
    """The rows of a catalogue that belong to a tile, with their places `x`, `y` (pixels, 0-based).

    A row belongs to the tile that its `tile` names, even where it lies off its images; without a name, to each tile
    that it lies on. Neighbouring DES tiles overlap, so a galaxy in the overlap is scored once, on the tile that its
    TILENAME gives. Radii that the catalogue lacks are measured on the images.
    """
    height, width = tile.shape
    x, y = _project(catalogue, tile)
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    named = catalogue["tile"].astype(str)
    elsewhere = (named != "") & (named != tile.tilename) if tile.tilename else np.zeros(len(named), dtype=bool)
    ours = (named == tile.name) | (inside & ~elsewhere)
    rows = catalogue[ours]
    rows["x"], rows["y"] = x[ours], y[ours]
    unknown = ~(np.asarray(rows["radius"], dtype=float) > 0)
    if unknown.any():
        rows["radius"][unknown] = measure_radii(tile, rows["x"][unknown], rows["y"][unknown]) * tile.pixel_scale
    return rows


def _project(catalogue: Table, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates; NaN far from the tile, where a tangent plane folds the other half of the sky onto it."""
    height, width = tile.shape
    ra, dec = (np.asarray(catalogue[name], dtype=float) for name in ("ra", "dec"))
    centre = np.deg2rad(tile.wcs.all_pix2world((width - 1) / 2, (height - 1) / 2, 0))
    reach = np.deg2rad(np.hypot(height, width) * tile.pixel_scale / 3600)
    near = angular_separation(np.deg2rad(ra), np.deg2rad(dec), *centre) < reach
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    if near.any():
        x[near], y[near] = tile.wcs.all_world2pix(ra[near], dec[near], 0)
    return x, y


def _open(path: Path):
    """The names of a file's columns, and a function that reads some of them."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            names = pq.read_schema(path).names
            return names, lambda wanted: _from_arrow(pq.read_table(path, columns=wanted))
        kind = "fits" if is_fits(path) else FORMATS.get(path.suffix.lower())
        if kind is None:
            raise BadInput(f"'{path}' is no known kind of catalogue; use FITS, Parquet, CSV, ECSV or VOTable.")
        table = Table.read(path, format=kind)
    except BadInput:
        raise
    except Exception as error:  # every format's reader has its own exceptions
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise BadInput(f"The catalogue '{path}' cannot be read ({reason}).") from None
    return table.colnames, lambda wanted: table[wanted]


def _from_arrow(table: pa.Table) -> Table:
    return Table({name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names})


def _find(path: Path, names: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Which column of the catalogue holds what."""
    by_lower = {name.lower(): name for name in names}
    found: dict[str, str] = {}
    for what in given:
        if what not in ALIASES:
            raise BadInput(f"A catalogue has no '{what}' to be named; the columns are {', '.join(ALIASES)}.")
        if given[what].lower() not in by_lower:
            raise BadInput(f"The catalogue '{path}' has no column '{given[what]}'; it has {_list(names)}.")
    for what, aliases in ALIASES.items():
        for name in (given[what],) if what in given else aliases:
            if name.lower() in by_lower:
                found[what] = by_lower[name.lower()]
                break
    for what in NEEDED:
        if what not in found:
            raise BadInput(
                f"The catalogue '{path}' has no column for '{what}' (looked for {', '.join(ALIASES[what])}); "
                f"it has {_list(names)}."
            )
    return found


def _list(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _numbers(table: Table, name: str, path: Path) -> np.ndarray:
    column = table[name]
    if hasattr(column, "filled") and column.dtype.kind == "f":
        column = column.filled(np.nan)
    try:
        values = np.ma.filled(np.ma.asarray(column).astype(float), np.nan)
    except (ValueError, TypeError):
        raise BadInput(f"Column '{name}' of the catalogue '{path}' does not hold numbers.") from None
    return np.asarray(values, dtype=float)


def _texts(column) -> np.ndarray:
    """A column as text, trimmed; whole numbers as such, even where gaps have made them floats."""
    texts = []
    for value in np.ma.asarray(column).tolist():
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        texts.append("" if value is None else str(value).strip())
    return np.array(texts, dtype=object)


def _position_names(table: Table) -> np.ndarray:
    names = [
        position_name(ra, dec) if np.isfinite([ra, dec]).all() else f"row-{row}"
        for row, (ra, dec) in enumerate(zip(table["ra"], table["dec"], strict=True))
    ]
    return np.array(names, dtype=object)


def _observed_radius(numbers, survey: str) -> np.ndarray:
    """Half-light radii as observed, arcsec, from whichever of the three kinds each row has."""
    known = get_survey(survey)
    intrinsic = np.where(numbers("radius_intrinsic") > 0, numbers("radius_intrinsic"), np.nan)
    choices = (
        numbers("radius"),
        numbers("radius_pixels") * known.pixel_scale,
        np.hypot(intrinsic, known.seeing[1] / 2),
    )
    radius = np.full(len(choices[0]), np.nan)
    for choice in choices:
        usable = np.isnan(radius) & np.isfinite(choice) & (choice > 0)
        radius[usable] = choice[usable]
    return radius
