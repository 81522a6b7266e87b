"""Which galaxy a transient belongs to.

Galaxies around a transient are ranked by the distance in directional light radii (Sullivan et al. 2006, Gupta et al.
2016). The probability that one is the host compares, for every galaxy, how much of its light lies at the transient's
place: a rate in proportion to the light, an exponential and a de Vaucouleurs profile in equal parts, against a
transient without a listed host anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord, search_around_sky

from morph.catalogs.base import TableFile
from morph.catalogs.column_mapping import map_columns, radii
from morph.catalogs.directional_radius import directional_distance
from morph.catalogs.tables import open_tables
from morph.catalogs.values import degrees, identifiers, measured, numbers
from morph.errors import InputError
from morph.surveys import NANOMAGGY_ZERO_POINT, UNKNOWN, Survey, get_survey

#: Beyond so many directional light radii a galaxy is no host. Gupta et al. (2016) cut at 4, beyond which lies 1 % of
#: an exponential disk; what is found there has a small probability.
FARTHEST = 6.0
#: Columns of a galaxy's shape: ellipticity 1 - b/a, or the axis ratio; and the position angle, degrees east of north.
ELLIPTICITY, AXIS_RATIO, ANGLE = ("ellipticity",), ("axis_ratio", "b_a", "ba"), ("position_angle", "pa", "theta_sky")

#: Surface brightness in units of the half-light radius: index, b, and the normalisation 2 pi n b^(-2n) Gamma(2n).
_PROFILES = ((1.0, 1.678, 2 * np.pi * 1.678**-2.0), (4.0, 7.669, 2 * np.pi * 4 * 7.669**-8.0 * 5040.0))


@dataclass(frozen=True)
class Places:
    """Rows of a table with positions; what is not known is NaN.

    Attributes
    ----------
    ids : str [n].
    ra, dec : degrees.
    radius : half-light radius, arcsec; axis_ratio : minor over major; angle : degrees east of north.
    mag : in r.
    notes : what was assumed or left out, one sentence each.
    """

    ids: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    radius: np.ndarray
    axis_ratio: np.ndarray
    angle: np.ndarray
    mag: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sky(self) -> SkyCoord:
        return SkyCoord(self.ra, self.dec, unit="deg")


def read_places(path: str | Path, sizes: bool, survey: str = UNKNOWN.name) -> Places:
    """Positions from any table that `morph` reads, with sizes and shapes if wanted.

    Parameters
    ----------
    path : a file, folder or glob.
    sizes : whether rows need a half-light radius.
    survey : of the table, whose pixel scale converts sizes in pixels.

    Raises
    ------
    InputError : there is no table, or none of a needed column, or no row is left.
    """
    parts, notes = [], {}
    for table in open_tables(path):
        columns, said = _read(table, sizes, get_survey(survey))
        parts.append(columns)
        notes.update(dict.fromkeys(said))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    usable = np.isfinite(columns["ra"]) & np.isfinite(columns["dec"])
    if sizes:
        usable &= columns["radius"] > 0
    if not usable.any():
        raise InputError(f"No row of '{path}' has a position{' and a size' if sizes else ''}.")
    if lost := int((~usable).sum()):
        notes[f"{lost:,} rows of '{path}' have no position{' or no size' if sizes else ''} and are left out."] = None
    return Places(**{name: values[usable] for name, values in columns.items()}, notes=tuple(notes))


def _read(table: TableFile, sizes: bool, survey: Survey) -> tuple[dict[str, np.ndarray], list[str]]:
    mapping = map_columns(table, survey)
    if mapping.ra is None or mapping.dec is None:
        raise InputError(f"'{table.path}' has places in pixels; positions on the sky are needed: columns ra and dec.")
    if sizes and "radius" not in mapping.values:
        raise InputError(f"'{table.path}' has no half-light radius; give a column 'radius' in arcsec.")
    if sizes and (size := mapping.values["radius"]).size == "pixels" and not np.isfinite(survey.pixel_scale):
        raise InputError(
            f"'{table.path}' has its sizes in pixels ({size.column}); name its survey by --survey, or give a column "
            "'radius' in arcsec."
        )
    there = {name.lower(): name for name in table.schema.names}
    ellipticity, ratio, angle = (_first(there, names) for names in (ELLIPTICITY, AXIS_RATIO, ANGLE))
    shapes = [name for name in (ellipticity or ratio, angle) if name]
    notes = list(mapping.notes)
    if sizes and len(shapes) < 2:
        notes.append(f"'{table.path}' has no shapes (ellipticity and position_angle): its galaxies count as round.")
        shapes = []
    if sizes and "mag_r" not in mapping.values:
        notes.append(f"'{table.path}' has no magnitudes in r: its galaxies count as equally bright.")
    parts: dict[str, list[np.ndarray]] = {}
    for rows in table.batches(list(dict.fromkeys([*mapping.columns, *shapes]))):
        count, unknown = len(rows), np.full(len(rows), np.nan)
        names = identifiers(rows[mapping.id[0]]) if mapping.id else pa.array([f"{n}" for n in range(count)])
        redshift = unknown
        if "redshift" in mapping.values:
            redshift, _ = measured(rows[mapping.values["redshift"].column], mapping.values["redshift"])
        magnitudes = unknown
        if "mag_r" in mapping.values:
            magnitudes, _ = measured(rows[mapping.values["mag_r"].column], mapping.values["mag_r"])
        flat = numbers(rows[shapes[0]]) if shapes else np.zeros(count)
        found = {
            "ids": np.asarray(names.to_pylist(), dtype=object),
            "ra": degrees(rows[mapping.ra.column], mapping.ra),
            "dec": degrees(rows[mapping.dec.column], mapping.dec),
            "radius": radii(rows, mapping.values["radius"], survey, redshift) if sizes else unknown,
            "axis_ratio": np.clip(flat if shapes and not ellipticity else 1 - flat, 0.05, 1.0),
            "angle": numbers(rows[shapes[1]]) if shapes else np.zeros(count),
            "mag": magnitudes,
        }
        # A galaxy whose shape was not measured is round.
        round_ = ~(np.isfinite(found["axis_ratio"]) & np.isfinite(found["angle"]))
        found["axis_ratio"][round_], found["angle"][round_] = 1.0, 0.0
        for name, values in found.items():
            parts.setdefault(name, []).append(values)
    empty = {name: [np.array([])] for name in ("ids", "ra", "dec", "radius", "axis_ratio", "angle", "mag")}
    return {name: np.concatenate(values) for name, values in (parts or empty).items()}, notes


def _first(there: dict[str, str], names: Iterable[str]) -> str:
    return next((there[name] for name in names if name in there), "")


def rank_hosts(
    events: Places, galaxies: Places, search: float = 60.0, farthest: float = FARTHEST, hostless: float = 0.05
) -> pa.Table:
    """Every event's candidate hosts, nearest first.

    Parameters
    ----------
    events, galaxies : see `read_places`.
    search : arcsec from an event within which galaxies are looked at.
    farthest : the largest distance in directional light radii of a candidate.
    hostless : the share of events whose host is not among the galaxies.

    Returns
    -------
    pyarrow.Table : a row a candidate: `event`, `rank` (1 is the nearest in directional light radii), `galaxy`,
    `separation` (arcsec), `d_dlr`, `p_host`, and `p_hostless` of the event; an event without a candidate has one row
    with rank 0 and nulls.

    Raises
    ------
    InputError : a share outside 0 to 1, or a distance that is not positive.
    """
    if not 0 < hostless < 1:
        raise InputError(f"The share of events without a listed host is {hostless:g}; it must be above 0 and below 1.")
    if not (search > 0 and farthest > 0):
        raise InputError("The distances within which hosts are looked for must be above 0.")
    first, second, apart, _ = search_around_sky(events.sky, galaxies.sky, search * u.arcsec)
    east, north = _offsets(events, galaxies, first, second)
    # Position angles run from north to east.
    angle = np.pi / 2 - np.radians(galaxies.angle[second])
    ratio, radius = galaxies.axis_ratio[second], galaxies.radius[second]
    distance = directional_distance(east, north, radius, ratio, angle)
    weight = _light(galaxies)[second] * (1 - hostless)
    kept = distance <= farthest
    # Only candidates have a share, so that the probabilities of an event's rows and `p_hostless` add up to 1.
    at_place = np.where(kept, weight * _profile(distance) / radius**2, 0.0)
    none = hostless * _density(galaxies, events, search)
    total = np.bincount(first, weights=at_place, minlength=len(events)) + none
    order = np.lexsort((distance[kept], first[kept]))
    event, galaxy = first[kept][order], second[kept][order]
    starts = np.searchsorted(event, event)
    lonely = np.setdiff1d(np.arange(len(events)), event)
    found = {
        "event": events.ids[np.concatenate([event, lonely])],
        "rank": np.concatenate([np.arange(len(event)) - starts + 1, np.zeros(len(lonely), dtype=int)]),
        "galaxy": np.concatenate([galaxies.ids[galaxy], np.full(len(lonely), None)]),
        "separation": _with_nan(apart.arcsec[kept][order], lonely),
        "d_dlr": _with_nan(distance[kept][order], lonely),
        "p_host": _with_nan((at_place / total[first])[kept][order], lonely),
        "p_hostless": np.concatenate([(none / total)[event], (none / total)[lonely]]),
    }
    rows = np.argsort(np.concatenate([event, lonely]), kind="stable")
    text = ("event", "galaxy")
    return pa.table(
        {
            name: pa.array(values[rows], pa.string() if name in text else None, from_pandas=True)
            for name, values in found.items()
        }
    )


def _with_nan(values: np.ndarray, lonely: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.full(len(lonely), np.nan)])


def _offsets(events: Places, galaxies: Places, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of events from galaxies, towards east and north, arcsec."""
    if not len(first):
        return np.array([]), np.array([])
    east, north = galaxies.sky[second].spherical_offsets_to(events.sky[first])
    return east.arcsec, north.arcsec


def _light(galaxies: Places) -> np.ndarray:
    """Each galaxy's light over the mean of all; 1 where magnitudes are not known."""
    flux = 10 ** ((NANOMAGGY_ZERO_POINT - galaxies.mag) / 2.5)
    if not np.isfinite(flux).any():
        return np.ones(len(galaxies))
    return np.where(np.isfinite(flux), flux, np.nanmedian(flux)) / np.nanmean(flux)


def _profile(distance: np.ndarray) -> np.ndarray:
    """The part of a galaxy's light per square half-light radius at distances in directional light radii."""
    parts = [np.exp(-b * np.maximum(distance, 1e-3) ** (1 / index)) / norm for index, b, norm in _PROFILES]
    return np.mean(parts, axis=0)


def _density(galaxies: Places, events: Places, search: float) -> float:
    """Galaxies per square arcsec around the events."""
    first, *_ = search_around_sky(events.sky, galaxies.sky, search * u.arcsec)
    return max(len(first), 1) / (len(events) * np.pi * search**2)
