"""Measurements of a tile's galaxies while its rows are read: photometry, flags, image statistics, thumbnails."""

import heapq
import io
from typing import Any

import numpy as np
from astropy.table import Table
from PIL import Image

from morph.catalogs.detection import find_pieces
from morph.sizes import FIELD, NETWORK_SIZE
from morph.stamps.flags import SMALLEST_RADIUS, Flag, stamp_width
from morph.stamps.image_statistics import measure as measure_statistics
from morph.stamps.measurements import StampMeasurements, position_angle
from morph.stamps.measurements import measure as measure_shapes
from morph.stamps.noise import SkyNoise
from morph.stamps.photometry import total_fluxes
from morph.stamps.psf import PointSources, point_like, unresolved
from morph.stamps.signal_to_noise import noise_of_sky, signal_to_noise
from morph.stamps.stamp_stream import StampBatch
from morph.stamps.stretch import to_pictures
from morph.surveys import magnitude
from morph.tiles.strip_reader import Strip
from morph.tiles.tile import Tile
from serving.scores.schema import TileScores

#: Galaxies of a tile whose image statistics are measured, for the comparison with the training set.
MEASURED = 200

#: Galaxies of a tile that have a thumbnail: a hundredth of what its row of answers takes on disk.
THUMBNAILS = 12

#: Half-light radii from the centre at which half of a stamp's border is nearer, half farther.
SKY_AT = 3.25


class TileMeasurements:
    """A tile's scores, filled in as its galaxies are cut and answered.

    Attributes
    ----------
    scores : the rows, as far as they are known.
    photometry : of all galaxies.
    """

    def __init__(self, tile: Tile, galaxies: Table, description: dict[str, Any], detected: bool):
        self.scores = TileScores.blank(galaxies, description)
        self.scores.properties["radius"] = np.full(len(galaxies), np.nan)
        self.photometry = Photometry(tile, galaxies, detected)
        self._thumbnails = Thumbnails()
        self._pixel_scale, self._detected = tile.pixel_scale, detected

    def add_stamps(self, cut: StampBatch) -> None:
        """Measure some galaxies."""
        scores, properties = self.scores, self.scores.properties
        properties["radius"][cut.rows] = cut.radius * self._pixel_scale
        properties["snr"][cut.rows] = signal = signal_to_noise(cut.stamps, cut.radius)
        properties["masked"][cut.rows] = masked_part(cut.stamps)
        scores.flags[cut.rows] = cut.flags | self.photometry.add(cut, signal)
        every = max(1, len(scores) // MEASURED)
        chosen = np.flatnonzero((scores.flags[cut.rows] == 0) & (cut.rows % every == 0))
        if len(chosen):
            rows = cut.rows[chosen]
            scale = properties["radius"][rows] * FIELD / cut.stamps.shape[1]
            scores.image_statistics[rows] = measure_statistics(cut.stamps[chosen], scale)

    def add_answers(self, rows: np.ndarray, stamps: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        """Store the model's outputs for some rows.

        Parameters
        ----------
        rows : which.
        stamps : their images.
        outputs : the model's, by name.
        """
        for name, values in self.scores.outputs.items():
            values[rows] = outputs[name]
        self._thumbnails.add(rows, stamps, self.scores.flags[rows], outputs)

    def finish(self) -> TileScores:
        """The tile's scores, once all of it was read: rows that turn out not to be sources are left out."""
        scores, properties = self.scores, self.scores.properties
        snr = properties["snr"]
        scores.flags, of_star = self.photometry.flags(snr, properties["radius"], scores.flags)
        properties.update(self.photometry.columns(snr))
        scores.bands = self.photometry.bands
        for row, picture in self._thumbnails.files().items():
            scores.pictures[row] = picture
        # A detection without light, or on a saturated star's rays, is not a source; a catalogue's row stays.
        return scores.select(np.flatnonzero(~(of_star | (snr < 0)))) if self._detected else scores


class Photometry:
    """The light of a tile's galaxies, filled in as they are cut.

    Attributes
    ----------
    points : the tile's point sources, as far as its rows have been read.
    bands : object [n], text: the bands with data on each galaxy's stamp.
    """

    def __init__(self, tile: Tile, galaxies: Table, detected: bool = False):
        count = len(galaxies)
        self.points = PointSources()
        self._noise = SkyNoise(tile)
        self._radius = np.full(count, np.nan)
        # A catalogue's sizes are those in the middle band; those that are measured are of the mean of the bands.
        self._detected = detected
        self._of_mean = np.isnan(np.asarray(galaxies["radius"], dtype=float)) | detected
        self.bands = np.full(count, "", dtype=object)
        self._pixel_scale = tile.pixel_scale
        self._channels = tile.channels
        self._known = np.array([_calibrated(tile, band) for band in tile.channels])
        self._x, self._y = (np.asarray(galaxies[name], dtype=float) for name in ("x", "y"))
        self._east, self._north = _directions(tile, self._x, self._y)
        self._measures = StampMeasurements.blank(count)

    @property
    def psf_fwhm(self) -> float:
        """Full width at half maximum of the tile's point sources, arcsec; NaN where they are too few."""
        typical = self.points.typical
        return np.nan if typical is None else typical.fwhm * self._pixel_scale

    def observe(self, strip: Strip) -> None:
        """Measure a strip's point sources and noise, before its galaxies."""
        self.points.look(strip)
        self._noise.look(strip)

    def add(self, cut: StampBatch, signal: np.ndarray) -> np.ndarray:
        """Measure some galaxies; returns their flags, by the sizes of the point sources measured so far."""
        found = measure_shapes(cut.stamps, cut.radius)
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
        flags : int [n], their flags so far.

        Returns
        -------
        int [n] and bool [n].
        """
        answered = (flags & Flag.NO_DATA) == 0
        # The first galaxies were compared with fewer point sources; they are compared again.
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
        self, measures: StampMeasurements, signal: np.ndarray, answered: np.ndarray, likely: np.ndarray
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


class Thumbnails:
    """Pictures of the most anomalous galaxies of a tile whose stamps come in batches, as JPEG files.

    Only stamps without a flag count: a galaxy behind a bleed trail is not itself anomalous. Of galaxies with one
    p-value, those with the largest reconstruction errors are the most anomalous.
    """

    def __init__(self, most: int = THUMBNAILS):
        self._most = most
        self._best: list[tuple[tuple[float, float], int, np.ndarray]] = []

    def add(self, rows: np.ndarray, stamps: np.ndarray, flags: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        """Compare the next galaxies with those before.

        Parameters
        ----------
        rows : [n], their rows on the tile.
        stamps : float32 [n, size, size, 3], nanomaggies; row 0 is the image's lowest.
        flags : [n].
        outputs : ``anomaly_score`` and ``reconstruction_error`` [n], NaN where unknown.
        """
        score, error = (np.asarray(outputs[name], dtype=float) for name in ("anomaly_score", "reconstruction_error"))
        usable = np.flatnonzero((flags == 0) & np.isfinite(score))
        for i in usable[np.lexsort((-error[usable], score[usable]))[: self._most]]:
            # A heap has its smallest entry on top; here that is the least anomalous.
            entry = ((-float(score[i]), float(error[i])), int(rows[i]), stamps[i].copy())
            if len(self._best) < self._most:
                heapq.heappush(self._best, entry)
            elif entry[0] > self._best[0][0]:
                heapq.heapreplace(self._best, entry)

    def files(self) -> dict[int, bytes]:
        """{row: JPEG file} of the most anomalous galaxies."""
        return {row: _jpeg(stamp) for _, row, stamp in self._best}


def _jpeg(stamp: np.ndarray) -> bytes:
    """A flux stamp, [size, size, 3] in nanomaggies, as a colour picture of its own brightness, row 0 at the bottom."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(to_pictures(stamp[None])[0, ::-1])).save(file, "JPEG", quality=88)
    return file.getvalue()


def masked_part(stamps: np.ndarray) -> np.ndarray:
    """The share of pixels without data in each stamp's worst band, bands that are missing altogether left out.

    Parameters
    ----------
    stamps : float32 [n, size, size, 3], NaN where there is no data.

    Returns
    -------
    float32 [n]; 1 where no band has data.
    """
    found = np.zeros(len(stamps), dtype="float32")
    # Most stamps have all pixels, and a sum shows it in a tenth of the time of counting.
    for i in np.flatnonzero(np.isnan(stamps.reshape(len(stamps), -1).sum(axis=1))):
        empty = np.isnan(stamps[i]).mean(axis=(0, 1))
        found[i] = max(empty[empty < 1], default=1)
    return found
