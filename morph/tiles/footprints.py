"""Where tiles lie on the sky, and which of several overlapping tiles a galaxy belongs to.

Some surveys divide the sky among their tiles by a rule of their own. Elsewhere a galaxy belongs to the image in which
it lies farthest from the edge, where least of its light is cut off.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import angular_separation
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from morph.fits.wcs import Bounds, celestial, to_pixels, to_sky

#: Circles are wider than the corners of an image by this factor, since its sides may be curved.
MARGIN = 1.01

#: Cards of a header that make its sky coordinates.
_SKY = re.compile(
    r"^(NAXIS\d?|WCSAXES|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d|(CD|PC|PV|PS|WAT)\d+_\d+|LONPOLE|LATPOLE|RADESYS"
    r"|RADECSYS|EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+))$"
)


@dataclass(frozen=True)
class Footprint:
    """The sky that one tile shows; small enough to be sent to every process that scores a neighbour.

    Attributes
    ----------
    name, tilename : the tile's, see `Tile`.
    cards : those of its header that make the sky coordinates.
    shape : height and width, pixels.
    bounds : of the part of the sky that its survey assigns to it; None where the survey has no such rule.
    """

    name: str
    tilename: str
    cards: str = field(repr=False)
    shape: tuple[int, int]
    bounds: Bounds | None = None

    @classmethod
    def of_header(
        cls, name: str, tilename: str, header: fits.Header, shape: tuple[int, int], bounds: Bounds | None = None
    ) -> "Footprint":
        """The footprint of a tile with this header.

        Parameters
        ----------
        name, tilename, shape, bounds : as the attributes.
        header : of one of its images, with sky coordinates.

        Returns
        -------
        Footprint : with the header's sky coordinates alone.
        """
        cards = fits.Header([card for card in header.cards if _SKY.match(card.keyword)])
        return cls(name, tilename, cards.tostring(), shape, bounds)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def wcs(self) -> WCS:
        return celestial(fits.Header.fromstring(self.cards), Path(self.name))

    @cached_property
    def pixel_scale(self) -> float:
        """Arcsec per pixel."""
        return float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600)

    @cached_property
    def circle(self) -> tuple[float, float, float]:
        """A circle on the sky that holds the image: right ascension, declination and radius, degrees."""
        height, width = self.shape
        ra, dec = to_sky(self.wcs, (width - 1) / 2, (height - 1) / 2)
        x, y = [-0.5, width - 0.5, -0.5, width - 0.5], [-0.5, -0.5, height - 0.5, height - 0.5]
        corners = np.radians(to_sky(self.wcs, x, y))
        away = angular_separation(*corners, np.radians(ra), np.radians(dec))
        return float(ra), float(dec), MARGIN * float(np.degrees(away.max()))

    def edge_distance(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """The distance of positions (degrees) from the image's nearest edge: arcsec [n].

        Minus infinity where a position is not on the image, or not within `bounds`. The result for one position is
        the same to the last bit in every process and for every set of positions.
        """
        height, width = self.shape
        found = np.full(len(ra), -np.inf)
        middle_ra, middle_dec, reach = np.radians(self.circle)
        # A tangent plane shows the far side of the sky on top of the near one.
        away = angular_separation(np.radians(ra), np.radians(dec), middle_ra, middle_dec)
        near = np.flatnonzero(away < reach)
        if self.bounds is not None:
            near = near[in_rectangle(ra[near], dec[near], *self.bounds)]
        if len(near):
            x, y = to_pixels(self.wcs, ra[near], dec[near])
            edges = np.min([x + 0.5, width - 0.5 - x, y + 0.5, height - 0.5 - y], axis=0)
            found[near] = np.where(edges >= 0, edges * self.pixel_scale, -np.inf)
        return found


@dataclass(frozen=True)
class Overlap:
    """A tile's footprint, and those of the `others` that may show some of the same sky."""

    own: Footprint
    others: tuple[Footprint, ...]

    @property
    def names(self) -> frozenset[str]:
        """The others' names."""
        return frozenset(name for other in self.others for name in (other.name, other.tilename) if name)

    def owns(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Whether positions (degrees) lie farther from this tile's edge than from any other's: bool [n].

        A position at equal distance, as in two copies of one image, belongs to the tile whose name sorts first.
        """
        owned = np.ones(len(ra), dtype=bool)
        if not self.others:
            return owned
        own = self.own.edge_distance(ra, dec)
        for other in self.others:
            theirs = other.edge_distance(ra, dec)
            owned &= ~((theirs > own) | ((theirs == own) & np.isfinite(own) & (other.name < self.own.name)))
        return owned


def overlaps(footprints: Sequence[Footprint]) -> dict[str, Overlap]:
    """For each tile, by its name, with which of the others it may overlap."""
    from scipy.spatial import KDTree

    if not footprints:
        return {}
    footprints = sorted(footprints, key=lambda footprint: footprint.name)
    ra, dec, radius = np.radians([footprint.circle for footprint in footprints]).T
    tree = KDTree(np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]))
    others: list[list[int]] = [[] for _ in footprints]
    for i, j in tree.query_pairs(2 * float(radius.max())):
        if angular_separation(ra[i], dec[i], ra[j], dec[j]) < radius[i] + radius[j]:
            others[i].append(j)
            others[j].append(i)
    return {
        footprint.name: Overlap(footprint, tuple(footprints[j] for j in sorted(near)))
        for footprint, near in zip(footprints, others, strict=True)
    }


def on_any(footprints: Sequence[Footprint], ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Whether positions lie on at least one of some images; fast where the positions are close together.

    Parameters
    ----------
    footprints : of the images.
    ra, dec : [n], degrees.

    Returns
    -------
    bool [n].
    """
    found = np.zeros(len(ra), dtype=bool)
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return found
    middle = np.radians([ra[known][0], dec[known][0]])
    extent = angular_separation(np.radians(ra[known]), np.radians(dec[known]), *middle).max()
    circles = np.radians([footprint.circle for footprint in footprints])
    near = angular_separation(circles[:, 0], circles[:, 1], *middle) < circles[:, 2] + extent
    for footprint in compress(footprints, near):
        found |= footprint.edge_distance(ra, dec) >= 0
    return found


def in_rectangle(
    ra: np.ndarray, dec: np.ndarray, ra_range: tuple[float, float], dec_range: tuple[float, float]
) -> np.ndarray:
    """Whether positions lie between two right ascensions and two declinations, the lower bounds included.

    Tiles that share a bound share no position.

    Parameters
    ----------
    ra, dec : [n], degrees.
    ra_range, dec_range : lower and upper bound, degrees; a range of right ascension may cross 0.

    Returns
    -------
    bool [n].

    >>> in_rectangle(np.array([359.5, 0.5, 2.0]), np.zeros(3), (359.0, 1.0), (-1.0, 1.0)).tolist()
    [True, True, False]
    """
    west, east = ra_range
    south, north = dec_range
    ra = np.asarray(ra, dtype=float) % 360
    if east - west >= 360:
        within = np.isfinite(ra)
    elif west % 360 < east % 360:
        within = (ra >= west % 360) & (ra < east % 360)
    else:
        within = (ra >= west % 360) | (ra < east % 360)
    return within & (dec >= south) & (dec < north)
