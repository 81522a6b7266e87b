"""What is measured of a tile's galaxies while it is walked, and what follows once all of it was seen."""

import numpy as np
from astropy.table import Table

from morph.images.flags import Flag
from morph.images.measures import Measures, measure, position_angle
from morph.images.neighbours import pieces
from morph.images.point_sources import PointSources, point_like, unresolved
from morph.images.strips import Stamps
from morph.images.tiles import Tile


class Light:
    """The light of a tile's galaxies, filled in as they are cut.

    Attributes
    ----------
    points : the tile's point sources, as far as it has been walked.
    bands : [n], the bands with data on each galaxy's stamp.
    """

    def __init__(self, tile: Tile, galaxies: Table):
        count = len(galaxies)
        self.points = PointSources()
        self.bands: list[str] = [""] * count
        self._pixel_scale = tile.pixel_scale
        self._channels = tile.channels
        self._known = np.array([_calibrated(tile, band) for band in tile.channels])
        self._x, self._y = (np.asarray(galaxies[name], dtype=float) for name in ("x", "y"))
        self._east, self._north = _directions(tile, self._x, self._y)
        self._measures = Measures.blank(count)

    @property
    def psf_fwhm(self) -> float:
        """Full width at half maximum of the tile's point sources, arcsec; NaN where they are too few."""
        typical = self.points.typical
        return np.nan if typical is None else typical.fwhm * self._pixel_scale

    def note(self, cut: Stamps, signal: np.ndarray) -> np.ndarray:
        """Measure some galaxies; returns their flags, by the point sources that have been seen so far."""
        found = measure(cut.stamps, cut.radius)
        self._measures.put(cut.rows, found)
        for row, seen in zip(cut.rows.tolist(), np.isfinite(found.flux), strict=True):
            self.bands[row] = "".join(band for band, there in zip(self._channels, seen, strict=True) if there)
        return self._flags(found, signal, (cut.flags & Flag.NO_DATA) == 0)

    def flags(self, signal: np.ndarray, radius: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The flags of all galaxies, and which are pieces of a saturated star.

        Parameters
        ----------
        signal : [n], signal-to-noise.
        radius : [n], half-light radii, arcsec.
        flags : int [n], what is known to be wrong with them.
        """
        answered = (flags & Flag.NO_DATA) == 0
        # What was seen of the first galaxies with fewer point sources is judged again.
        flags = (flags & ~int(Flag.UNRESOLVED)) | self._flags(self._measures, signal, answered)
        measures = self._measures
        brightness = np.where(np.isfinite(measures.flux), measures.flux, 0).sum(axis=1)
        of_galaxy, of_star = pieces(
            self._x,
            self._y,
            np.where(answered, radius / self._pixel_scale, np.nan),
            brightness,
            measures.ellipticity,
            measures.angle,
            (flags & Flag.SATURATED) != 0,
        )
        return flags | np.where(of_galaxy | of_star, Flag.PIECE, 0).astype("int32"), of_star

    def columns(self, signal: np.ndarray) -> dict[str, np.ndarray]:
        """The columns `morph.images.measures.COLUMNS`."""
        measures = self._measures
        measured = {
            "ellipticity": measures.ellipticity,
            "position_angle": position_angle(measures.angle, self._east, self._north),
            "concentration": measures.concentration,
            "psf_fwhm": np.full(len(signal), self.psf_fwhm),
            "point_like": point_like(measures, signal, self.points.typical),
        }
        for channel, band in enumerate("gri"):
            hidden = np.nan if not self._known[channel] else 0
            measured[f"flux_{band}"] = measures.flux[:, channel] + hidden
            measured[f"flux_err_{band}"] = measures.flux_err[:, channel] + hidden
            measured[f"mag_err_{band}"] = measures.mag_err[:, channel] + hidden
        return measured

    def _flags(self, measures: Measures, signal: np.ndarray, answered: np.ndarray) -> np.ndarray:
        typical = self.points.typical
        lacking = unresolved(measures, signal, point_like(measures, signal, typical), typical)
        return np.where(lacking & answered, Flag.UNRESOLVED, 0).astype("int32")


def _calibrated(tile: Tile, band: str) -> bool:
    """Whether a band's fluxes have a known unit."""
    return band in tile.bands and tile.zero_points[band].known


def _directions(tile: Tile, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far east and north one pixel along x, and along y, is at each place: [n, 2] each, degrees."""
    if not len(x):
        return np.empty((0, 2)), np.empty((0, 2))
    ra, dec = tile.sky(x, y)
    east, north = [], []
    for dx, dy in ((1, 0), (0, 1)):
        other_ra, other_dec = tile.sky(x + dx, y + dy)
        east.append(((other_ra - ra + 180) % 360 - 180) * np.cos(np.radians(dec)))
        north.append(other_dec - dec)
    return np.stack(east, axis=1), np.stack(north, axis=1)
