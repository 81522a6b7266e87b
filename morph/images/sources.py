"""Galaxies on a tile: detection, and sizes measured as everywhere else."""

import numpy as np
import sep
from astropy.table import Table

from morph.images.photometry import intensity, magnitudes
from morph.images.size import measure
from morph.images.tiles import Tile
from morph.surveys import get_survey

#: A source stands this many sigma above the sky, over `MIN_AREA` connected pixels, in the sum of the bands.
#: Lower finds more, but a morphology needs far more light than a detection.
THRESHOLD = 3.0
MIN_AREA = 9

#: Pixels on a side of the cells in which the sky is estimated. Coadds are sky-subtracted already; what is left
#: varies slowly, and a smaller cell would take the outskirts of large galaxies for sky.
SKY_CELL = 256

#: Pixels on a side of the window in which a galaxy's size is measured at first, and the largest.
WINDOW, LARGEST_WINDOW = 128, 1024

#: Size, in pixels, given to a galaxy of which nothing is seen at its place: its stamp is flagged as too small.
UNSEEN_RADIUS = 1.0


def detect(tile: Tile, faintest: float | None = None) -> Table:
    """The sources on a tile that are larger than its point sources.

    They are found on the noise-weighted sum of the bands; stars that are not much smaller than galaxies stay in.

    Parameters
    ----------
    faintest : magnitude in the middle channel (r) beyond which sources are left out.

    Returns
    -------
    Table with `id` (from the position, such as J035621.62-524840.1), `ra`, `dec` (deg), `x`, `y` (pixels, 0-based),
    `radius` (half-light, arcsec, as observed), one `mag_<band>` for each channel, and `tile`.
    """
    sources = _extract(tile)
    x, y = sources["x"].astype(float), sources["y"].astype(float)
    radius = measure_radii(tile, x, y)
    # Half of a point source's light is within half its full width at half maximum.
    point = get_survey(tile.survey).seeing[1] / 2 / tile.pixel_scale
    large = radius >= point
    x, y, radius = x[large], y[large], radius[large]
    table = Table({"x": x, "y": y, "radius": radius * tile.pixel_scale})
    for band in tile.channels:
        table[f"mag_{band}"] = (
            magnitudes(tile.plane(band), x, y, radius) if band in tile.bands else np.full(len(x), np.nan)
        )
    table["ra"], table["dec"] = tile.wcs.all_pix2world(x, y, 0) if len(x) else (x, y)
    table["id"] = [position_name(ra, dec) for ra, dec in zip(table["ra"], table["dec"], strict=True)]
    table["tile"] = [tile.name] * len(table)
    if faintest is not None:
        table = table[table[f"mag_{tile.channels[1]}"] <= faintest]
    return table


def measure_radii(tile: Tile, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half-light radii (pixels) of the galaxies at `x`, `y`, as `morph.images.size.measure` defines them.

    NaN off the tile or where it has no data; `UNSEEN_RADIUS` where no source stands out.
    """
    tile.load()
    return np.array([_radius(tile, float(a), float(b), WINDOW) for a, b in zip(x, y, strict=True)])


def _radius(tile: Tile, x: float, y: float, window: int) -> float:
    height, width = tile.shape
    if not (np.isfinite([x, y]).all() and 0 <= round(x) < width and 0 <= round(y) < height):
        return float("nan")
    rows = slice(max(round(y) - window // 2, 0), min(round(y) + window // 2, height))
    columns = slice(max(round(x) - window // 2, 0), min(round(x) + window // 2, width))
    image = intensity(np.stack([tile.plane(band)[rows, columns] for band in tile.bands], axis=-1))
    if np.isnan(image).all():
        return float("nan")
    shape = measure(image, (x - columns.start, y - rows.start))
    if not shape.found:
        return UNSEEN_RADIUS
    # In a window of less than ten radii the border holds galaxy, not sky.
    if 10 * shape.radius > window and window < min(LARGEST_WINDOW, max(height, width)):
        return _radius(tile, x, y, 2 * window)
    return shape.radius


def _extract(tile: Tile) -> np.ndarray:
    """sep's table of the sources on the noise-weighted sum of the bands."""
    tile.load()
    total = np.zeros(tile.shape, dtype="float32")
    weights = np.zeros(tile.shape, dtype="float32")
    for band in tile.bands:
        plane, weight = tile.plane(band), tile.weight(band)
        bad = np.isnan(plane)
        if bad.all():
            continue
        flux = np.where(bad, 0, plane)
        sky = sep.Background(flux, mask=bad, bw=SKY_CELL, bh=SKY_CELL)
        total += weight * (flux - sky.back())
        weights += weight
    bad = weights <= 0
    if bad.all():
        return np.zeros(0, dtype=[("x", float), ("y", float)])
    # Of unit noise where the weights are right; resampled coadds' pixels are correlated, so it is measured.
    significance = total / np.sqrt(np.where(bad, 1, weights))
    noise = sep.Background(significance, mask=bad, bw=SKY_CELL, bh=SKY_CELL).globalrms or 1.0
    # sep's own limits are for images of a few megapixels.
    sep.set_extract_pixstack(max(1_000_000, significance.size // 10))
    sep.set_sub_object_limit(16384)
    return sep.extract(significance, THRESHOLD * noise, mask=bad, minarea=MIN_AREA, deblend_cont=0.005)


def position_name(ra: float, dec: float) -> str:
    """The customary name of a source at `ra`, `dec` (deg): JHHMMSS.ss+DDMMSS.s, truncated.

    >>> position_name(59.09, -52.81125)
    'J035621.60-524840.5'
    """
    hundredths = int(round((ra % 360) / 15 * 3600 * 1000) // 10) % 8_640_000
    tenths = int(round(abs(dec) * 3600 * 100) // 10)
    hours, minutes, seconds = hundredths // 360_000, hundredths // 6_000 % 60, hundredths % 6_000
    degrees, arcminutes, arcseconds = tenths // 36_000, tenths // 600 % 60, tenths % 600
    sign = "-" if dec < 0 else "+"
    return (
        f"J{hours:02d}{minutes:02d}{seconds // 100:02d}.{seconds % 100:02d}"
        f"{sign}{degrees:02d}{arcminutes:02d}{arcseconds // 10:02d}.{arcseconds % 10}"
    )
