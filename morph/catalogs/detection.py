"""The galaxies that stand out on a tile's images.

A tile is searched in bands of rows that overlap, so that memory does not grow with it. A source belongs to the one
in whose middle it is, far from where its light, or what the sky is measured on, is cut off.
"""

from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table
from scipy.spatial import KDTree

from morph.errors import InputError, first_line
from morph.stamps.photometry import MIN_AREA, THRESHOLD, fluxes_within, half_light_radii, smallest_radius, total_fluxes
from morph.stamps.psf import PointSources
from morph.surveys import get_survey, magnitude
from morph.tiles import saturation
from morph.tiles.prefetch import Readers
from morph.tiles.strip_reader import Strip, read_strips
from morph.tiles.tile import Tile

#: Pixels of a box in which the sky counts as constant: several times a large galaxy, so that none is taken for sky.
SKY_BOX = 256

#: Rows that are searched at a time, and those on either side that are looked at too: whole boxes of sky, so that
#: neighbours see the same boxes, and more than almost any galaxy's extent.
ROWS = 2 * SKY_BOX
OVERLAP = SKY_BOX

#: The two sides of a border may see a source's centre this far apart, pixels.
SLACK = 2.0

#: Share of a blend's light that a peak needs to be a source of its own.
DEBLENDING = 0.005

#: Signal-to-noise, within the half-light radius, below which no structure is visible and the radius errs by more than
#: a fifth.
LEAST_SIGNAL = 20.0

#: Pixels of unfinished sources that sep may hold at first; where a bleed trail or a crowd overflows them, more.
PIXEL_STACK = 1_000_000
#: Peaks in one blend: clusters and the haloes of bright stars have thousands.
LARGEST_BLEND = 8192

#: Pixels on which noise is measured: it is known to a tenth of a percent then.
NOISE_SAMPLE = 1_000_000


def detect(tile: Tile, smallest: float | None = None, readers: Readers | None = None) -> Table:
    """The galaxies on a tile, brightest first.

    Sources stand `THRESHOLD` sigma above the sky on the noise-weighted sum of the bands. Those below
    `LEAST_SIGNAL` are dropped, and so are those not larger than the tile's point sources: stars, and galaxies without
    visible structure. Those in an overlap with another tile that answers for them there are left to it.

    Parameters
    ----------
    smallest : half-light radius below which sources are dropped, arcsec; if not given, that of the tile's own point
        sources, or of the survey's where the tile has too few of them.
    readers : processes that read the tile.

    Returns
    -------
    Table with `id` (the tile's name and a number), `ra`, `dec` (deg), `x`, `y` (pixels, 0-based), `radius`
    (half-light radius as `morph.stamps.photometry.measure` gives it, arcsec), `mag_g`, `mag_r`, `mag_i` (the
    survey's three channels, NaN where not measured).

    Raises
    ------
    InputError : the tile is too crowded to deblend its sources.
    """
    points = PointSources()
    height = tile.shape[0]
    starts = np.arange(0, height, ROWS)
    stops = np.minimum(starts + ROWS, height)
    low, high = np.maximum(starts - OVERLAP, 0), np.minimum(stops + OVERLAP, height)
    found = np.empty((0, 4 + len(tile.channels)))
    for strip, ready in read_strips(tile, low, high, weights=True, step=SKY_BOX, readers=readers):
        saturation.mark_saturated(strip)
        points.look(strip)
        for k in ready.tolist():
            sources = _sources(strip.part(int(low[k]), int(high[k])))
            y = sources[:, 1]
            sources = sources[(y >= starts[k] - SLACK) & (y < stops[k] + SLACK)]
            found = np.concatenate([found, sources[~_among(sources, found)]])
        # The next strip is made of parts of this one, and both at once are a lot of memory.
        del strip
    seeing = points.half_light()
    if smallest is None:
        smallest = _point_source(tile, seeing)
    found = found[found[:, 2] >= smallest / tile.pixel_scale]
    found[:, 4:] = magnitude(total_fluxes(found[:, 4:], found[:, 2], seeing, tile.channels))
    found = found[np.argsort(-found[:, 3], kind="stable")]
    found = found[tile.answers_for(*tile.sky(found[:, 0], found[:, 1]))] if len(found) else found
    return _table(tile, found)


def _point_source(tile: Tile, seeing: np.ndarray) -> float:
    """The half-light radius of a point source on the mean of the tile's bands, arcsec."""
    there = np.array([channel in tile.bands for channel in tile.channels])
    measured = float(seeing[there].mean()) * tile.pixel_scale
    return measured if np.isfinite(measured) else smallest_radius(get_survey(tile.survey), tile.pixel_scale)


def _among(sources: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of some sources (rows with x, y) are among others: bool [n]."""
    if not len(sources) or not len(others):
        return np.zeros(len(sources), dtype=bool)
    others = others[others[:, 1] >= sources[:, 1].min() - SLACK]
    distance = np.hypot(*(sources[:, None, axis] - others[None, :, axis] for axis in (0, 1)))
    return (distance < SLACK).any(axis=1)


def _sources(strip: Strip) -> np.ndarray:
    """The sources of a strip: float [n, 4 + channels].

    A row holds x, y (on the tile), the half-light radius (pixels), the signal and the channels' fluxes within that
    radius.
    """
    tile = strip.tile
    image = DetectionImage.of(strip)
    nothing = np.empty((0, 4 + len(tile.channels)))
    if not image.covered.any():
        return nothing
    bad = ~image.covered
    sources, segments = extract(tile, image.signal, bad)
    if not len(sources):
        return nothing
    radius = half_light_radii(image.flux, sources, np.arange(1, len(sources) + 1), segments, bad)
    within = np.maximum(radius, 1.0)
    light, _, _ = sep.sum_circle(image.signal, sources["x"], sources["y"], within, mask=bad, subpix=1)
    keep = light / (np.sqrt(np.pi) * within) >= LEAST_SIGNAL
    x, y, radius = sources["x"][keep], sources["y"][keep], radius[keep]
    brightness = [
        fluxes_within(image.bands[band], x, y, radius)
        if band in image.bands and tile.zero_points[band].known
        else np.full(len(x), np.nan)
        for band in tile.channels
    ]
    return np.column_stack([x, y + strip.start, radius, light[keep], *brightness])


@dataclass(frozen=True)
class DetectionImage:
    """The bands of a strip together, all sky subtracted, [h, w].

    Attributes
    ----------
    flux : the mean of the bands.
    signal : their noise-weighted sum in units of its own noise.
    covered : where any band has data.
    bands : those with data; NaN where there is none.
    """

    flux: np.ndarray
    signal: np.ndarray
    covered: np.ndarray
    bands: dict[str, np.ndarray]

    @classmethod
    def of(cls, strip: Strip) -> "DetectionImage":
        """The image of a strip's bands; those that are not aligned are moved by whole pixels."""
        tile, shape = strip.tile, (strip.stop - strip.start, strip.tile.shape[1])
        flux, signal, weights = (np.zeros(shape, dtype="float32") for _ in range(3))
        count = np.zeros(shape, dtype="uint8")
        bands = {}
        for band in tile.bands:
            x, y = (shape[1] - 1) / 2, (strip.start + strip.stop - 1) / 2
            own_x, own_y = (float(place) for place in tile.places(band, x, y))
            box = round(own_x - x), strip.start + round(own_y - y), shape
            plane = strip.window(band, *box)
            bad = np.isnan(plane)
            if bad.all():
                continue
            if band in strip.weight:
                weight = np.nan_to_num(strip.window(band, *box, of="weight"), copy=False)
            else:
                weight = np.full(shape, _noise(plane[~bad]) ** -2, dtype="float32")
            weight[bad] = plane[bad] = 0
            sky = sep.Background(plane, mask=bad, bw=min(SKY_BOX, shape[1]), bh=min(SKY_BOX, shape[0]))
            sky.subfrom(plane)
            plane[bad] = 0
            flux += plane
            weights += weight
            weight *= plane
            signal += weight
            count += ~bad
            plane[bad] = np.nan
            bands[band] = plane
        flux /= np.maximum(count, 1)
        signal /= np.sqrt(np.maximum(weights, np.finfo("float32").tiny))
        return cls(flux, signal, count > 0, bands)


def extract(tile: Tile, signal: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sources on an image of signal-to-noise, as `sep.extract` lists them, and their segmentation map.

    Parameters
    ----------
    tile : for messages.
    signal : float32 [h, w], without sky.
    bad : bool [h, w], where there is no data.

    Raises
    ------
    InputError : the image is too crowded to deblend its sources.
    """
    # Weights are true up to a factor; the threshold follows the noise that is there.
    threshold = THRESHOLD * _noise(signal[~bad])
    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    sep.set_sub_object_limit(LARGEST_BLEND)
    stack = PIXEL_STACK
    try:
        while True:
            sep.set_extract_pixstack(stack)
            try:
                return sep.extract(
                    signal, threshold, mask=bad, minarea=MIN_AREA, deblend_cont=DEBLENDING, segmentation_map=True
                )
            except Exception as error:  # sep raises bare Exception where its limits overflow
                if "pixel buffer" not in str(error) or stack >= signal.size:
                    raise InputError(
                        f"The sources on tile '{tile.name}' cannot be deblended "
                        f"({first_line(error)}); give a catalogue instead."
                    ) from None
                stack = min(8 * stack, signal.size)
    finally:
        sep.set_extract_pixstack(before[0])
        sep.set_sub_object_limit(before[1])


def _noise(values: np.ndarray) -> float:
    """Scaled median absolute deviation, and never zero: a blank image has no noise and no sources."""
    values = values[:: max(1, len(values) // NOISE_SAMPLE)]
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-6)


def _table(tile: Tile, found: np.ndarray) -> Table:
    digits = max(4, len(str(len(found))))
    table = Table({"id": np.array([f"{tile.name}-{i:0{digits}d}" for i in range(1, len(found) + 1)], dtype=str)})
    x, y, radius, _, *brightness = found.T
    ra, dec = tile.sky(x, y) if len(x) else (x, y)
    table["ra"], table["dec"], table["x"], table["y"] = ra, dec, x, y
    table["radius"] = radius * tile.pixel_scale
    table["ra"].unit = table["dec"].unit = "deg"
    table["radius"].unit = "arcsec"
    for name, values in zip(("mag_g", "mag_r", "mag_i"), brightness, strict=True):
        table[name] = values
    return table


#: Half-light radii of a galaxy within which its knots lie, and its flux over that of the brightest of them: no
#: companion that merges with it is so faint.
REACH, BRIGHTER = 2.0, 10.0


#: Half-light radii around a saturated star within which pieces of it lie, with less than a hundredth of its light; and
#: along its columns and rows, within half a radius of them, those of bleed trails, which are drawn out along the line:
#: by this ellipticity at least, and this close to it (radians).
HALO, FAINTER = 1.0, 100.0


TRAIL, DRAWN_OUT, ALIGNED = 6.0, 0.4, 0.35


def find_pieces(
    x: np.ndarray,
    y: np.ndarray,
    radius: np.ndarray,
    flux: np.ndarray,
    ellipticity: np.ndarray,
    angle: np.ndarray,
    saturated: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Find sources that are pieces of a much brighter one.

    Parameters
    ----------
    x, y, radius : [n], places and half-light radii, pixels; NaN where there is none.
    flux : [n], any unit; NaN where not measured.
    ellipticity, angle : [n], shapes, with the major axis's angle from x towards y, radians.
    saturated : bool [n].

    Returns
    -------
    of_galaxy, of_star : bool [n], which are pieces of a galaxy or of a bleed trail, and which of a saturated star.
    """
    of_galaxy, of_star, of_trail = (np.zeros(len(x), dtype=bool) for _ in range(3))
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (radius > 0))
    if len(placed) < 2:
        return of_galaxy | of_trail, of_star
    tree = KDTree(np.column_stack([x, y])[placed])
    light = np.nan_to_num(flux)
    for k in placed[np.argsort(-light[placed], kind="stable")].tolist():
        if not saturated[k] and not light[k] > 0:
            continue
        near = placed[tree.query_ball_point((x[k], y[k]), radius[k] * (TRAIL if saturated[k] else REACH))]
        near = near[near != k]
        if not len(near):
            continue
        dx, dy = x[near] - x[k], y[near] - y[k]
        if saturated[k]:
            close = (np.hypot(dx, dy) < HALO * radius[k]) & (FAINTER * light[near] < light[k])
            off = np.minimum(abs(dx), abs(dy)) < radius[k] / 2
            line = np.where(abs(dx) > abs(dy), 0.0, np.pi / 2)
            turned = abs((angle[near] - line + np.pi / 2) % np.pi - np.pi / 2)
            drawn = (ellipticity[near] > DRAWN_OUT) & (turned < ALIGNED) & (light[near] < light[k])
            of_star[near[close]] = True
            of_trail[near[off & drawn]] = True
        else:
            shape, turn = np.nan_to_num(ellipticity[k]), np.nan_to_num(angle[k])
            major = dx * np.cos(turn) + dy * np.sin(turn)
            minor = (dy * np.cos(turn) - dx * np.sin(turn)) / max(1 - shape, 0.1)
            inside = np.hypot(major, minor) < REACH * radius[k]
            of_galaxy[near[inside & (BRIGHTER * light[near] < light[k]) & (radius[near] < radius[k])]] = True
    return of_galaxy | of_trail, of_star
