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

from morph.errors import InputError
from morph.fits.planes import Planes
from morph.fits.resampling import resample
from morph.fits.wcs import to_sky
from morph.fits.zero_points import HEADERS, Calibration, ZeroPoint
from morph.sizes import STAMP_SIZE
from morph.stamps.flags import SMALLEST_RADIUS, Flag, extends_beyond, quality_flags, stamp_width
from morph.stamps.photometry import Shape, border_statistics, intensity, magnitudes, measure
from morph.surveys import UNKNOWN, channels_of, get_survey
from morph.tiles.common_grid import reading_notes, to_common_grid
from morph.tiles.discovery import find_tiles, no_bands_error, survey_of, tile_name, wanted_bands
from morph.tiles.layouts import layout_of

#: The smallest image, pixels on a side, in which a galaxy can be found and its sky measured.
SMALLEST_IMAGE = 12


@dataclass(frozen=True)
class MeasuredStamp:
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
    ra, dec : of the image's middle, degrees; NaN if the header does not give them.
    saturated : bool [h, w].
    zero_points : {band: `ZeroPoint`} of the bands that are there; empty of an array that is in nanomaggies.
    notes : how its images were read, where that is unusual; one sentence each.
    """

    id: str
    survey: str
    image: np.ndarray = field(repr=False)
    pixel_scale: float
    ra: float = np.nan
    dec: float = np.nan
    saturated: np.ndarray | None = field(default=None, repr=False)
    zero_points: dict[str, ZeroPoint] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, str, str]:
        """The bands that fill the image's channels."""
        return channels_of(get_survey(self.survey), self.zero_points)

    def stamp(self, size: int = STAMP_SIZE) -> MeasuredStamp:
        """Cut to the galaxy's size. A bad image never raises; it gets its flags."""
        shape = measure(intensity(self.image))
        # Below this the stamp would enlarge pixels without end.
        radius = max(shape.radius, SMALLEST_RADIUS)
        across = float(stamp_width(radius, size))
        flags = quality_flags(self.image, shape.x, shape.y, radius, across, self.saturated)
        if shape.radius < SMALLEST_RADIUS:
            flags |= Flag.TOO_SMALL
        if extends_beyond(self.image.shape[:2], shape.x, shape.y, across):
            flags |= Flag.EDGE
        image = resample(self.image, shape.x, shape.y, across, size)
        if flags & Flag.NO_DATA:
            image = np.full_like(image, np.nan)
        g, r, i = (self._magnitude(channel, shape) for channel in range(3))
        return MeasuredStamp(
            image, shape, flags, self.pixel_scale * across / size, self.pixel_scale * shape.radius, (g, r, i)
        )

    def _magnitude(self, channel: int, shape: Shape) -> float:
        plane = self.image[..., channel]
        bad = ~np.isfinite(plane)
        zero_point = self.zero_points.get(self.channels[channel])
        if bad.all() or not shape.found or (zero_point and not zero_point.known):
            return float("nan")
        sky, _ = border_statistics(np.where(bad, 0, plane), bad)
        return float(magnitudes(plane - sky, shape.x, shape.y, shape.radius)[0])


def find_cutouts(patterns: str | Path | Sequence[str | Path]) -> list[list[Path]]:
    """The files of each galaxy (or of each set of cubes) that files, folders and globs name; see `find_tiles`."""
    return find_tiles(patterns)


def read_cutouts(
    paths: str | Path | Sequence[str | Path],
    survey: str | None = None,
    bands: str | Sequence[str] | None = None,
    calibration: Calibration = HEADERS,
    pixel_scale: float | None = None,
) -> list[Cutout]:
    """Read the galaxies in one group of files.

    Parameters
    ----------
    paths : the files of one galaxy or of one set of cubes, as `find_cutouts` groups them; or any one of them.
    survey : whose bands fill the channels; as the files say if not given, ``unknown`` where they do not.
    bands : the bands of a cube's planes or of a file's images in order, such as "grz"; for a file with one image, its
        band.
    calibration : the caller's, which takes precedence over the headers.
    pixel_scale : arcsec per pixel, instead of the header's; without either, radii in arcsec are NaN.

    Returns
    -------
    list of Cutout : one galaxy, or as many as the cubes hold.

    Raises
    ------
    InputError : a file is missing, is not FITS or is cut short; the band of a plane is not known, or none of them
        is one of the survey's; its zero point is not known; bands have different shapes; an image is smaller than
        `SMALLEST_IMAGE`.

    Examples
    --------
    >>> from astropy.io import fits
    >>> for band in "gri":
    ...     fits.writeto(f"galaxy_{band}.fits", np.ones((40, 40), "float32"))
    >>> cutout, = read_cutouts("galaxy_g.fits", "des", calibration=Calibration.parse("30", None))
    >>> cutout.image.shape
    (40, 40, 3)
    """
    files = _of_one_galaxy(paths) if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    known = get_survey(survey or survey_of([files]) or UNKNOWN.name)
    planes = layout_of(files).open(files, wanted_bands(known), tuple(bands or ()), cubes=True)
    if not planes:
        raise no_bands_error(f"'{files[0]}'", files, known)
    channels = channels_of(known, planes)
    planes = {band: planes[band] for band in channels if band in planes}
    zero_points = {band: one.zero_point(calibration) for band, one in planes.items()}
    name = tile_name(files)
    resampled: dict[str, str] = {}
    if all(len(one.shape) == 2 and one.wcs() is not None for one in planes.values()):
        planes, resampled = to_common_grid(planes, name)
    notes = reading_notes(planes, resampled)
    flux, saturated = _stack(planes, zero_points, channels)
    ra, dec, scale = _place(next(iter(planes.values())))
    scale = next((one for one in (pixel_scale, scale, known.pixel_scale) if one is not None), np.nan)
    if len(flux) == 1:
        return [Cutout(name, known.name, flux[0], scale, ra, dec, saturated[0], zero_points, notes)]
    digits, nowhere = len(str(len(flux) - 1)), (np.nan, np.nan)
    return [
        Cutout(f"{name}-{i:0{digits}d}", known.name, image, scale, *nowhere, saturated[i], zero_points, notes)
        for i, image in enumerate(flux)
    ]


def _of_one_galaxy(path: str | Path) -> list[Path]:
    groups = find_cutouts(path)
    if len(groups) != 1:
        raise InputError(f"'{path}' names {len(groups)} galaxies; name the files of one.")
    return groups[0]


def _stack(
    planes: dict[str, Planes], zero_points: dict[str, ZeroPoint], channels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The galaxies of all bands: float32 [n, h, w, 3], nanomaggies, and which pixels are saturated, bool [n, h, w]."""
    if len({one.shape for one in planes.values()}) != 1:
        sizes = ", ".join(f"{band}: {one.shape}" for band, one in planes.items())
        path = next(iter(planes.values())).path
        raise InputError(f"The bands beside '{path}' have different shapes ({sizes}); give aligned images.")
    shape = next(iter(planes.values())).shape
    shape = shape if len(shape) == 3 else (1, *shape)
    stacked = np.full((*shape, len(channels)), np.nan, dtype="float32")
    saturated = np.zeros(shape, dtype=bool)
    for band, one in planes.items():
        if min(one.shape[-2:]) < SMALLEST_IMAGE:
            raise InputError(
                f"'{one.path}' has shape {one.shape}; a galaxy's image is at least "
                f"{SMALLEST_IMAGE} x {SMALLEST_IMAGE} pixels, or a cube of such images."
            )
        flux, too_bright = one.read(zero_points[band])
        stacked[..., channels.index(band)] = flux
        saturated |= too_bright
    return stacked, saturated


def _place(planes: Planes) -> tuple[float, float, float | None]:
    """Right ascension and declination (ICRS, degrees) of the image's middle and its pixel scale (arcsec), if known."""
    wcs = planes.wcs()
    if wcs is None:
        return float("nan"), float("nan"), None
    height, width = planes.shape[-2:]
    ra, dec = to_sky(wcs, (width - 1) / 2, (height - 1) / 2)
    return float(ra), float(dec), float(np.mean(proj_plane_pixel_scales(wcs)) * 3600)
