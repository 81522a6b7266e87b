"""Single galaxies in FITS files: cutouts, one file a band, and cubes.

Three layouts are understood. One image a file and a band (with MSK and WGT planes or without); a cube of one
galaxy, its planes the bands (the header's BANDS, as the Legacy Surveys' cutout service writes it, or named by the
caller); and a cube of many galaxies in one band, where the same index in every band's file is the same galaxy.
The galaxy is at the middle of its image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales

from morph.errors import BadInput
from morph.images.finding import find_tiles, tile_name
from morph.images.flags import SMALLEST_RADIUS, Flag, judge, reaches_over, side
from morph.images.photometry import intensity, magnitudes
from morph.images.planes import Planes, split_name
from morph.images.readers import Holds, named, reader_of
from morph.images.resample import resample
from morph.images.size import Shape, border_statistics, measure
from morph.stamps import STAMP_SIZE
from morph.surveys import get_survey

#: The smallest image, pixels on a side, in which a galaxy can be found and its sky told from it.
SMALLEST_IMAGE = 12


@dataclass(frozen=True)
class Stamp:
    """A galaxy cut to its own size.

    Attributes
    ----------
    image : float32 [size, size, 3], nanomaggies per stamp pixel, NaN where there is no data.
    shape : what was measured, pixels of the original image.
    flags : `Flag` bits.
    pixel_scale : arcsec per stamp pixel.
    radius : half-light radius, arcsec.
    magnitudes : one a channel, NaN where not measured.
    """

    image: np.ndarray
    shape: Shape
    flags: Flag
    pixel_scale: float
    radius: float
    magnitudes: tuple[float, float, float]


@dataclass(frozen=True)
class Cutout:
    """One galaxy's image as it came.

    Attributes
    ----------
    image : float32 [h, w, 3], nanomaggies per pixel in the survey's three channels, NaN where there is no data.
    pixel_scale : arcsec per pixel.
    ra, dec : of the image's middle, degrees; NaN if the header does not say.
    saturated : bool [h, w].
    """

    id: str
    survey: str
    image: np.ndarray = field(repr=False)
    pixel_scale: float
    ra: float = np.nan
    dec: float = np.nan
    saturated: np.ndarray | None = field(default=None, repr=False)

    def stamp(self, size: int = STAMP_SIZE) -> Stamp:
        """Cut to the galaxy's size. A bad image never raises; it gets its flags."""
        shape = measure(intensity(self.image))
        # Below this the stamp would enlarge pixels without end.
        radius = max(shape.radius, SMALLEST_RADIUS)
        across = float(side(radius, size))
        flags = judge(self.image, shape.x, shape.y, radius, across, self.saturated)
        if shape.radius < SMALLEST_RADIUS:
            flags |= Flag.TOO_SMALL
        if reaches_over(self.image.shape[:2], shape.x, shape.y, across):
            flags |= Flag.EDGE
        image = resample(self.image, shape.x, shape.y, across, size)
        if flags & Flag.NO_DATA:
            image = np.full_like(image, np.nan)
        g, r, i = (self._magnitude(channel, shape) for channel in range(3))
        return Stamp(image, shape, flags, self.pixel_scale * across / size, self.pixel_scale * shape.radius, (g, r, i))

    def _magnitude(self, channel: int, shape: Shape) -> float:
        plane = self.image[..., channel]
        bad = ~np.isfinite(plane)
        if bad.all() or not shape.found:
            return float("nan")
        sky, _ = border_statistics(np.where(bad, 0, plane), bad)
        return float(magnitudes(plane - sky, shape.x, shape.y, shape.radius)[0])


def find_cutouts(patterns: str | Path | Sequence[str | Path]) -> list[list[Path]]:
    """The files of each galaxy (or of each set of cubes) that files, folders and globs name; see `find_tiles`."""
    return find_tiles(patterns)


def read_cutouts(
    paths: str | Path | Sequence[str | Path],
    survey: str = "des",
    bands: str | Sequence[str] | None = None,
    zero_point: float | None = None,
    pixel_scale: float | None = None,
) -> list[Cutout]:
    """The galaxies in one group of files: one galaxy, or as many as their cubes hold.

    Parameters
    ----------
    paths : the files of one galaxy or of one set of cubes, as `find_cutouts` groups them; or any one of them.
    survey : whose bands, zero point and pixel scale hold where neither the header nor an argument says.
    bands : the bands of a cube's planes in order, such as "grz"; for a file with one image, its band.
    zero_point : magnitude of one count, instead of the header's.
    pixel_scale : arcsec per pixel, instead of the header's.

    Raises
    ------
    BadInput : a file is missing, is not FITS or is cut short; the band of a plane is not known, or none of them
        is one of the survey's; bands have different shapes; an image is smaller than `SMALLEST_IMAGE`.
    """
    if isinstance(paths, (str, Path)):
        groups = find_cutouts(paths)
        if len(groups) != 1:
            raise BadInput(f"'{paths}' names {len(groups)} galaxies; name the files of one.")
        paths = groups[0]
    known = get_survey(survey)
    reader = _Reader(known.bands, tuple(bands) if bands else None, zero_point, known.zero_point)
    reader.add_all([Path(path) for path in paths])
    flux, saturated = reader.stack(paths)
    first = next(iter(reader.headers.values()))
    ra, dec, scale = _place(first)
    pixel_scale = pixel_scale or scale or known.pixel_scale
    name = tile_name(paths)
    if len(flux) == 1:
        return [Cutout(name, known.name, flux[0], pixel_scale, ra, dec, saturated[0])]
    digits = len(str(len(flux) - 1))
    return [
        Cutout(f"{name}-{i:0{digits}d}", known.name, flux[i], pixel_scale, saturated=saturated[i])
        for i in range(len(flux))
    ]


class _Reader:
    """Collects the planes of the wanted bands: {band: [n, h, w]}."""

    def __init__(
        self, wanted: tuple[str, ...], named: tuple[str, ...] | None, zero_point: float | None, default: float
    ):
        self.wanted, self.named, self.zero_point, self.default = wanted, named, zero_point, default
        self.flux: dict[str, np.ndarray] = {}
        self.saturated: dict[str, np.ndarray] = {}
        self.headers: dict[str, Planes] = {}
        self.seen: list[str] = []

    def add_all(self, paths: Sequence[Path]) -> None:
        """Read the images of one group of files: cubes, and images whose bands the caller names, one by one, others
        with their masks and weights as those of a tile."""
        told = {path: named(path)[1] for path in paths}
        images = [path for path in paths if told[path].holds is Holds.IMAGE]
        known = [path for path in images if told[path].band in (None, *self.wanted) or not path.is_file()]
        opened = [Planes.open(path) for path in known]
        tellable = all(told[path].band or planes.band for path, planes in zip(known, opened, strict=True))
        if self.named or not tellable or any(len(planes.shape) != 2 for planes in opened):
            for path in images:
                self.add(path)
            return
        self.seen += [band for path in images if (band := told[path].band)]
        for band, planes in reader_of(paths).open(paths, self.wanted).items():
            self._put(band, planes, *(plane[None] for plane in self._read(planes)))

    def _read(self, planes: Planes) -> tuple[np.ndarray, np.ndarray]:
        if len(planes.shape) > 3 or min(planes.shape[-2:]) < SMALLEST_IMAGE:
            raise BadInput(
                f"'{planes.path}' has shape {planes.shape}; a galaxy's image is at least "
                f"{SMALLEST_IMAGE} x {SMALLEST_IMAGE} pixels, or a cube of such images."
            )
        return planes.read(planes.zero_point(self.default) if self.zero_point is None else self.zero_point)

    def add(self, path: Path) -> None:
        band = split_name(path)[1]
        if band and band not in self.wanted and not self.named and path.is_file():
            self.seen.append(band)
            return
        planes = Planes.open(path)
        flux, saturated = self._read(planes)
        axis = self._bands_of_cube(planes)
        if axis:
            for index, one in enumerate(axis):
                self._put(one, planes, flux[None, index], saturated[None, index])
            return
        band = self.named[0] if self.named and len(self.named) == 1 else planes.band
        if band is None:
            what = "planes" if len(planes.shape) == 3 else "image"
            raise BadInput(f"The band of the {what} in '{path}' is not known; name it with --bands.")
        if len(planes.shape) == 2:
            flux, saturated = flux[None], saturated[None]
        self._put(band, planes, flux, saturated)

    def _bands_of_cube(self, planes: Planes) -> tuple[str, ...] | None:
        """The bands along a cube's first axis; None when that axis is not one of bands."""
        if len(planes.shape) != 3:
            return None
        header = planes.header
        in_header = str(header.get("BANDS", "")).replace(",", "").split()
        bands = self.named if self.named and len(self.named) > 1 else tuple("".join(in_header))
        if not bands and "BAND0" in header:
            bands = tuple(str(header.get(f"BAND{i}", "?")).strip() for i in range(planes.shape[0]))
        if bands and len(bands) != planes.shape[0]:
            raise BadInput(
                f"'{planes.path}' has {planes.shape[0]} planes and {len(bands)} bands are named "
                f"({', '.join(bands)}); name one band a plane with --bands."
            )
        return bands or None

    def _put(self, band: str, planes: Planes, flux: np.ndarray, saturated: np.ndarray) -> None:
        self.seen.append(band)
        if band not in self.wanted:
            return
        if band in self.flux:
            raise BadInput(f"'{self.headers[band].path}' and '{planes.path}' are both band {band}; keep one.")
        self.flux[band], self.saturated[band], self.headers[band] = flux, saturated, planes

    def stack(self, paths: Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
        """float32 [n, h, w, 3] and bool [n, h, w]."""
        if not self.flux:
            raise BadInput(
                f"'{paths[0]}' has none of the bands {', '.join(self.wanted)} (found: {', '.join(self.seen)}); "
                "name its bands with --bands, or another survey."
            )
        shapes = {flux.shape for flux in self.flux.values()}
        if len(shapes) != 1:
            sizes = ", ".join(f"{band}: {flux.shape}" for band, flux in self.flux.items())
            raise BadInput(f"The bands beside '{paths[0]}' have different shapes ({sizes}); give aligned images.")
        stacked = np.full((*shapes.pop(), len(self.wanted)), np.nan, dtype="float32")
        for channel, band in enumerate(self.wanted):
            if band in self.flux:
                stacked[..., channel] = self.flux[band]
        return stacked, np.logical_or.reduce(list(self.saturated.values()))


def _place(planes: Planes) -> tuple[float, float, float | None]:
    """Right ascension and declination of the image's middle (degrees) and its pixel scale (arcsec), if known."""
    wcs = planes.wcs()
    if wcs is None:
        return float("nan"), float("nan"), None
    height, width = planes.shape[-2:]
    ra, dec = wcs.wcs_pix2world((width - 1) / 2, (height - 1) / 2, 0)
    return float(ra), float(dec), float(np.mean(proj_plane_pixel_scales(wcs)) * 3600)
