"""What is measured of a tile's galaxies while it is walked, and what follows once all of it was seen."""

import numpy as np
from astropy.table import Table

from morph.catalogs.detection import find_pieces
from morph.sizes import NETWORK_SIZE
from morph.stamps.flags import SMALLEST_RADIUS, Flag, stamp_width
from morph.stamps.measurements import Measurements, measure, position_angle
from morph.stamps.noise import SkyNoise
from morph.stamps.photometry import total_fluxes
from morph.stamps.psf import PointSources, point_like, unresolved
from morph.stamps.signal_to_noise import noise_of_sky
from morph.stamps.stamp_stream import StampBatch
from morph.surveys import magnitude
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile

#: Half-light radii from the centre at which half of a stamp's border is nearer, half farther.
SKY_AT = 3.25


class Light:
    """The light of a tile's galaxies, filled in as they are cut.

    Attributes
    ----------
    points : the tile's point sources, as far as it has been walked.
    bands : [n], the bands with data on each galaxy's stamp.

    Sizes of `galaxies` were measured on the tile if they were `detected`.
    """

    def __init__(self, tile: Tile, galaxies: Table, detected: bool = False):
        count = len(galaxies)
        self.points = PointSources()
        self._noise = SkyNoise(tile)
        self._radius = np.full(count, np.nan)
        # A catalogue's sizes are those in the middle band; those that are measured are of the mean of the bands.
        self._detected = detected
        self._of_mean = np.isnan(np.asarray(galaxies["radius"], dtype=float)) | detected
        self.bands: list[str] = [""] * count
        self._pixel_scale = tile.pixel_scale
        self._channels = tile.channels
        self._known = np.array([_calibrated(tile, band) for band in tile.channels])
        self._x, self._y = (np.asarray(galaxies[name], dtype=float) for name in ("x", "y"))
        self._east, self._north = _directions(tile, self._x, self._y)
        self._measures = Measurements.blank(count)

    @property
    def psf_fwhm(self) -> float:
        """Full width at half maximum of the tile's point sources, arcsec; NaN where they are too few."""
        typical = self.points.typical
        return np.nan if typical is None else typical.fwhm * self._pixel_scale

    def look(self, strip: Strip) -> None:
        """Take in a strip before its galaxies are measured."""
        self.points.look(strip)
        self._noise.look(strip)

    def note(self, cut: StampBatch, signal: np.ndarray) -> np.ndarray:
        """Measure some galaxies; returns their flags, by the sizes of the point sources seen so far."""
        found = measure(cut.stamps, cut.radius)
        self._measures.put(cut.rows, found)
        self._radius[cut.rows] = np.maximum(cut.radius, SMALLEST_RADIUS)
        for row, seen in zip(cut.rows.tolist(), np.isfinite(found.flux), strict=True):
            self.bands[row] = "".join(band for band, there in zip(self._channels, seen, strict=True) if there)
        # How likely each is a point source takes long to work out for a few at a time.
        return self._flags(found, signal, (cut.flags & Flag.NO_DATA) == 0, np.full(len(signal), np.nan))

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
        likely = point_like(self._measures, signal, self.points.typical)
        flags = (flags & ~int(Flag.UNRESOLVED)) | self._flags(self._measures, signal, answered, likely)
        measures = self._measures
        brightness = np.where(np.isfinite(measures.flux), measures.flux, 0).sum(axis=1)
        of_galaxy, of_star = find_pieces(
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
        """The columns `morph.stamps.measurements.COLUMNS`."""
        measures = self._measures
        measured = {
            "ellipticity": measures.ellipticity,
            "position_angle": position_angle(measures.angle, self._east, self._north),
            "concentration": measures.concentration,
            "psf_fwhm": np.full(len(signal), self.psf_fwhm),
            "point_like": point_like(measures, signal, self.points.typical),
        }
        flux, error = self._totals()
        with np.errstate(divide="ignore", invalid="ignore"):
            mag_err = np.where(flux > 0, 2.5 / np.log(10) * error / flux, np.nan)
        for channel, band in enumerate("gri"):
            hidden = np.nan if not self._known[channel] else 0
            measured[f"flux_{band}"] = flux[:, channel] + hidden
            measured[f"flux_err_{band}"] = error[:, channel] + hidden
            measured[f"mag_err_{band}"] = mag_err[:, channel] + hidden
            if self._detected:
                measured[f"mag_{band}"] = magnitude(measured[f"flux_{band}"])
        return measured

    def _totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Total fluxes and their errors: [n, 3] each."""
        within = self._measures.flux / 2
        seeing = self.points.half_light()
        share = [
            total_fluxes(within, self._radius, seeing, self._channels, channel, SKY_AT) / within
            for channel in (None, 1)
        ]
        scale = np.where(self._of_mean[:, None], *share)
        return within * scale, self._errors() * scale

    def _errors(self) -> np.ndarray:
        """Noise of the fluxes within the half-light radius: [n, 3]."""
        error = np.empty_like(self._measures.flux)
        step = np.asarray(stamp_width(self._radius, 1))
        for channel, band in enumerate(self._channels):
            correlation = self._noise.correlation(band)
            # Pixels of the stamp that are larger than the image's have part of the correlation in their own noise.
            larger = 1 + (correlation - 1) / np.maximum(step, 1)
            by_border = self._measures.flux_err[:, channel] / 2 * larger
            by_weights = self._noise.of_pixels(band, self._x, self._y) * np.sqrt(np.pi) * self._radius
            error[:, channel] = np.where(np.isfinite(by_weights), by_weights, by_border)
            error[:, channel] *= noise_of_sky(step, NETWORK_SIZE, correlation)
        return np.where(np.isfinite(self._measures.flux), error, np.nan)

    def _flags(
        self, measures: Measurements, signal: np.ndarray, answered: np.ndarray, likely: np.ndarray
    ) -> np.ndarray:
        lacking = unresolved(measures, signal, likely, self.points.typical)
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
