"""Survey tiles: one field of sky in several bands, as a survey releases it.

A tile is a set of FITS files. Any of their names stands for all of them: ``DES0356-5248_r4163p01_g.fits.fz`` brings
``..._r.fits.fz`` and ``..._i.fits.fz`` from its folder. How each survey names its files and what they hold is in
`morph.tiles.layouts`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import ArrayLike

from morph.errors import InputError
from morph.fits import headers
from morph.fits.calibrated import Calibrated, FillRows
from morph.fits.planes import Planes
from morph.fits.wcs import celestial, to_pixels, to_sky
from morph.fits.zero_points import HEADERS, Calibration
from morph.surveys import UNKNOWN, channels_of, get_survey
from morph.tiles.common_grid import grid_offset, reading_notes, to_common_grid
from morph.tiles.discovery import find_tiles, no_bands_error, survey_of, tile_name, wanted_bands
from morph.tiles.footprints import Footprint, Overlap, in_rectangle
from morph.tiles.layouts import Layout, layout_of

__all__ = ["Tile", "find_tiles", "tile_name"]

#: Bands whose grids differ by less than this, pixels, count as being on one.
MISALIGNED = 0.5


class Tile:
    """One field of sky in up to three bands. Headers are read at once, pixels when they are asked for.

    Attributes
    ----------
    name : the files' common name without band and processing run.
    tilename : the survey's name of the tile (header TILENAME), empty if unknown. A cutout of a tile has a `name`
        of its own and its tile's `tilename`.
    survey : the survey's name; ``unknown`` where neither the caller nor the files say it.
    channels : the three bands that fill the network's channels, from blue to red.
    bands : those of them that the tile has.
    wcs : astropy's celestial coordinate system.
    shape : height and width, pixels.
    pixel_scale : arcsec per pixel.
    paths : {band: file}.
    zero_points : {band: `ZeroPoint`}, the AB magnitude of one count in each file, and where it is known from.
    resampled_bands : {band: from which pixel scale to which}, of bands that were brought to the grid of the finest.
    notes : how its images are read, where that is unusual; one sentence each.
    footprint : the sky that it shows.
    neighbours : names of the tiles that may show some of the same sky, where it was opened as one of several.

    Examples
    --------
    >>> from morph.simulation.tile import simulate_tile
    >>> made = simulate_tile("tiles", size=256, survey="des", galaxies=3, progress=False)
    >>> tile = Tile.open("tiles/*.fits.fz")
    >>> tile.survey, tile.shape, tile.bands
    ('des', (256, 256), ('g', 'r', 'i'))
    """

    def __init__(
        self,
        name: str,
        survey: str,
        planes: dict[str, Planes],
        reader: Layout,
        overlap: Overlap | None = None,
        calibration: Calibration = HEADERS,
    ):
        self.name = name
        self.survey = get_survey(survey).name
        self.channels = channels_of(get_survey(survey), planes)
        self._planes = {band: planes[band] for band in self.channels if band in planes}
        self.bands = tuple(self._planes)
        self.paths = {band: plane.path for band, plane in self._planes.items()}
        self.zero_points = {band: plane.zero_point(calibration) for band, plane in self._planes.items()}
        # The zero point of what is resampled is that of a pixel as it is stored.
        self._planes, self.resampled_bands = to_common_grid(self._planes, name)
        self.notes = reading_notes(self._planes, self.resampled_bands)
        first = self._planes[self.bands[0]]
        self.shape: tuple[int, int] = (first.shape[0], first.shape[1])
        self._grids = {band: celestial(one.header, one.path) for band, one in self._planes.items()}
        self.wcs = self._grids[self.bands[0]]
        self._aligned = {b for b in self.bands if grid_offset(self.wcs, self._grids[b], self.shape) < MISALIGNED}
        self.pixel_scale = float(np.mean(proj_plane_pixel_scales(self.wcs)) * 3600)
        self.tilename = reader.tilename(first.header, name)
        bounds = reader.bounds(first.header)
        self.footprint = Footprint.of_header(name, self.tilename, first.header, self.shape, bounds)
        self._overlap = overlap or Overlap(self.footprint, ())
        self.neighbours = self._overlap.names
        self._flux: dict[str, np.ndarray] = {}
        self._saturated: np.ndarray | None = None
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        path: str | Path | Sequence[str | Path],
        survey: str | None = None,
        overlap: Overlap | None = None,
        calibration: Calibration = HEADERS,
        bands: Sequence[str] = (),
    ) -> "Tile":
        """The tile that a file, folder or glob names, or that consists of the listed files.

        Parameters
        ----------
        survey : as the files say if not given; ``unknown`` where they do not.
        path : a file, folder or glob, or the files.
        overlap : with neighbours that share some of its sky (`morph.tiles.overlaps`).
        calibration : the caller's, which takes precedence over the headers.
        bands : of the images in a file, in order, as the caller names them.

        Returns
        -------
        Tile : its headers read, its pixels not.

        Raises
        ------
        InputError : a file is missing, is not FITS, is cut short or has no sky coordinates; bands cover different sky;
            the zero point of a band is not known; no band of the survey is there. One or two missing bands are no
            error.
        """
        if isinstance(path, (str, Path)):
            groups = find_tiles([path])
            if len(groups) != 1:
                names = ", ".join(tile_name(group) for group in groups[:3])
                raise InputError(f"'{path}' holds {len(groups)} tiles ({names}, ...); name one of them.")
            path = groups[0]
        paths = [Path(p) for p in path]
        if not paths:
            raise InputError("A tile needs at least one FITS file; none was given.")
        known = get_survey(survey or survey_of([paths]) or UNKNOWN.name)
        reader, name = layout_of(paths), tile_name(paths)
        planes = reader.open(paths, wanted_bands(known), bands)
        if not planes:
            raise no_bands_error(f"Tile '{name}'", paths, known)
        return cls(name, known.name, planes, reader, overlap, calibration)

    def __repr__(self) -> str:
        return f"<Tile {self.name}: {self.survey} {''.join(self.bands)}, {self.shape[1]} x {self.shape[0]} px>"

    def __enter__(self) -> "Tile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Release the pixels."""
        self._flux.clear()
        self._saturated = None

    def load(self) -> "Tile":
        """Read every band that is not read yet, in parallel (decompression runs outside Python's lock)."""
        unread = [band for band in self.bands if band not in self._flux]
        if unread:
            with ThreadPoolExecutor(len(unread)) as pool:
                list(pool.map(self.plane, unread))
        return self

    @property
    def loaded(self) -> bool:
        """Whether the pixels of any band are in memory."""
        return bool(self._flux)

    @property
    def simulated(self) -> bool:
        """Whether `morph simulate` made the tile, by its headers."""
        return all(headers.value(plane.header, "SOFTNAME") == "morph" for plane in self._planes.values())

    @property
    def aligned(self) -> bool:
        """Whether all bands are on the tile's own grid of pixels, that of its first band."""
        return len(self._aligned) == len(self.bands)

    def places(self, band: str, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Where places on the tile's grid are on a band's own grid.

        SDSS's bands are some pixels apart, and slightly rotated.

        Parameters
        ----------
        band : one of `bands`.
        x, y : [n], pixels of the tile's grid, 0-based.

        Returns
        -------
        x, y : [n], pixels of the band's grid; the same arrays where the two are aligned.
        """
        x, y = np.asarray(x), np.asarray(y)
        self.stored(band)
        if band in self._aligned:
            return x, y
        return to_pixels(self._grids[band], *self.sky(x, y))

    def sky(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension (0 <= ra < 360) and declination (ICRS, degrees) of places on the tile's grid (pixels,
        0-based)."""
        return to_sky(self.wcs, x, y)

    def zero_point(self, band: str) -> float:
        """AB magnitude of one count of a band's file; NaN where the caller goes on without. See `zero_points`."""
        self.stored(band)
        return self.zero_points[band].magnitude

    def from_stored_pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Places on the tile's grid of places on the stored image that gives the grid: the first, or the finest of
        several scales. They differ where its pixels are not square (pixels, 0-based, both)."""
        own = next(band for band in self.bands if band not in self.resampled_bands)
        regrid = self._planes[own].science.regrid
        return (np.asarray(x), np.asarray(y)) if regrid is None else regrid.to_square(np.asarray(x), np.asarray(y))

    @property
    def resampled(self) -> bool:
        """Whether images are read on another grid than they are stored on: their pixels are not square, or are not
        those of the finest band."""
        images = (one.science for one in self._planes.values())
        return any(image.regrid is not None or image.onto is not None for image in images)

    def pixels(self, ra: ArrayLike, dec: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Places on the tile's grid (pixels, 0-based) of positions (ICRS, degrees); NaN where they are not on
        its plane.

        A tangent plane shows the far side of the sky on top of the near one: ask for positions near the tile.
        """
        return to_pixels(self.wcs, ra, dec)

    def answers_for(self, ra: ArrayLike, dec: ArrayLike) -> np.ndarray:
        """Whether positions (degrees) belong to this tile where it overlaps its neighbours: bool [n].

        By the survey's rule, such as the unique area of a DES tile or a brick's own bounds. Without a rule a position
        belongs to the tile in which it lies farthest from the edge; a tile that was opened by itself has no
        neighbours. Whether a position is on the image is not checked.
        """
        ra, dec = np.atleast_1d(np.asarray(ra, dtype=float)), np.atleast_1d(np.asarray(dec, dtype=float))
        owned = self._overlap.owns(ra, dec)
        bounds = self.footprint.bounds
        return owned if bounds is None else owned & in_rectangle(ra, dec, *bounds)

    def plane(self, band: str) -> np.ndarray:
        """The flux in a band: float32 [h, w], nanomaggies per pixel, NaN where a pixel is bad. Kept once read."""
        if band not in self._flux:
            flux, saturated = self.stored(band).read(self.zero_points[band])
            with self._lock:
                self._flux[band] = flux
                self._saturated = saturated if self._saturated is None else self._saturated | saturated
        return self._flux[band]

    def mask(self, band: str) -> np.ndarray:
        """Where a band has no usable data: bool [h, w]."""
        return np.isnan(self.plane(band))

    def weight(self, band: str) -> np.ndarray:
        """Inverse variance of a band's pixels: float32 [h, w], nanomaggies to the power -2, 0 where bad.

        Where the file has no weights, one value measured from the image's own noise (scaled median absolute
        deviation of its pixels).
        """
        weight = self.stored(band).weight(self.zero_points[band])
        flux = self.plane(band)
        if weight is None:
            good = flux[np.isfinite(flux)]
            noise = 1.4826 * np.median(np.abs(good - np.median(good))) if good.size else 0
            weight = np.full(self.shape, 1 / noise**2 if noise > 0 else 1, dtype="float32")
        weight[np.isnan(flux)] = 0
        return weight

    def saturated(self) -> np.ndarray:
        """Where any band is saturated: bool [h, w]."""
        self.load()
        assert self._saturated is not None
        return self._saturated

    @contextmanager
    def filling(self, band: str, weights: bool = False) -> Iterator[FillRows]:
        """A reader of rows of a band, see `Calibrated.opened`; from memory where `plane` has read them."""
        if band not in self._flux:
            with self.calibrated(band).opened(weights) as fill:
                yield fill
            return
        whole, saturated_anywhere = self._flux[band], self._saturated
        assert saturated_anywhere is not None

        def copy(start: int, flux: np.ndarray, saturated: np.ndarray, variance: np.ndarray | None = None) -> None:
            rows = slice(start, start + len(flux))
            flux[:], saturated[:] = whole[rows], saturated_anywhere[rows]
            if variance is not None:
                variance[:] = self.weight(band)[rows]

        yield copy

    @property
    def files(self) -> list[Path]:
        """All files that its pixels lie in, those of masks and weights included."""
        planes = (plane for band in self._planes.values() for plane in (band.science, band.mask, band.weights))
        return list(dict.fromkeys(plane.path for plane in planes if plane is not None))

    def calibrated(self, band: str) -> Calibrated:
        """Where a band's pixels are, and their calibration."""
        return self.stored(band).calibrated(self.zero_points[band])

    def stored(self, band: str) -> Planes:
        """Where a band's pixels are. InputError when the tile has no such band."""
        try:
            return self._planes[band]
        except KeyError:
            raise InputError(f"Tile '{self.name}' has no band {band}; it has {', '.join(self.bands)}.") from None
