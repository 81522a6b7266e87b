"""How cutouts are made, and which galaxies of a sample a tile has."""

from dataclasses import dataclass

import numpy as np

from morph.analysis.stacking.cutouts import LARGEST_HALF, ring_edges
from morph.analysis.stacking.sample import Sample
from morph.stamps.cutting import on_tile
from morph.stamps.flags import SMALLEST_RADIUS
from morph.tiles.tile import Tile

#: Rings of a star, arcsec: how many, the last edge, and that edge over the second.
STAR_RINGS, STAR_REACH, STAR_RANGE = 18, 45.0, 120.0
#: Why a galaxy has no cutout.
USED_HERE, OFF_TILE, TOO_LARGE, TOO_SMALL, NO_DATA = range(5)
REASONS = ("", "not on its tile", "too large a cutout", "smaller than a point source", "no data")


@dataclass(frozen=True)
class Plan:
    """How cutouts are made.

    Attributes
    ----------
    bands : in order.
    reach : of a cutout, half-light radii or kpc.
    align : whether galaxies are turned.
    mesh : pixels of the mesh in which the survey subtracted its sky; 0 if it did not.
    seed : of the random points.
    survey : of the tiles.
    """

    bands: tuple[str, ...]
    reach: float
    align: bool
    mesh: int
    seed: int
    survey: str | None = None

    @property
    def edges(self) -> np.ndarray:
        return ring_edges(self.reach)


def star_edges() -> np.ndarray:
    """Edges of the rings around stars, arcsec."""
    return ring_edges(STAR_REACH, STAR_RINGS, STAR_RANGE)


@dataclass
class Targets:
    """Places on a tile: pixels, the unit of the radius (pixels), the half-light radius, the angle (radians)."""

    x: np.ndarray
    y: np.ndarray
    unit: np.ndarray
    radius: np.ndarray
    angle: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Targets":
        """Some of them, by number."""
        return Targets(*(values[rows] for values in vars(self).values()))


def own_galaxies(tile: Tile, sample: Sample, plan: Plan) -> tuple[np.ndarray, np.ndarray, Targets]:
    """A tile's own galaxies.

    Parameters
    ----------
    tile : which.
    sample : galaxies, of other tiles too.
    plan : how cutouts are made.

    Returns
    -------
    Their rows in the sample, why each has no cutout (0: it has one), and those that have.
    """
    named = np.isin(sample.tiles.astype(str), [name for name in (tile.name, tile.tilename) if name])
    middle_ra, middle_dec, reach = tile.footprint.circle
    apart = np.hypot((sample.ra - middle_ra + 180) % 360 - 180, 0) * np.cos(np.radians(middle_dec))
    near = (np.hypot(apart, sample.dec - middle_dec) < 2 * reach + 0.1) | named
    rows = np.flatnonzero(near & (named | (sample.tiles == "")))
    x, y = tile.pixels(sample.ra[rows], sample.dec[rows])
    inside = on_tile(tile, x, y)
    unnamed = sample.tiles[rows] == ""
    inside[inside & unnamed] &= tile.answers_for(sample.ra[rows], sample.dec[rows])[inside & unnamed]
    # Galaxies without the name of a tile are another's where they are not on this one.
    rows, x, y, inside = (values[inside | ~unnamed] for values in (rows, x, y, inside))
    unit, radius = sample.unit[rows] / tile.pixel_scale, sample.radius[rows] / tile.pixel_scale
    reason = np.full(len(rows), USED_HERE)
    reason[radius < SMALLEST_RADIUS] = TOO_SMALL
    reason[plan.reach * unit > LARGEST_HALF] = TOO_LARGE
    reason[~inside] = OFF_TILE
    good = reason == USED_HERE
    angle = _pixel_angle(tile, sample.ra[rows], sample.dec[rows], sample.angle[rows]) if plan.align else 0 * x
    return rows, reason, Targets(*(values[good] for values in (x, y, unit, radius, angle)))


def _pixel_angle(tile: Tile, ra: np.ndarray, dec: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Position angles (degrees east of north) as angles from x to y on the tile, radians."""
    step = 1e-4
    toward = np.radians(angle)
    x, y = tile.pixels(ra, dec)
    ahead = tile.pixels(ra + step * np.sin(toward) / np.cos(np.radians(dec)), dec + step * np.cos(toward))
    return np.arctan2(ahead[1] - y, ahead[0] - x)
